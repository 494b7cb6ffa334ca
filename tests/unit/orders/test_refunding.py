"""What a merchant gives back of a line without a dispute."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders.commands.refunding import refund_line
from services.orders.model import deadlines, events, outstanding, parcels, refunding
from services.orders.model import order as orders
from services.orders.model.states import DISPUTES, PAYMENTS, Known, Step
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
        "restocked": 1,
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


def sent(order, *lines, number=1):
    """``lines`` (line, quantity) left in a parcel; none: all that is left."""
    asked = {"delivery_company": "003shunfeng", "delivery_track_no": f"SF100{number}", "is_others": False}
    asked["lines"] = [{"line": line, "quantity": quantity} for line, quantity in lines]
    return making.after(order, orders.ship(order, STEP, asked, 5))


def granted(order, *asked, **more):
    change = refunding.grant(order, STEP, *asked, "", **more)
    return making.after(order, change), change


def returned(change):
    """Units that came back to stock by a change, by SKU."""
    told = [fact.data for fact in change.facts if fact.type == "jishi.orders.order.goods_returned.v1"]
    return [(data["return_id"][-2:], {line["sku_id"]: line["quantity"] for line in data["lines"]}) for data in told]


def kinds(change):
    return [fact.type.split(".")[3] for fact in change.facts]


def test_what_was_not_sent_is_in_stock_again_and_what_was_sent_only_where_the_merchant_says_so():
    order = sent(paid(), (1, 2))
    order, change = granted(order, 1, 2, None)
    assert (change.answer["restocked"], returned(change)) == (1, [("m1", {"s1": 1})])
    order, change = granted(order, 1, 1, None, restock=True)
    assert (order["line_refunds"][-1]["restocked"], returned(change)) == (1, [("m2", {"s1": 1})])
    _, change = granted(order, 2, 1, None, restock=False)
    assert returned(change) == []
    assert returned(granted(order, 2, 0, 100)[1]) == []
    with pytest.raises(Refusal) as caught:
        granted(order, 2, 0, 100, restock=True)
    assert caught.value.violations[0].field == "restock"


def test_a_unit_that_was_given_back_is_not_left_to_send():
    order, _ = granted(paid(), 1, 1, None)
    assert outstanding.units(order) == parcels.left(order) == {1: 2, 2: 2}
    with pytest.raises(Refusal) as caught:
        sent(order, (1, 3))
    assert caught.value.violations[0].field == "lines[0].quantity"
    order = sent(order)
    assert (order["state"], order["parcels"][0]["lines"][0]) == ("shipped", {"line": 1, "quantity": 2})


def test_giving_back_all_that_was_left_to_send_ships_the_order():
    order = sent(paid(), (1, 3))
    order, change = granted(order, 2, 2, None)
    assert kinds(change) == ["refund_granted", "goods_returned", "shipped"]
    assert [line["action"] for line in order["timeline"][-2:]] == ["refund_granted", "shipped"]
    assert (order["state"], order["shipped_at"]) == ("shipped", making.NOW)
    assert deadlines.next_due(order) == order["auto_confirm_at"] == deadlines.confirm_at(order)


def test_an_order_whose_units_are_all_given_back_closes_with_the_freight_once_the_money_is_back():
    order, _ = granted(paid(), 1, 3, None)
    order, change = granted(order, 2, 2, 1000)
    assert (order["state"], change.due) == ("paid", None), "nothing is late that is not to be sent"
    with pytest.raises(Refusal) as caught:
        sent(order)
    assert caught.value.reason == "WRONG_STATE"
    first, second = order["line_refunds"]
    order = back(order, first, first["amount"])
    assert order["state"] == "paid", "more is on its way"
    data = {
        "order_id": order["_id"],
        "refund_id": second["refund_id"],
        "cause": "merchant",
        "case_id": "",
        "amount": 1000,
    }
    change = events.refunded(order, data, FROM_PAYMENTS).change
    order = making.after(order, change)
    (told,) = change.facts
    assert (order["state"], order["close_reason"]) == ("closed", "refunded")
    assert (told.data["amount"], told.data["lines"]) == (order["paid"] - 4000, []), "all units are in stock already"


def test_what_closes_in_a_dispute_waits_for_its_end():
    order, _ = granted(paid(making.reserved(quantity=1, price=1000, freight=300)), 1, 1, None)
    case = {"case_id": "c1", "kind": "refund_only"}
    in_dispute = Step(making.NOW, DISPUTES, "e")
    order = making.after(order, events.case_opened(order, case, in_dispute).change)
    order = back(order, order["line_refunds"][0], 1000)
    assert order["state"] == "paid"
    ended = {**case, "outcome": "withdrawn", "refunded": 0}
    change = events.case_closed(order, ended, in_dispute).change
    order = making.after(order, change)
    assert (order["state"], order["in_dispute"], change.facts[0].data["amount"]) == ("closed", False, 300)
    assert events.case_closed(order, ended, in_dispute).verdict == "done"


def test_a_cancelled_order_returns_only_what_was_not_given_back_before():
    order, _ = granted(paid(), 1, 2, None, restock=False)
    change = orders.cancel(order, Step(making.NOW, Known("buyer", making.BUYER)), "")
    (told,) = change.facts
    assert {line["sku_id"]: line["quantity"] for line in told.data["lines"]} == {"s1": 1, "s2": 2}
    assert change.set["stock_back"] == [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 2}]


def test_a_partly_sent_order_that_is_given_back_in_full_returns_what_is_in_the_warehouse():
    order = sent(paid(), (1, 2))
    data = {"order_id": order["_id"], "refund_id": "r1", "cause": "dispute", "case_id": "c1", "amount": order["paid"]}
    change = events.refunded(order, data, FROM_PAYMENTS).change
    assert change.set["state"] == "closed"
    assert {line["sku_id"]: line["quantity"] for line in change.facts[0].data["lines"]} == {"s1": 1, "s2": 2}


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


@given(siblings=st.integers(1, 60))
def test_the_grants_of_all_orders_of_a_payment_leave_each_a_refund_that_cannot_wait(siblings):
    each = refunding.most_grants(siblings)
    assert siblings * (each + 1) <= max(refunding.MOST, siblings)
    assert each >= (siblings <= 16)


@pytest.mark.parametrize(("siblings", "most"), [(1, 44), (2, 19), (10, 2)])
def test_an_order_is_refunded_by_line_only_as_often_as_leaves_the_channel_room_for_its_end(siblings, most):
    order = paid(making.reserved(quantity=3, price=1000))
    for _ in range(most):
        order = making.after(order, refunding.grant(order, STEP, 1, 0, 1, "", siblings=siblings))
    with pytest.raises(Refusal, match=f"at most {most} times") as caught:
        refunding.grant(order, STEP, 1, 0, 1, "", siblings=siblings)
    assert caught.value.info == {"condition": "refunds", "most": str(most)}


def test_what_the_channel_no_longer_gives_back_is_refused_before_anything_is_booked():
    order = paid()
    last = order["paid_at"] + refunding.REFUNDABLE
    assert refunding.grant(order, Step(last, MERCHANT), 1, 0, 1, "").facts
    with pytest.raises(Refusal, match="another way") as caught:
        refunding.grant(order, Step(last + timedelta(seconds=1), MERCHANT), 1, 0, 1, "")
    assert caught.value.info["condition"] == "refund_time"


def test_the_orders_of_a_checkout_share_what_the_channel_refunds_of_one_payment(house):
    placed = house.place("k1")
    house.pay(placed)
    first = placed.checkout["shares"][0]["order_id"]
    for number in range(1, 49):
        house.database["orders"].insert_one(
            {**making.order(), "_id": f"x{number}", "checkout_id": placed.checkout["_id"]}
        )
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        refund_line(house.store, Cause("cmd:r"), MERCHANT, {"order_id": first, "line": 1, "quantity": 1, "reason": ""})


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
