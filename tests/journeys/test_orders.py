"""Orders through HTTP, with real stock, money and clock: from two shops in one checkout to every way an order can end."""

import pytest

from services.cli.clocks import advance
from services.cli.demo.trade import ADDRESS, Goods, open_payment, pay, place
from services.cli.demo.trade import order as order_of
from tests.backends.processes import wait_until

SHIPMENT = {"delivery_company": "003shunfeng", "delivery_track_no": "SF1234567890"}


@pytest.fixture
def goods(shop):
    """``goods(name, price=, quantity=, freight=)``: a product of the test's own shop."""

    def make(name, price=1999, quantity=10, freight=0):
        return Goods(shop.api, name, price, quantity, freight=freight)

    return make


def bought(buyer, *lines):
    """A paid checkout."""
    checkout = place(buyer.api, lines)
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    until_state(buyer, checkout, "paid")
    return checkout


def until_state(buyer, checkout, state):
    path = f"/v1/checkouts/{checkout['checkout_id']}"
    wait_until(lambda: buyer.api.get(path)["checkout"]["state"] == state, f"the checkout to be {state}")


def test_two_shops_one_payment_and_every_answer_again(buyer, open_shop):
    first, second = open_shop("甲"), open_shop("乙")
    cup, tea = Goods(first.api, "cup", 1999, 10, freight=500), Goods(second.api, "tea", 8800, 10)
    body = {"lines": [cup.line(2), tea.line()], "address": ADDRESS, "notes": "请包好"}
    placed = buyer.api.ask("POST", "/v1/checkouts", body, key="two-shops")
    assert placed.status == 201
    checkout = placed.body["checkout"]
    assert (checkout["state"], checkout["amount"]) == ("awaiting_payment", 2 * 1999 + 500 + 8800)
    assert [order["seller"]["shop_id"] for order in checkout["orders"]] == [first.shop_id, second.shop_id]
    assert all(order["seller"]["identity"]["registration_number"] for order in checkout["orders"])
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    until_state(buyer, checkout, "paid")
    again = buyer.api.ask("POST", "/v1/checkouts", body, key="two-shops")
    assert (again.status, again.body, again.replayed) == (201, placed.body, True)
    assert buyer.api.ask("POST", "/v1/checkouts", {**body, "notes": ""}, key="two-shops").status == 422
    order_id = checkout["orders"][0]["order_id"]
    posts = [
        (first.api, "ship", SHIPMENT, "shipped"),
        (buyer.api, "confirm", {}, "completed"),
    ]
    answers = {}
    for caller, verb, asked, state in posts:
        answers[verb] = caller.ask("POST", f"/v1/orders/{order_id}:{verb}", asked, key=f"{verb}-it")
        assert (answers[verb].status, answers[verb].body["state"]) == (200, state)
    for caller, verb, asked, _ in posts:
        repeated = caller.ask("POST", f"/v1/orders/{order_id}:{verb}", asked, key=f"{verb}-it")
        assert (repeated.body, repeated.replayed) == (answers[verb].body, True)
    seen = order_of(buyer.api, order_id)
    assert [line["action"] for line in seen["timeline"]] == ["placed", "paid", "shipped", "completed"]
    assert (seen["order_status"], seen["notes"], seen["delivery"]["company_name"]) == (5, "请包好", "顺丰速运")
    assert order_of(buyer.api, checkout["orders"][1]["order_id"])["state"] == "paid"


def test_a_merchant_and_a_buyer_see_their_own_only(buyer, new_buyer, shop, open_shop, goods):
    checkout = bought(buyer, goods("mine").line())
    order_id = checkout["orders"][0]["order_id"]
    for stranger in (new_buyer("别人").api, open_shop("别家").api):
        assert stranger.ask("GET", f"/v1/orders/{order_id}").status == 404
        assert stranger.get("/v1/orders")["orders"] == []
    assert open_shop("又一家").api.ask("POST", f"/v1/orders/{order_id}:ship", SHIPMENT).status == 404
    assert new_buyer().api.ask("GET", f"/v1/checkouts/{checkout['checkout_id']}").status == 404
    told = order_of(shop.api, order_id)
    assert told["buyer_id"] == ""
    assert told["openid"].startswith("o")
    assert buyer.api.ask("POST", f"/v1/orders/{order_id}:ship", SHIPMENT).status == 403
    assert [order["order_id"] for order in shop.api.get("/v1/orders", state="paid")["orders"]] == [order_id]
    assert shop.api.ask("GET", "/v1/orders", params={"shop_id": "shop_of_another"}).status == 403


