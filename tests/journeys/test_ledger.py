"""The ledger over HTTP and by command: a shop's statement, balances of the past, and the seal that auditors verify."""

import json
from datetime import UTC, datetime

import httpx
from typer.testing import CliRunner

from services.cli.clocks import advance
from services.cli.demo.trade import Goods, ship
from services.cli.demo.trade import order as order_of
from services.cli.main import app
from tests.backends.processes import wait_until
from tests.journeys import guides
from tests.journeys.test_payments import balance, bought, completed

RUN = CliRunner()


def test_a_shop_reads_its_statement_and_an_auditor_verifies_the_seal(stack, auditor, buyer, shop, open_shop):
    order_id = completed(buyer, shop, Goods(shop.api, "lamp", 10_000, 50))
    (paid, *_) = auditor.get("/v1/ledger/entries", ref=order_id)["entries"]
    now = datetime.fromisoformat(paid["posted_at"]).astimezone(UTC)
    path = f"/v1/shops/{shop.shop_id}/statement"
    asked = {"from_time": now.replace(hour=0, minute=0, second=0).isoformat()}
    wait_until(lambda: shop.api.get(path, **asked)["lines"], "the settlement to be on the statement")
    told = shop.api.get(path, **asked)
    (line,) = told["lines"]
    available = balance(shop.api, shop.shop_id)["available"]
    assert (told.get("opening", {}), told["closing"]) == ({}, {"available": available})
    assert (line["kind"], line["movements"]) == ("settle", [{"account": "available", "amount": available}])
    assert line["cause"].startswith("evt:payments.settle_order:")
    assert order_id in line["refs"]
    file = shop.api.ask("GET", f"{path}:download", params=asked)
    assert file.status == 200
    past = shop.api.get(f"/v1/shops/{shop.shop_id}/balance", at=asked["from_time"])["balance"]
    assert past["available"] == 0
    assert open_shop("别家").api.ask("GET", path, params=asked).status == 403
    assert shop.api.ask("GET", path).body["errors"][0]["field"] == "from_time"

    wait_until(lambda: auditor.get("/v1/ledger/verification", page_size=200)["waiting"] == 0, "everything to be sealed")
    seal = auditor.get("/v1/ledger/verification", page_size=200)
    assert (seal["flaws"], seal["ended"]) == ([], True)
    assert shop.api.ask("GET", "/v1/ledger/verification").status == 403
    anchor = ["--anchor", f"{seal['last_block']}:{seal['head']}", "--data", str(stack.data)]
    done = RUN.invoke(app, ["ledger", "verify", "--json", *anchor], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["entries"] >= seal["entries"]
    gone = RUN.invoke(app, ["ledger", "verify", "--anchor", "1:" + "f" * 64, *anchor[2:]], env={"COLUMNS": "200"})
    assert (gone.exit_code, "anchor_lost" in gone.output) == (1, True)
    when = ["ledger", "balances", "--at", now.isoformat(), *anchor[2:]]
    assert RUN.invoke(app, when, env={"COLUMNS": "200"}).exit_code == 0


def test_the_session_of_the_money_guide_goes_as_it_says(stack, admin, buyer, shop):
    path = f"/v1/shops/{shop.shop_id}"
    lamp = Goods(shop.api, "lamp", 10_000, 50)
    completed(buyer, shop, lamp)
    earned = balance(shop.api, shop.shop_id)["available"]
    (session,) = guides.sessions("docs/money.md")
    told = guides.run(session, stack, TOKEN=shop.merchant.token, SHOP_ID=shop.shop_id).splitlines()
    assert told[:2] == ["commission_bp@2014-05-29", "paid"]
    assert [line.split(",")[2] for line in told[3:]] == ["settle", "withdraw", "withdraw", "payout"]
    assert f"{earned / 100:.2f}" in told[3]
    again = {"amount": 100, "account": {"holder": "茶铺", "number": "6222000000000001", "bank": "招商银行"}}
    refused = shop.api.ask("POST", f"{path}/withdrawals", again)
    assert (refused.status, refused.reason) == (409, "INSUFFICIENT_FUNDS")

    assert shop.api.ask("POST", f"{path}/money-terms", {"settlement_days": 0, "reason": "x"}).status == 403
    terms = admin.post(f"{path}/money-terms", {"settlement_days": 1, "deposit_required": 500, "reason": "风控"})
    assert (terms["settlement_days"], terms["deposit_required"]) == (1, 500)
    asked = shop.api.post(f"{path}/deposits", {"amount": 600})
    assert shop.api.get(f"{path}/deposit")["deposit"] == 0, "a word is no money"
    assert httpx.post(asked["cashier_url"] + "/pay", json={"payer": "me"}).status_code == 200
    wait_until(lambda: shop.api.get(f"{path}/deposit")["shortfall"] == 0, "the deposit to be there")
    assert shop.api.post(f"{path}/deposit:release", {"amount": 100})["deposit"] == 500
    (order,) = bought(buyer, lamp)
    ship(shop.api, order["order_id"])
    buyer.api.post(f"/v1/orders/{order['order_id']}:confirm")
    wait_until(lambda: balance(shop.api, shop.shop_id)["pending"] == earned, "it to be pending")
    advance(admin, 24 * 3600)
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] == earned + 100, "it to mature")
    failed = shop.api.post(f"{path}/withdrawals", again)["withdrawal"]["withdrawal_id"]
    ended = f"{path}/withdrawals/{failed}"
    wait_until(lambda: shop.api.get(ended)["withdrawal"]["state"] == "failed", "the bank to refuse it")
    assert "ACCOUNT_ABNORMAL" in shop.api.get(ended)["withdrawal"]["failure"]
    assert balance(shop.api, shop.shop_id)["available"] == earned + 100


