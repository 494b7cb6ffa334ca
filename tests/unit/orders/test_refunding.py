"""What a merchant gives back of a line without a dispute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders.commands.refunding import refund_line
from services.orders.model import events, refunding
from services.orders.model.states import PAYMENTS, Known, Step
from tests.unit.orders import making
from tests.unit.orders.house import House

MERCHANT = Known("merchant", "acc_1", "shop_1")
STEP = Step(making.NOW, MERCHANT)
FROM_PAYMENTS = Step(making.NOW, PAYMENTS, "evt")


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def paid(*lines):
    order = making.order(*(lines or (making.reserved(quantity=3, price=1000, freight=500), making.reserved(sku="s2"))))
    data = {"payment_id": "pay_1", "transaction_id": "42"}
    share = {"order_id": order["_id"], "amount": order["amount"]}
    return making.after(order, events.paid(order, share, data, FROM_PAYMENTS).change)


def back(order, grant, amount):
    """Payments tells that so much of a grant went back."""
    data = {
        "order_id": order["_id"],
        "refund_id": grant["refund_id"],
        "cause": "merchant",
        "case_id": "",
        "amount": amount,
    }
    return making.after(order, events.refunded(order, data, FROM_PAYMENTS).change)


@given(
    asked=st.lists(
        st.tuples(st.integers(1, 2), st.integers(0, 3), st.none() | st.integers(1, 5000), st.booleans()), max_size=8
    )
)
def test_whatever_is_granted_never_passes_what_was_paid_for_the_line_or_the_order(asked):
    order = paid()
    for number, quantity, amount, arrives in asked:
        try:
            change = refunding.grant(order, STEP, number, quantity, amount, "")
        except Refusal:
            continue
        order = making.after(order, change)
        if arrives:
            order = back(order, order["line_refunds"][-1], order["line_refunds"][-1]["amount"])
        if order["state"] == "closed":
            break
    for number, line in enumerate(order["lines"], 1):
        of_line = [each for each in refunding.grants(order) if each["line"] == number]
        assert sum(each["amount"] for each in of_line) <= refunding.worth(line)
        assert sum(each["quantity"] for each in of_line) <= line["quantity"]
    assert sum(each["amount"] for each in refunding.grants(order)) <= order["paid"]
    assert len({each["refund_id"] for each in refunding.grants(order)}) == len(refunding.grants(order))


def test_units_are_worth_their_share_and_the_last_ones_what_is_left():
    order = paid()
    first = refunding.grant(order, STEP, 1, 1, None, " 杯口有缺 ")
    assert first.answer == {
        "order_id": order["_id"],
        "refund_id": f"rf-{order['_id']}-m1",
        "amount": 1000,
        "left": 2500,
    }
    assert first.facts[0].data["quantity"] == 1
    order = making.after(order, first)
    assert refunding.grant(order, STEP, 1, 2, None, "").answer["amount"] == 2000
    assert refunding.grant(order, STEP, 1, 0, 2500, "").answer["left"] == 0


def test_what_went_back_counts_and_not_what_was_promised():
    order = making.after(paid(), refunding.grant(paid(), STEP, 1, 0, 3000, ""))
    order = back(order, order["line_refunds"][0], 700)
    assert (order["refunded"], order["line_refunds"][0]["amount"], order["line_refunds"][0]["state"]) == (
        700,
        700,
        "succeeded",
    )
    assert refunding.left_of(order) == order["paid"] - 700


def test_an_order_that_was_given_back_in_full_before_it_was_sent_closes():
    order = paid(making.reserved(quantity=1, price=100, freight=0))
    order = making.after(order, refunding.grant(order, STEP, 1, 1, None, ""))
    order = back(order, order["line_refunds"][0], 100)
    assert (order["state"], order["close_reason"]) == ("closed", "refunded")


@pytest.mark.parametrize(
    ("change", "asked", "reason", "field"),
    [
        ({}, (3, 1, None), "INVALID_ARGUMENT", "line"),
        ({}, (0, 1, None), "INVALID_ARGUMENT", "line"),
        ({}, (1, 4, None), "INVALID_ARGUMENT", "quantity"),
        ({}, (1, -1, None), "INVALID_ARGUMENT", "quantity"),
        ({}, (1, 0, None), "INVALID_ARGUMENT", "amount"),
        ({}, (1, 0, 3501), "INVALID_ARGUMENT", "amount"),
        ({}, (1, 1, 0), "INVALID_ARGUMENT", "amount"),
        ({"state": "awaiting_payment"}, (1, 1, None), "WRONG_STATE", ""),
        ({"state": "closed"}, (1, 1, None), "WRONG_STATE", ""),
        ({"in_dispute": True}, (1, 1, None), "CONDITION_UNMET", ""),
    ],
)
def test_what_cannot_be_given_back_is_refused_by_name(change, asked, reason, field):
    with pytest.raises(Refusal) as caught:
        refunding.grant({**paid(), **change}, STEP, *asked, "")
    assert (caught.value.reason, "".join(each.field for each in caught.value.violations)) == (reason, field)


def test_a_refund_is_granted_once_by_its_merchant(house):
    placed = house.place("k1")
    house.pay(placed)
    order_id = placed.checkout["shares"][0]["order_id"]
    asked = {"order_id": order_id, "line": 1, "quantity": 1, "reason": ""}
    for replayed in (False, True):
        outcome = refund_line(house.store, Cause("cmd:r", "b"), MERCHANT, asked)
        assert (outcome.answer["amount"], outcome.replayed) == (1999, replayed)
    assert [each["amount"] for each in house.order(placed)["line_refunds"]] == [1999]
    with pytest.raises(Refusal) as caught:
        refund_line(house.store, Cause("cmd:x"), Known("merchant", "a", "shop_2"), asked)
    assert caught.value.reason == "NOT_FOUND"