def test_what_is_wrong_is_named_and_what_is_sold_out_is_refused_alike(buyer, new_buyer, goods):
    wrong = {"lines": [{"product_id": "p", "sku_id": "s", "quantity": 0}], "address": {**ADDRESS, "mobile": "x"}}
    answer = buyer.api.ask("POST", "/v1/checkouts", wrong)
    assert answer.status == 400
    assert [error["field"] for error in answer.body["errors"]] == ["lines[0].quantity", "address.mobile"]
    last = goods("last", quantity=1)
    body = {"lines": [last.line()], "address": ADDRESS}
    place(buyer.api, body["lines"])
    late = new_buyer("来晚了")
    refused = late.api.ask("POST", "/v1/checkouts", body, key="too-late")
    assert (refused.status, refused.reason) == (409, "OUT_OF_STOCK")
    last.shop.post(
        "/v1/products:bulkUpdateStock",
        {"items": [{"sku_id": last.sku_id, "delta": 5, "request_id": "more"}]},
    )
    again = late.api.ask("POST", "/v1/checkouts", body, key="too-late")
    assert (again.status, again.reason) == (409, "OUT_OF_STOCK")
    assert late.api.ask("POST", "/v1/checkouts", body).status == 201


def test_cancelling_gives_stock_and_money_back(buyer, shop, goods):
    pot = goods("pot", price=4200, quantity=4)
    unpaid = place(buyer.api, [pot.line()])
    buyer.api.post(f"/v1/orders/{unpaid['orders'][0]['order_id']}:cancel", {"reason": "不要了"})
    wait_until(lambda: pot.stock()["reserved"] == 0, "the reserved stock to come back")
    checkout = bought(buyer, pot.line(2))
    order_id = checkout["orders"][0]["order_id"]
    wait_until(lambda: pot.stock()["on_hand"] == 2, "the stock to be sold")
    assert shop.api.ask("POST", f"/v1/orders/{order_id}:cancel").body["errors"][0]["field"] == "reason"
    answer = shop.api.post(f"/v1/orders/{order_id}:cancel", {"reason": "缺货"})
    assert (answer["state"], answer["refund_amount"]) == ("closed", 8400)
    wait_until(lambda: order_of(buyer.api, order_id)["refund_state"] == "refunded", "the money to come back")
    wait_until(lambda: pot.stock()["on_hand"] == 4, "the sold stock to come back")
    assert shop.api.ask("POST", f"/v1/orders/{order_id}:ship", SHIPMENT).reason == "WRONG_STATE"


def test_time_closes_what_is_not_paid_and_completes_what_nobody_confirms(admin, buyer, shop, goods):
    tea = goods("tea", quantity=5)
    unpaid = place(buyer.api, [tea.line(3)])
    advance(admin, 31 * 60 + 5)
    until_state(buyer, unpaid, "closed")
    wait_until(lambda: tea.stock()["available"] == 5, "the stock to come back")
    assert order_of(buyer.api, unpaid["orders"][0]["order_id"])["close_reason"] == "timeout"
    checkout = bought(buyer, tea.line())
    order_id = checkout["orders"][0]["order_id"]
    advance(admin, 73 * 3600)
    wait_until(lambda: order_of(shop.api, order_id)["late_shipment"], "the order to be late")
    shop.api.post(f"/v1/orders/{order_id}:ship", {"need_delivery": False})
    advance(admin, 10 * 86_400 + 5)
    wait_until(lambda: order_of(buyer.api, order_id)["state"] == "completed", "the order to complete by itself")
    assert order_of(buyer.api, order_id)["timeline"][-1]["actor"] == "timer"


def test_pages_of_a_shop(buyer, shop, goods):
    pen = goods("pen", quantity=20)
    placed = [place(buyer.api, [pen.line()])["orders"][0]["order_id"] for _ in range(5)]
    seen, token = [], None
    while token != "":
        page = shop.api.get("/v1/orders", page_size=2, page_token=token, state="awaiting_payment")
        seen += [order["order_id"] for order in page["orders"]]
        token = page["next_page_token"]
    assert seen == placed[::-1]
    assert shop.api.ask("GET", "/v1/orders", params={"page_token": "nonsense"}).reason == "INVALID_PAGE_TOKEN"
