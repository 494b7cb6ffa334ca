"""Money through HTTP, with the real channel: paid once however it is told, settled, held, ruled on, given back."""

import httpx
import pytest

from services.cli.clocks import advance
from services.cli.demo.trade import Goods, balance, open_payment, pay, place, refunds, release, ship
from services.cli.demo.trade import order as order_of
from tests.backends.processes import wait_until

MINUTE = 60
CLAIM = {"kind": "refund_only", "reason": "灯不亮"}
RULING = {"liability": "merchant", "remedy": "refund_full", "payer": "merchant", "reason_code": "NOT_AS_DESCRIBED"}


@pytest.fixture
def lamp(shop):
    """Something to buy in the test's own shop, ¥100.00."""
    return Goods(shop.api, "lamp", 10_000, 50)


def placed(buyer, *goods):
    return place(buyer.api, [one.line() for one in goods])["checkout_id"]


def until_paid(buyer, checkout_id):
    path = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(path)["checkout"]["state"] == "paid", "the checkout to be paid")
    return buyer.api.get(path)["checkout"]["orders"]


def bought(buyer, *goods):
    checkout_id = placed(buyer, *goods)
    pay(buyer.api, open_payment(buyer.api, checkout_id))
    return until_paid(buyer, checkout_id)


def until_refunded(buyer, checkout_id, *wanted):
    def told():
        rows = refunds(buyer.api, checkout_id)
        return sorted((row["cause"], row["amount"]) for row in rows if row["state"] == "succeeded")

    wait_until(lambda: told() == sorted(wanted), f"refunds {wanted}")


def payment_of(caller, payment):
    return caller.get(f"/v1/payments/{payment['payment_id']}")["payment"]


def completed(buyer, shop, goods):
    """An order of one piece, paid, shipped, received and settled."""
    (order,) = bought(buyer, goods)
    ship(shop.api, order["order_id"])
    before = balance(shop.api, shop.shop_id)["available"]
    buyer.api.post(f"/v1/orders/{order['order_id']}:confirm")
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] > before, "the settlement")
    return order["order_id"]


def test_a_payment_is_opened_once_per_key_and_seen_by_its_buyer(admin, buyer, new_buyer, lamp):
    checkout_id = placed(buyer, lamp)
    body = {"checkout_id": checkout_id, "method": "jsapi"}
    first = buyer.api.ask("POST", "/v1/payments", body, key="pay-it")
    again = buyer.api.ask("POST", "/v1/payments", body, key="pay-it")
    assert (first.status, again.status, again.replayed) == (201, 201, True)
    assert again.body == first.body
    payment = first.body["payment"]
    assert (payment["state"], payment["amount"], payment["method"]) == ("open", 10_000, "jsapi")
    assert payment["prepay_id"]
    stranger = new_buyer("别人").api
    assert stranger.ask("POST", "/v1/payments", body).status == 404
    assert stranger.ask("GET", f"/v1/payments/{payment['payment_id']}").status == 404
    assert stranger.ask("POST", f"/v1/payments/{payment['payment_id']}:query").status == 404
    assert payment_of(admin, payment)["state"] == "open"
    other = buyer.api.ask("POST", "/v1/payments", {**body, "method": "native"}, key="pay-it")
    assert (other.status, other.reason) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert buyer.api.ask("POST", "/v1/payments", {"checkout_id": checkout_id}).status == 400


def test_paid_by_code_and_in_the_account_gets_one_payment_back(buyer, lamp):
    checkout_id = placed(buyer, lamp)
    both = [open_payment(buyer.api, checkout_id, method) for method in ("native", "jsapi")]
    for payment in both:
        assert pay(buyer.api, payment).fine
    until_paid(buyer, checkout_id)
    until_refunded(buyer, checkout_id, ("paid_twice", 10_000))
    assert sorted(payment_of(buyer.api, payment)["state"] for payment in both) == ["paid", "returned"]
    refused = buyer.api.ask("POST", "/v1/payments", {"checkout_id": checkout_id, "method": "native"})
    assert (refused.status, refused.reason) == (409, "ALREADY_PAID")


def test_a_notification_told_three_times_and_a_lost_one(auditor, buyer, lamp):
    thrice, lost = placed(buyer, lamp), placed(buyer, lamp)
    pay(buyer.api, open_payment(buyer.api, thrice), copies=3)
    payment = open_payment(buyer.api, lost)
    pay(buyer.api, payment, copies=0)
    assert payment_of(buyer.api, payment)["state"] == "open"
    asked = buyer.api.post(f"/v1/payments/{payment['payment_id']}:query")["payment"]
    assert asked["state"] == "paid"
    for checkout_id in (thrice, lost):
        until_paid(buyer, checkout_id)
        entries = auditor.get("/v1/ledger/entries", ref=checkout_id)["entries"]
        assert [entry["kind"] for entry in entries] == ["collect"]
        assert sum(posting["amount"] for posting in entries[0]["postings"]) == 0
    assert buyer.api.ask("GET", "/v1/ledger/entries", params={"ref": thrice}).status == 403


