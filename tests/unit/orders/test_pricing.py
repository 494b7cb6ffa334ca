"""Prices of orders that are not paid yet: the rules, and the commands on a real database."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import queries
from services.orders.commands import cancel
from services.orders.commands import pricing as commands
from services.orders.model import events, pricing
from services.orders.model.states import PAYMENTS, Known, Step
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House

MERCHANT = Known("merchant", "acc_1", "shop_1")
STEP = Step(making.NOW, MERCHANT)
DAY = timedelta(days=1)


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def two_lines(**changed):
    return {
        **making.order(making.reserved(price=1000, freight=500), making.reserved(sku="s2", price=3, freight=300)),
        **changed,
    }


def is_sound(order):
    """What is taken off adds up, on the lines and on the whole."""
    lines = order["lines"]
    of = {
        kind: sum(row["amount"] for row in order["discounts"] if row.get("of", "goods") == kind)
        for kind in ("goods", "freight")
    }
    assert order["amount"] == order["goods_amount"] - order["discount"] + order["freight"]
    assert order["discount"] == sum(of.values())
    assert sum(line["discount"] for line in lines) == of["goods"]
    assert sum(line.get("freight_discount", 0) for line in lines) == of["freight"]
    assert all(0 <= line["amount"] <= line["goods_amount"] for line in lines)
    assert all(0 <= line.get("freight_discount", 0) <= line["freight"] for line in lines)


@given(changes=st.lists(st.tuples(st.none() | st.integers(0, 2006), st.none() | st.integers(0, 800)), max_size=5))
def test_whatever_is_changed_how_often_the_parts_add_up_and_the_last_word_counts(changes):
    order, last = two_lines(), [2006, 800]
    for goods, freight in changes:
        wanted = [last[0] if goods is None else goods, last[1] if freight is None else freight]
        if (goods, freight) == (None, None) or not sum(wanted):
            with pytest.raises(Refusal):
                pricing.change_price(order, STEP, goods, freight)
            continue
        change = pricing.change_price(order, STEP, goods, freight)
        moved = sum(wanted) != order["amount"]
        assert bool(change.facts) is moved
        order, last = making.after(order, change), (wanted if moved else last)
        is_sound(order)
        assert [change.answer["goods_amount"], change.answer["freight"], change.answer["amount"]] == [
            *wanted,
            sum(wanted),
        ]
    assert pricing.as_placed(order)["amount"] == 2806


@pytest.mark.parametrize(
    ("goods", "freight", "field"),
    [
        (2007, None, "goods_amount"),
        (-1, None, "goods_amount"),
        (None, 801, "freight"),
        (None, None, "goods_amount"),
        (0, 0, "goods_amount"),
    ],
)
def test_a_price_is_never_above_what_the_buyer_agreed_to_and_never_nothing(goods, freight, field):
    with pytest.raises(Refusal) as caught:
        pricing.change_price(two_lines(), STEP, goods, freight)
    assert [each.field for each in caught.value.violations] == [field]


def test_a_paid_order_keeps_its_price_and_money_of_the_old_price_is_not_taken():
    order = two_lines()
    cheaper = making.after(order, pricing.change_price(order, STEP, 1000, None))
    data = {"payment_id": "pay_1", "transaction_id": "42"}
    old = events.paid(
        cheaper, {"order_id": order["_id"], "amount": order["amount"]}, data, replace(STEP, actor=PAYMENTS)
    )
    assert old.change.facts[0].type == "jishi.orders.order.payment_rejected.v1"
    taken = events.paid(
        cheaper, {"order_id": order["_id"], "amount": cheaper["amount"]}, data, replace(STEP, actor=PAYMENTS)
    )
    with pytest.raises(Refusal) as caught:
        pricing.change_price(making.after(cheaper, taken.change), STEP, 900, None)
    assert caught.value.reason == "WRONG_STATE"


def test_orders_that_travel_together_pay_the_dearest_freight_once():
    fees = (500, 900, 0)
    orders = [{**making.order(making.reserved(freight=fee)), "_id": str(n)} for n, fee in enumerate(fees)]
    after = [making.after(order, change) for order, change in zip(orders, pricing.merge(orders, STEP), strict=True)]
    assert [order["amount"] - order["goods_amount"] for order in after] == [0, 900, 0]
    assert after[0]["discounts"] == [
        {"kind": "merged_shipping", "ref": "1", "amount": 500, "payer": "merchant", "of": "freight"}
    ]
    for order in after:
        is_sound(order)
    with pytest.raises(Refusal, match="address"):
        pricing.merge([orders[0], {**orders[1], "address": {**making.ADDRESS, "zone": "越秀区"}}], STEP)
    with pytest.raises(Refusal, match="freight"):
        pricing.change_price(after[0], STEP, None, 1)


def test_a_price_is_changed_once_by_its_merchant_and_the_payable_follows(house):
    placed = house.place("k1")
    order_id = placed.checkout["shares"][0]["order_id"]
    before = queries.as_placed(placed)
    for replayed in (False, True):
        outcome = commands.change_price(house.store, Cause("cmd:p", "b"), MERCHANT, order_id, 4000, 0)
        assert (outcome.answer["amount"], outcome.answer["price_revision"], outcome.replayed) == (4000, 1, replayed)
    share = queries.payable(house.store, Known("service", "payments"), placed.checkout["_id"])["shares"][0]
    assert (share["amount"], share["revision"]) == (4000, 1)
    shown = queries.as_placed(house.place("k1"))
    assert shown["orders"][0]["amount"] == before["orders"][0]["amount"], "a repeated placing answers as it did"
    line = house.store.order(order_id)["timeline"][-1]
    assert (line["action"], line["note"]) == ("price_changed", "4698 → 4000")
    with pytest.raises(Refusal) as caught:
        commands.change_price(house.store, Cause("cmd:q"), Known("merchant", "a", "shop_2"), order_id, 1, 1)
    assert caught.value.reason == "NOT_FOUND"


def test_merging_is_one_step_for_all_and_done_once(house):
    ids = [
        house.place(f"k{n}", Catalog(making.reserved(freight=fee))).checkout["shares"][0]["order_id"]
        for n, fee in enumerate((500, 300))
    ]
    told, replayed = commands.merge_shipping(house.store, Cause("cmd:m", "b"), MERCHANT, ids)
    assert ([row["saved"] for row in told], replayed) == ([0, 300], False)
    assert commands.merge_shipping(house.store, Cause("cmd:m", "b"), MERCHANT, ids) == (told, True)
    assert [house.store.order(order_id)["amount"] for order_id in ids] == [4498, 3998]
    assert house.store.order(ids[1])["timeline"][-1]["action"] == "shipping_merged"
    for wrong, reason in (
        (ids[:1], "INVALID_ARGUMENT"),
        ([*ids, "1"], "NOT_FOUND"),
        ([ids[0]] * 2, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(Refusal) as caught:
            commands.merge_shipping(house.store, Cause(f"cmd:{len(wrong)}{reason}"), MERCHANT, wrong)
        assert caught.value.reason == reason


def travelling(house, *fees):
    """Unpaid orders with these freights that are merged; their ids."""
    placed = [house.place(f"k{n}", Catalog(making.reserved(freight=fee))) for n, fee in enumerate(fees)]
    ids = [each.checkout["shares"][0]["order_id"] for each in placed]
    commands.merge_shipping(house.store, Cause("cmd:m", "b"), MERCHANT, ids)
    return placed, ids


def freights(house, ids):
    return [house.store.order(each)["amount"] - house.store.order(each)["goods_amount"] for each in ids]


def hear_of_closed(house, order_id):
    """Deliver what the carrier's end told, twice, as a broker may."""
    told = [each for each in house.events(house.store.order(order_id)) if "carrier_closed" in each["type"]]
    for each in told:
        for _ in range(2):
            house.hear(each["type"], each["data"], int(order_id))
    return len(told)


