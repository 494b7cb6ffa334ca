"""A presale that is missed: late on its promised day, given back a few days later, unless it was sent or somebody decides about it."""

from datetime import timedelta

from services.chassis.decisions import Change
from services.orders.model import events
from services.orders.model import order as orders
from services.orders.model.states import DISPUTES, PAYMENTS, Known, State, Step
from tests.unit.orders import making

PROMISED = making.NOW + timedelta(days=20)
GRACE = making.TERMS.presale_grace
MERCHANT = Known("merchant", "usr_2", "shop_1")
PARCEL = {"need_delivery": False, "delivery_company": "", "delivery_track_no": "", "is_others": False}


def paid(*lines):
    """A paid order whose lines these are."""
    waiting = making.order(*lines)
    data = {"payment_id": "pay_1", "transaction_id": "4" * 28}
    share = {"order_id": waiting["_id"], "amount": waiting["amount"]}
    decision = events.paid(waiting, share, data, Step(making.NOW, PAYMENTS, "e"))
    return making.after(waiting, decision.change), decision.change.due


def presold(**more):
    return {**making.reserved(), "window_id": "w1", "ship_by": PROMISED, **more}


def test_it_is_late_on_its_day_and_given_back_after_the_grace():
    order, due = paid(presold(), making.reserved("p2", "s2"))
    assert due == PROMISED
    assert orders.overdue(order, PROMISED - timedelta(seconds=1)) == Change(due=PROMISED)
    late = orders.overdue(order, PROMISED)
    assert (late.set, late.due) == ({"late_shipment": True}, PROMISED + GRACE)
    order = making.after(order, late)
    missed = orders.overdue(order, PROMISED + GRACE)
    assert (missed.set["state"], missed.set["close_reason"], missed.due) == (State.CLOSED, "presale_missed", None)
    (told,) = missed.facts
    assert (told.type, told.data["reason"], told.data["amount"]) == (
        "jishi.orders.order.closed.v1",
        "presale_missed",
        order["amount"],
    )
    assert len(told.data["lines"]) == 2, "what was held comes back"


def test_a_worker_that_was_away_for_long_gives_it_back_at_once():
    order, _ = paid(presold())
    missed = orders.overdue(order, PROMISED + GRACE + timedelta(days=9))
    assert (missed.set["close_reason"], missed.set["late_shipment"]) == ("presale_missed", True)


def test_one_that_was_sent_late_is_only_late():
    order, _ = paid(presold())
    order = making.after(order, orders.overdue(order, PROMISED))
    sent = orders.ship(order, Step(PROMISED + timedelta(days=1), MERCHANT), PARCEL)
    order = making.after(order, sent)
    assert orders.overdue(order, PROMISED + GRACE) == Change(due=sent.due)
    assert orders.overdue(order, sent.due).set["state"] == State.COMPLETED


def test_while_a_case_is_open_nobody_else_decides_and_afterwards_it_is_still_missed():
    order, _ = paid(presold())
    opened = events.case_opened(order, {"case_id": "c", "kind": "refund_only"}, Step(making.NOW, DISPUTES))
    order = making.after(order, opened.change)
    late = orders.overdue(order, PROMISED)
    order = making.after(order, late)
    now = PROMISED + GRACE
    assert (late.due, orders.overdue(order, now)) == (None, Change(due=None))
    closed = {"case_id": "c", "outcome": "withdrawn", "refunded": 0}
    ended = events.case_closed(order, closed, Step(now, DISPUTES)).change
    assert ended.due == now
    assert orders.overdue(making.after(order, ended), now).set["close_reason"] == "presale_missed"


def test_other_orders_and_those_of_before_are_late_and_stay():
    plain, due = paid(making.reserved())
    assert orders.overdue(plain, due).due is None
    old, _ = paid(presold())
    old = {**old, "terms": {name: value for name, value in old["terms"].items() if name != "presale_grace_s"}}
    late = orders.overdue(old, PROMISED)
    assert (late.set, late.due) == ({"late_shipment": True}, None)
    assert orders.overdue(making.after(old, late), PROMISED + timedelta(days=99)).due is None