def test_a_forged_notification_is_turned_away(api, buyer, lamp):
    checkout_id = placed(buyer, lamp)
    payment = open_payment(buyer.api, checkout_id)
    told = {"event_type": "TRANSACTION.SUCCESS", "resource": {"ciphertext": payment["out_trade_no"]}}
    headers = {"Wechatpay-Timestamp": "1", "Wechatpay-Nonce": "n", "Wechatpay-Serial": "s", "Wechatpay-Signature": "x"}
    answer = api.ask("POST", "/v1/channel/notifications", told, headers=headers)
    assert (answer.status, answer.body["code"]) == (401, "BAD_SIGNATURE")
    assert payment_of(buyer.api, payment)["state"] == "open"


def test_late_money_goes_back(admin, buyer, lamp):
    checkout_id = placed(buyer, lamp)
    payment = open_payment(buyer.api, checkout_id)
    pay(buyer.api, payment, hold=True)
    advance(admin, 32 * MINUTE)
    refused = buyer.api.ask("POST", "/v1/payments", {"checkout_id": checkout_id, "method": "native"})
    assert refused.reason == "PAYMENT_CLOSED"
    release(buyer.api, payment)
    until_refunded(buyer, checkout_id, ("late", 10_000))
    assert payment_of(buyer.api, payment)["state"] == "returned"
    assert buyer.api.get(f"/v1/checkouts/{checkout_id}")["checkout"]["state"] == "closed"


def test_the_share_of_an_order_that_closed_meanwhile_goes_back_alone(buyer, open_shop):
    shops = open_shop("甲"), open_shop("乙")
    checkout_id = placed(buyer, *(Goods(shop.api, "cup", 3000 + n, 5) for n, shop in enumerate(shops)))
    payment = open_payment(buyer.api, checkout_id)
    orders = buyer.api.get(f"/v1/checkouts/{checkout_id}")["checkout"]["orders"]
    buyer.api.post(f"/v1/orders/{orders[0]['order_id']}:cancel", {"reason": "不要了"})
    pay(buyer.api, payment)
    until_paid(buyer, checkout_id)
    until_refunded(buyer, checkout_id, ("rejected", 3000))
    assert order_of(buyer.api, orders[1]["order_id"])["state"] == "paid"


def test_settlement_reaches_the_balance_less_commission(auditor, buyer, shop, open_shop, lamp):
    order_id = completed(buyer, shop, lamp)
    commission = 10_000 * order_of(shop.api, order_id)["commission_bp"] // 10_000
    found = balance(shop.api, shop.shop_id)
    assert (found["available"], found["held"], found["receivable"]) == (10_000 - commission, 0, 0)
    (settled,) = [
        entry for entry in auditor.get("/v1/ledger/entries", ref=order_id)["entries"] if entry["kind"] == "settle"
    ]
    assert settled["terms"]["commission_policy"].startswith("commission_bp@")
    other = open_shop("别家")
    assert other.api.ask("GET", f"/v1/shops/{shop.shop_id}/balance").status == 403
    wait_until(lambda: auditor.get("/v1/ledger/trial-balance")["balanced"], "the books to balance")


def test_a_deposit_is_paid_in_once_and_pays_what_a_hold_lacks(arbitrator, buyer, shop, lamp):
    path = f"/v1/shops/{shop.shop_id}/deposits"
    first = shop.api.ask("POST", path, {"amount": 5000}, key="deposit")
    again = shop.api.ask("POST", path, {"amount": 5000}, key="deposit")
    assert (first.status, again.body["deposit_id"], again.replayed) == (201, first.body["deposit_id"], True)
    assert shop.api.ask("POST", path, {"amount": 5001}, key="deposit").status == 422
    assert shop.api.ask("POST", path, {"amount": 0}).body["errors"][0]["field"] == "amount"
    assert balance(shop.api, shop.shop_id)["deposit"] == 0, "a word is no money"
    assert httpx.post(first.body["cashier_url"] + "/pay", json={"payer": "me"}).status_code == 200
    wait_until(lambda: balance(shop.api, shop.shop_id)["deposit"] == 5000, "the deposit")
    order_id = completed(buyer, shop, lamp)
    earned = balance(shop.api, shop.shop_id)["available"]
    case_id = buyer.api.post("/v1/disputes", {"order_id": order_id, "amount": 10_000, **CLAIM})["case"]["case_id"]
    wait_until(lambda: balance(shop.api, shop.shop_id)["held"] == 10_000, "the hold")
    assert balance(shop.api, shop.shop_id)["holds"] == {case_id: 10_000}
    shop.api.post(f"/v1/disputes/{case_id}:refuse", {"reason": "出厂检验合格", "evidence": ["质检单"]})
    buyer.api.post(f"/v1/disputes/{case_id}:escalate", {"reason": "请平台介入"})
    arbitrator.post(f"/v1/disputes/{case_id}:rule", {**RULING, "reasoning": "实物与描述不符"})
    wait_until(lambda: order_of(buyer.api, order_id)["refund_state"] == "refunded", "the refund")
    wait_until(lambda: balance(shop.api, shop.shop_id)["held"] == 0, "the hold to end")
    found = balance(shop.api, shop.shop_id)
    assert (found["available"], found["deposit"]) == (0, 5000 - (10_000 - earned))
    (row,) = shop.api.get("/v1/refunds", order_id=order_id)["refunds"]
    assert [source["account"] for source in row["sources"]] == ["hold"]
    assert (row["case_id"], row["cause"]) == (case_id, "dispute")