def test_a_red_packet_is_shared_by_those_who_come(shop, buyer, new_buyer, admin):
    path = f"/v1/shops/{shop.shop_id}"
    completed(buyer, shop, Goods(shop.api, "lamp", 10_000, 50))
    earned = balance(shop.api, shop.shop_id)["available"]
    gift = {"kind": "lucky", "total": 300, "count": 3, "greeting": "恭喜发财"}
    packet = shop.api.post(f"{path}/red-packets", gift)["packet"]["packet_id"]
    door = f"/v1/red-packets/{packet}"
    people = [buyer, new_buyer("小红")]
    got = [person.api.post(f"{door}:claim")["amount"] for person in people]
    again = buyer.api.ask("POST", f"{door}:claim", key="again")
    assert (again.status, again.body["amount"]) == (200, got[0])
    seen = shop.api.get(door)["packet"]
    assert [one["amount"] for one in seen["claims"]] == got
    month = {"from_time": "2014-06-01T00:00:00+08:00"}
    told = str([seen, shop.api.get(f"{path}/statement", **month)])
    assert not any(person.user_id in told for person in people), "a shop knows no platform-wide id of a buyer"
    assert shop.api.ask("POST", f"{door}:claim").status == 403
    own = {"kind": "normal", "total": got[0], "count": 1, "greeting": "转赠"}
    passed_on = buyer.api.post("/v1/red-packets", own)["packet"]["packet_id"]
    assert shop.api.ask("GET", f"/v1/red-packets/{passed_on}").status == 404
    assert people[1].api.post(f"/v1/red-packets/{passed_on}:claim")["amount"] == got[0]
    assert buyer.api.ask("POST", "/v1/red-packets", own).reason == "INSUFFICIENT_FUNDS"
    assert shop.api.ask("POST", f"{path}/red-packets", {**gift, "count": 0}).body["errors"][0]["field"] == "count"
    advance(admin, 24 * 3600)
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] == earned - sum(got), "the rest to come back")
    assert shop.api.get(door)["packet"]["state"] == "expired"


def test_an_order_s_profit_is_shared_with_another_shop(shop, open_shop, buyer, auditor):
    other, path = open_shop("推广店"), f"/v1/shops/{shop.shop_id}/profit-sharings"
    wait_until(lambda: other.api.ask("GET", f"/v1/shops/{other.shop_id}/balance").fine, "payments to know the shop")
    (order,) = bought(buyer, Goods(shop.api, "lamp", 10_000, 50))
    order_id = order["order_id"]
    checkout_id = order_of(shop.api, order_id)["checkout_id"]
    wanted = {"checkout_id": checkout_id, "order_id": order_id}
    assert other.api.ask("POST", f"/v1/shops/{other.shop_id}/profit-sharings", wanted).status == 404
    assert shop.api.post(path, wanted)["sharing"]["most_bp"] == 3000
    ship(shop.api, order_id)
    buyer.api.post(f"/v1/orders/{order_id}:confirm")
    door = f"{path}/{order_id}"
    wait_until(lambda: shop.api.ask("GET", door).fine, "the frozen part")
    assert shop.api.get(door)["sharing"]["frozen"] == 3000
    parts = {"out_order_no": "S1", "receivers": [{"account": other.shop_id, "amount": 1000, "description": "推广费"}]}
    first = shop.api.ask("POST", f"{door}:share", parts, key="share")
    again = shop.api.ask("POST", f"{door}:share", parts, key="another key")
    assert (first.status, again.body) == (200, first.body)
    parts["receivers"][0]["amount"] = 1001
    assert shop.api.ask("POST", f"{door}:share", parts).status == 409
    assert shop.api.post(f"{door}:unfreeze")["sharing"]["state"] == "finished"
    back = {"out_order_no": "S1", "out_return_no": "R1", "amount": 400}
    other.api.post(f"/v1/shops/{other.shop_id}/profit-sharings/{order_id}:return", back)
    earned = 10_000 - 10_000 * order_of(shop.api, order_id)["commission_bp"] // 10_000
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] == earned - 600, "the rest")
    assert balance(other.api, other.shop_id)["available"] == 600
    assert other.api.ask("GET", f"/v1/shops/{other.shop_id}/profit-sharings/{order_id}").status == 404
    assert auditor.get("/v1/ledger/trial-balance")["balanced"]
