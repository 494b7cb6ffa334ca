"""Reservations, their ends, and stock changes: nothing is sold twice, nothing is lost."""

import random
import threading

import pytest

from services.chassis.errors import Refusal
from services.chassis.once import Result
from tests.unit.catalog.making import OTHER, SHOP, product, sku


def refused(call, *arguments, **more):
    with pytest.raises(Refusal) as caught:
        call(*arguments, **more)
    return caught.value


def test_a_checkout_holds_all_its_lines_as_the_buyer_saw_them(house):
    house.upsert(
        product(freight={"kind": "flat", "fee": 600}), product("p2", skus=[sku(quantity=1, merchant_sku="M")], axes=[])
    )
    outcome = house.reserve(house.line(2), house.line(3, number=1), house.line(1, "p2"))
    first, second, third = outcome.document["lines"]
    assert (first["name"], first["sku_text"], first["price"], first["freight_fee"], first["product_version"]) == (
        "商品 p1",
        "红",
        1000,
        600,
        1,
    )
    assert (second["price"], third["merchant_sku"], third["sku_text"], third["currency"]) == (2000, "M", "", "CNY")
    assert house.stock() == [(10, 2), (10, 3)]
    assert house.stock("p2") == [(1, 1)]
    assert house.sound()


def test_all_lines_or_none(house):
    house.upsert(product())
    refusal = refused(house.reserve, house.line(2), house.line(11, number=1))
    assert (refusal.reason, [v.field for v in refusal.violations]) == ("OUT_OF_STOCK", ["lines[1].quantity"])
    assert house.stock() == [(10, 0), (10, 0)]
    assert house.store.reservations.count_documents({}) == 0


def test_the_same_sku_on_two_lines_is_summed_first(house):
    house.upsert(product())
    assert refused(house.reserve, house.line(6), house.line(5)).reason == "OUT_OF_STOCK"
    house.reserve(house.line(6), house.line(4))
    assert house.stock()[0] == (10, 10)
    assert house.sound()


def test_the_same_checkout_asks_twice_and_holds_once(house):
    house.upsert(product())
    first = house.reserve(house.line(2))
    again = house.reserve(house.line(2))
    assert (first.replayed, again.replayed) == (False, True)
    assert again.document["lines"] == first.document["lines"]
    assert house.stock()[0] == (10, 2)
    assert refused(house.reserve, house.line(3)).reason == "IDEMPOTENCY_KEY_REUSED"


def test_what_is_not_on_sale_cannot_be_reserved(house):
    house.upsert(product(listed=False), product("p2"))
    assert refused(house.reserve, house.line(1)).reason == "NOT_FOR_SALE"
    strange = {**house.line(1, "p2"), "sku_id": "s-unknown"}
    refusal = refused(house.reserve, house.line(1, "p2"), strange)
    assert (refusal.reason, refusal.violations[0].field) == ("NOT_FOR_SALE", "lines[1].sku_id")
    house.open_shop(SHOP, state="suspended")
    assert refused(house.reserve, house.line(1, "p2")).reason == "NOT_FOR_SALE"
    assert refused(house.reserve).reason == "INVALID_ARGUMENT"


def test_paid_is_sold_once_however_often_it_is_told(house):
    house.upsert(product())
    house.reserve(house.line(2))
    assert house.paid(house.line(2), number=900) is Result.APPLIED
    assert house.paid(house.line(2), number=900) is Result.DONE
    assert house.paid(house.line(2), number=901) is Result.DONE
    assert house.stock()[0] == (8, 0)
    assert "due_at" not in house.store.reservations.find_one({"_id": "c1"})
    assert house.sound()


def test_an_unpaid_order_gives_its_stock_back_and_its_checkout_is_over(house):
    house.upsert(product())
    house.reserve(house.line(2))
    assert house.closed(house.line(2), number=900) is Result.APPLIED
    assert house.closed(house.line(2), number=900) is Result.DONE
    assert house.stock()[0] == (10, 0)
    assert refused(house.reserve, house.line(2)).reason == "WRONG_STATE"
    assert house.sound()


def test_a_cancelled_order_returns_what_was_sold_even_when_told_before_the_payment(house):
    house.upsert(product())
    house.reserve(house.line(2))
    assert house.closed(house.line(2), was_paid=True, number=900) is Result.EARLY
    assert house.stock()[0] == (10, 2)
    assert house.paid(house.line(2)) is Result.APPLIED
    house.intake.sweep()
    assert house.stock()[0] == (10, 0)
    kinds = sorted(row["kind"] for row in house.store.movements.find({}))
    assert kinds == ["returned", "sold"]
    assert house.sound()


