"""Through HTTP: a merchant's bill of the day, and an admin who reconciles with the channel."""

import csv
import io
from datetime import UTC, datetime

import pytest

from services.chassis.calendar import day
from services.cli.demo.trade import Goods, open_payment, pay, place
from tests.backends.processes import wait_until
from tests.backends.strangers import strange_payment


@pytest.fixture
def wrong_goods(shop):
    """Something whose price makes the channel forget it on its bill."""
    return Goods(shop.api, "left-off-the-bill", 888_811, 5)


def paid(buyer, goods):
    checkout_id = place(buyer.api, [goods.line()])["checkout_id"]
    pay(buyer.api, open_payment(buyer.api, checkout_id))
    path = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(path)["checkout"]["state"] == "paid", "the checkout to be paid")


def test_a_bill_adds_up_and_is_the_merchants_own(auditor, buyer, shop, open_shop, wrong_goods):
    paid(buyer, wrong_goods)
    today = day(datetime.fromisoformat(buyer.api.get("/v1/orders")["orders"][0]["created_at"]))
    path = f"/v1/shops/{shop.shop_id}/bills/{today}"
    told = shop.api.get(path)
    assert told["opening"] + sum(row["amount"] for row in told["rows"]) == told["closing"] == 888_811
    (row,) = told["rows"]
    assert (row["kind"], row["method"], told["final"]) == ("collect", "native", False)
    text = b"".join(shop.api.download(f"{path}:download")).decode()
    (line,) = [one for one in csv.DictReader(io.StringIO(text)) if one["交易状态"] == "`SUCCESS"]
    assert (line["总金额"], line["商户订单号"]) == ("`8888.11", f"`{row['order_id']}")
    flow = b"".join(shop.api.download(f"{path}:download", kind="fund_flow")).decode()
    assert flow.splitlines()[1].split(",")[7] == "`8888.11"
    assert open_shop("别家").api.ask("GET", path).status == 403
    assert auditor.get(path) == told
    wrong = shop.api.ask("GET", f"/v1/shops/{shop.shop_id}/bills/today")
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (400, "date")


def test_an_admin_reconciles_and_ends_what_nobody_explains(admin, auditor, buyer, stack, wrong_goods):
    paid(buyer, wrong_goods)
    number = strange_payment(stack)
    today = day(datetime.now(UTC))
    assert buyer.api.ask("POST", "/v1/reconciliations", {"date": today}).status == 403
    asked = admin.ask("POST", "/v1/reconciliations", {"date": today})
    assert (asked.status, asked.body["reconciliation"]["state"]) == (202, "pending")
    path = f"/v1/reconciliations/{today}"
    wait_until(lambda: auditor.get(path)["reconciliation"]["state"] == "done", "the reconciliation")
    rows = auditor.get(path, page_size=500)["differences"]
    left_off = [row for row in rows if row["kind"] == "missing" and row["ledger_amount"] == 888_811]
    assert {row["missing_in"] for row in left_off} == {"channel"}
    (strange,) = [row for row in rows if row["out_trade_no"] == number]
    assert (strange["kind"], strange["amount"], strange["state"]) == ("unknown", 4_200, "open")
    (entry,) = auditor.get("/v1/ledger/entries", ref=strange["difference_id"])["entries"]
    assert {one["account"] for one in entry["postings"]} == {"channel:clearing", "suspense"}
    body = {"resolution": "absorbed", "note": "付款人不明"}
    ended = admin.ask("POST", f"{path}/differences/{strange['difference_id']}:resolve", body)
    assert (ended.status, ended.body["difference"]["state"]) == (200, "resolved")
    again = admin.ask("POST", f"{path}/differences/{strange['difference_id']}:resolve", body)
    assert (again.status, again.reason) == (409, "WRONG_STATE")
    assert len(auditor.get("/v1/ledger/entries", ref=strange["difference_id"])["entries"]) == 2
