"""A merchant's desk through HTTP: the session of docs/merchants.md, run as it stands there, and what others get to see."""

import csv
import json

from services.cli.demo.trade import Goods, open_payment, pay, place
from tests.backends.processes import wait_until
from tests.journeys import guides


def test_a_merchant_finds_counts_and_exports_orders(stack, shop, open_shop, buyer):
    cup = Goods(shop.api, "cup", 1999, 10, freight=500)
    checkout = place(buyer.api, [cup.line(2)])
    place(buyer.api, [cup.line()])
    payment = open_payment(buyer.api, checkout["checkout_id"])
    pay(buyer.api, payment)
    order_id = checkout["orders"][0]["order_id"]
    wait_until(lambda: shop.api.get("/v1/orders:count")["paid"] == 1, "the order to be paid")

    counts, first, *file = guides.run(guides.sessions("docs/merchants.md")[0], stack, TOKEN=shop.api.token).splitlines()
    assert json.loads(counts) == {
        "awaiting_payment": 1,
        "paid": 1,
        "shipped": 0,
        "completed": 0,
        "closed": 0,
        "in_dispute": 0,
    }
    assert first == "placed"
    (row,) = csv.DictReader(file)
    assert (row["\ufefforder_id"], row["external_id"], row["order_amount"]) == (order_id, "cup", "44.98")

    number = payment["payment_id"].removeprefix("pay_")
    for asked in ({"out_trade_no": number}, {"external_id": "cup", "states": "paid"}, {"order_id": order_id}):
        assert [found["order_id"] for found in shop.api.get("/v1/orders", **asked)["orders"]] == [order_id]
    stranger = open_shop("别家").api
    assert stranger.get("/v1/orders", out_trade_no=number)["orders"] == []
    assert stranger.ask("GET", f"/v1/orders/{order_id}/timeline").status == 404
    export_id = shop.api.get("/v1/order-exports")["exports"][0]["export_id"]
    assert stranger.ask("GET", f"/v1/order-exports/{export_id}:download").status == 404
    assert buyer.api.ask("GET", "/v1/orders:count").status == 403
    people = [line["actor_id"] for line in buyer.api.get(f"/v1/orders/{order_id}/timeline")["entries"]]
    assert people == [buyer.user_id, ""]


def test_a_price_changes_before_it_is_paid_and_what_comes_at_the_old_one_is_not_kept(shop, buyer):
    tea = Goods(shop.api, "tea", 1000, 10, freight=500)
    checkout, other = place(buyer.api, [tea.line()]), place(buyer.api, [tea.line()])
    ids = [each["orders"][0]["order_id"] for each in (checkout, other)]
    old = open_payment(buyer.api, checkout["checkout_id"])
    assert old["amount"] == 1500
    told = shop.api.post(f"/v1/orders/{ids[0]}:changePrice", {"goods_amount": 900})
    assert (told["amount"], told["price_revision"]) == (1400, 1)
    merged = shop.api.post("/v1/orders:mergeShipping", {"order_ids": ids})["orders"]
    assert [(row["amount"], row["saved"]) for row in merged] == [(1400, 0), (1000, 500)]
    assert buyer.api.ask("POST", f"/v1/orders/{ids[0]}:changePrice", {"goods_amount": 1}).status == 403

    path = f"/v1/payments/{old['payment_id']}"
    wait_until(lambda: buyer.api.get(path)["payment"]["state"] == "closed", "the old payment to be closed")
    assert not pay(buyer.api, old).fine
    new = open_payment(buyer.api, checkout["checkout_id"])
    assert new["amount"] == 1400
    pay(buyer.api, new)
    paid = f"/v1/orders/{ids[0]}"
    wait_until(lambda: buyer.api.get(paid)["order"]["state"] == "paid", "the order to be paid")
    order = buyer.api.get(paid)["order"]
    assert [(row["kind"], row["amount"], row["payer"]) for row in order["discounts"]] == [
        ("merchant_change", 100, "merchant")
    ]
    refused = shop.api.ask("POST", f"/v1/orders/{ids[0]}:changePrice", {"goods_amount": 1})
    assert (refused.status, refused.reason) == (409, "WRONG_STATE")


def test_a_merchant_gives_back_part_of_a_line_before_and_after_it_is_settled(shop, buyer):
    cup = Goods(shop.api, "mug", 1000, 10, freight=300)
    checkout = place(buyer.api, [cup.line(3)])
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    path = f"/v1/orders/{checkout['orders'][0]['order_id']}"
    wait_until(lambda: buyer.api.get(path)["order"]["state"] == "paid", "the order to be paid")

    def given(fen):
        wait_until(lambda: buyer.api.get(path)["order"]["refunded"] == fen, f"{fen} fen to be back")
        return [(row["amount"], row["state"]) for row in buyer.api.get(path)["order"]["line_refunds"]]

    wait_until(lambda: cup.stock()["on_hand"] == 7, "the mugs to be sold")
    asked = {"line": 1, "quantity": 1, "reason": "杯口有缺"}
    one, again = (shop.api.post(f"{path}:refundLine", asked, key="one-mug") for _ in range(2))
    assert (one["amount"], one["left"], one["restocked"]) == (1000, 2300, 1)
    assert again == one
    assert given(1000) == [(1000, "succeeded")]
    wait_until(lambda: cup.stock()["available"] == 8, "the mug to be in stock again")
    assert buyer.api.get(path)["order"]["lines"][0]["outstanding"] == 2
    shop.api.post(f"{path}:ship", {"need_delivery": False})
    buyer.api.post(f"{path}:confirm")
    balance = f"/v1/shops/{shop.shop_id}/balance"
    wait_until(
        lambda: shop.api.get(balance)["balance"]["available"] or shop.api.get(balance)["balance"]["pending"],
        "the money",
    )
    shop.api.post(f"{path}:refundLine", {"line": 1, "amount": 300})
    assert given(1300) == [(1000, "succeeded"), (300, "succeeded")]
    refused = shop.api.ask("POST", f"{path}:refundLine", {"line": 1, "amount": 2001})
    assert (refused.status, refused.body["errors"][0]["field"]) == (400, "amount")
    assert buyer.api.ask("POST", f"{path}:refundLine", {"line": 1, "amount": 1}).status == 403