def test_units_of_a_sold_order_come_back_once_for_each_refund_and_its_end_brings_the_rest(house):
    house.upsert(product(buy_limit=5))
    house.reserve(house.line(3))
    assert house.returned(house.line(1)) is Result.EARLY, "not sold yet"
    house.paid(house.line(3))
    house.intake.sweep()
    assert house.stock()[0] == (8, 0)
    assert house.returned(house.line(1), number=77) is Result.DONE, "the same refund"
    assert house.returned(house.line(1), return_id="rf-o1-m2") is Result.APPLIED
    assert house.stock()[0] == (9, 0)
    assert [row["quantity"] for row in house.store.purchases.find({})] == [1]
    house.closed(house.line(1), was_paid=True)
    assert (house.stock()[0], house.store.reservations.find_one({"_id": "c1"})["parts"]) == (
        (10, 0),
        {SHOP: "returned"},
    )
    assert house.returned(house.line(2), return_id="rf-o1-m3") is Result.APPLIED
    assert house.stock()[0] == (10, 0), "never more than was sold"
    assert [row["quantity"] for row in house.store.purchases.find({})] == [0]
    assert house.sound()


def test_an_order_that_ends_returns_only_what_it_says(house):
    house.upsert(product())
    house.reserve(house.line(4), house.line(2, number=1))
    house.paid(house.line(4), house.line(2, number=1))
    house.closed(house.line(1), was_paid=True)
    assert house.stock() == [(7, 0), (8, 0)]
    assert house.sound()


def test_each_shop_of_a_checkout_ends_for_itself(house):
    house.upsert(product())
    house.upsert(product("q"), shop=OTHER)
    other = house.product("q", OTHER)
    line = {"product_id": other["_id"], "sku_id": other["listing"]["skus"][0]["sku_id"], "quantity": 4}
    house.reserve(house.line(2), line)
    house.closed(house.line(2))
    house.paid(line, shop=OTHER, order="o2")
    assert house.stock()[0] == (10, 0)
    assert house.store.stock.find_one({"_id": line["sku_id"]})["on_hand"] == 6
    assert house.store.reservations.find_one({"_id": "c1"})["parts"] == {SHOP: "released", OTHER: "sold"}
    assert house.sound()


def test_a_closed_checkout_without_orders_is_released_whole_and_bars_a_late_reservation(house):
    house.upsert(product())
    house.reserve(house.line(2))
    assert house.closed(shop="", order="") is Result.APPLIED
    assert house.stock()[0] == (10, 0)
    assert house.closed(shop="", order="", checkout="c2") is Result.APPLIED
    assert refused(house.reserve, house.line(1), checkout="c2").reason == "WRONG_STATE"
    assert house.sound()


def test_a_reservation_that_nobody_ends_is_released_by_the_backstop(house):
    house.upsert(product())
    house.reserve(house.line(2))
    assert house.later(minutes=59) == 0
    assert house.later(minutes=2) == 1
    assert house.stock()[0] == (10, 0)
    assert house.later(hours=1) == 0
    assert house.sound()


def test_a_late_payment_takes_the_stock_again_or_says_that_it_is_gone(house):
    house.upsert(product())
    house.reserve(house.line(6))
    house.reserve(house.line(3), checkout="c2")
    house.later(minutes=61)
    house.paid(house.line(6))
    assert house.stock()[0] == (4, 0)
    house.restock((house.line()["sku_id"], -2, "r1"))
    assert house.paid(house.line(3), checkout="c2", order="o2", number=900) is Result.APPLIED
    assert house.paid(house.line(3), checkout="c2", order="o2", number=900) is Result.DONE
    (event,) = house.told("reservations")
    assert event["type"] == "jishi.catalog.reservation.failed.v1"
    assert event["data"] == {"checkout_id": "c2", "order_id": "o2", "reason": "out_of_stock"}
    assert house.stock()[0] == (2, 0)
    assert house.closed(house.line(3), checkout="c2", order="o2", was_paid=True) is Result.DONE
    assert house.sound()


def test_a_payment_without_any_reservation_still_takes_stock_or_answers(house):
    house.upsert(product())
    house.paid(house.line(4), checkout="c8")
    house.paid(house.line(7), checkout="c9", order="o9")
    assert house.stock()[0] == (6, 0)
    assert [event["data"]["order_id"] for event in house.told("reservations")] == ["o9"]
    assert house.sound()