@pytest.mark.parametrize("ends", ["cancelled", "timeout"])
def test_when_the_order_that_pays_the_freight_closes_the_next_dearest_pays_it(house, ends):
    _, ids = travelling(house, 500, 900, 300)
    assert freights(house, ids) == [0, 900, 0]
    if ends == "cancelled":
        cancel(house.store, Cause("cmd:c", "b"), Known("buyer", making.BUYER), ids[1], "")
    else:  # as if the carrier alone had been placed so long ago
        house.store.orders.update_many({"_id": {"$ne": ids[1]}}, {"$set": {"pay_by": clock.business() + DAY}})
        house.later(minutes=32)
    assert house.store.order(ids[1])["state"] == "closed"
    assert hear_of_closed(house, ids[1]) == 1
    assert freights(house, [ids[0], ids[2]]) == [500, 0]
    first, last = house.store.order(ids[0]), house.store.order(ids[2])
    assert (first["timeline"][-1]["action"], house.told(first)[-1]) == ("shipping_unmerged", "repriced")
    assert (first["carries"], last["discounts"][-1]["ref"]) == ([ids[2]], ids[0])
    for order in (first, last):
        is_sound(order)
    cancel(house.store, Cause("cmd:d", "b"), MERCHANT, ids[0], "", "out_of_stock")
    assert hear_of_closed(house, ids[0]) == 1
    assert freights(house, [ids[2]]) == [300]


def test_what_was_paid_without_freight_before_its_carrier_closed_stays_as_it_was_paid(house):
    placed, ids = travelling(house, 500, 900)
    house.pay(replace(placed[0], checkout={**placed[0].checkout, "shares": [share_of(house.store.order(ids[0]))]}))
    cancel(house.store, Cause("cmd:c", "b"), MERCHANT, ids[1], "", "out_of_stock")
    assert hear_of_closed(house, ids[1]) == 1
    paid = house.store.order(ids[0])
    assert (paid["state"], paid["paid"], freights(house, ids[:1])) == ("paid", paid["goods_amount"], [0])


def test_a_carrier_that_was_paid_and_then_cancelled_carries_nothing_any_more(house):
    placed, ids = travelling(house, 500, 900)
    house.pay(placed[1])
    cancel(house.store, Cause("cmd:c", "b"), MERCHANT, ids[1], "", "out_of_stock")
    assert hear_of_closed(house, ids[1]) == 1
    assert freights(house, ids[:1]) == [500]


def test_orders_that_carry_no_others_freight_say_nothing_of_it(house):
    _, ids = travelling(house, 500, 900)
    cancel(house.store, Cause("cmd:c", "b"), MERCHANT, ids[0], "", "out_of_stock")
    assert hear_of_closed(house, ids[0]) == 0
    assert freights(house, ids[1:]) == [900]
    cancel(house.store, Cause("cmd:d", "b"), MERCHANT, ids[1], "", "out_of_stock")
    assert hear_of_closed(house, ids[1]) == 1
    assert house.store.order(ids[0])["state"] == "closed"
    assert freights(house, ids[:1]) == [0], "what closed is not asked for again"


def share_of(order):
    return {"order_id": order["_id"], "shop_id": order["shop_id"], "amount": order["amount"]}