def test_a_buy_limit_holds_over_checkouts_and_comes_back_with_the_goods(house):
    house.upsert(product(buy_limit=3))
    house.reserve(house.line(2))
    refusal = refused(house.reserve, house.line(1), house.line(1, number=1), checkout="c2")
    assert (refusal.reason, len(refusal.violations)) == ("BUY_LIMIT_REACHED", 2)
    house.reserve(house.line(1), checkout="c3")
    house.reserve(house.line(3), checkout="c4", buyer="b2")
    house.closed(house.line(2))
    house.reserve(house.line(2), checkout="c5")
    assert refused(house.reserve, house.line(1), checkout="c6").reason == "BUY_LIMIT_REACHED"
    assert house.sound()


def together(number, call):
    """``call(n)`` from as many threads; what each came to."""
    found = [None] * number

    def one(n):
        try:
            found[n] = call(n)
        except Refusal as refusal:
            found[n] = refusal.reason

    threads = [threading.Thread(target=one, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_fifty_units_go_to_exactly_fifty_of_eighty_buyers(house):
    house.upsert(product(skus=[sku("红", quantity=50)]))
    line = house.line()
    found = together(80, lambda n: house.reserve(line, checkout=f"c{n}", buyer=f"b{n}"))
    assert sum(outcome == "OUT_OF_STOCK" for outcome in found) == 30
    assert house.stock() == [(50, 50)]
    assert house.sound()


def test_a_buy_limit_holds_under_concurrency(house):
    house.upsert(product(buy_limit=2))
    line = house.line()
    found = together(12, lambda n: house.reserve(line, checkout=f"c{n}", buyer="b1"))
    assert sum(outcome == "BUY_LIMIT_REACHED" for outcome in found) == 10
    assert house.stock()[0] == (10, 2)


def test_stock_changes_count_once_under_their_request_id(house):
    house.upsert(product())
    red, blue = house.line()["sku_id"], house.line(number=1)["sku_id"]
    first = house.restock((red, 5, "r1"), (blue, -3, "r2"), ("s-unknown", 1, "r3"), (red, 0, "r4"), (blue, -20, "r5"))
    assert [(row["ok"], row["reason"]) for row in first] == [
        (True, ""),
        (True, ""),
        (False, "NOT_FOUND"),
        (False, "INVALID_ARGUMENT"),
        (False, "OUT_OF_STOCK"),
    ]
    assert house.stock() == [(15, 0), (7, 0)]
    again = house.restock((red, 5, "r1"), (red, 6, "r1"), (blue, -3, "r2"))
    assert [(row["ok"], row["replayed"], row["reason"]) for row in again] == [
        (True, True, ""),
        (False, False, "IDEMPOTENCY_KEY_REUSED"),
        (True, True, ""),
    ]
    house.restock((red, 1, ""), key="same")
    house.restock((red, 1, ""), key="same")
    assert house.stock() == [(16, 0), (7, 0)]
    assert house.restock((red, 1, "r9"), shop=OTHER)[0]["reason"] == "NOT_FOUND"
    assert house.sound()


def test_what_is_reserved_cannot_be_taken_out_of_stock(house):
    house.upsert(product())
    house.reserve(house.line(8))
    assert house.restock((house.line()["sku_id"], -3, "r1"))[0]["reason"] == "OUT_OF_STOCK"
    assert house.restock((house.line()["sku_id"], -2, "r2"))[0]["ok"]
    assert house.sound()


@pytest.mark.parametrize("seed", range(6))
def test_events_in_any_order_and_twice_end_the_same(house, seed):
    print("seed", seed)
    house.upsert(product())
    line = house.line(2)
    for name in ("a", "b", "c"):
        house.reserve(line, checkout=name)
    told = [
        lambda: house.paid(line, checkout="a", order="a", number=501),
        lambda: house.closed(line, checkout="a", order="a", was_paid=True, number=502),
        lambda: house.paid(line, checkout="b", order="b", number=503),
        lambda: house.closed(line, checkout="c", order="c", number=504),
    ] * 2
    random.Random(seed).shuffle(told)
    for tell in told:
        tell()
    house.intake.sweep()
    parts = {row["_id"]: row["parts"][SHOP] for row in house.store.reservations.find({})}
    assert parts == {"a": "returned", "b": "sold", "c": "released"}
    assert house.stock()[0] == (8, 0)
    assert house.store.database["handled"].count_documents({"state": "waiting"}) == 0
    assert house.sound()
