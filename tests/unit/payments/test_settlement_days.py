"""T+n: what an order gave is pending until its day; a case that is opened meanwhile takes it first."""

from datetime import datetime

import pytest

from services.chassis import clock
from services.chassis.calendar import CST
from services.chassis.commit import Cause
from services.chassis.once import Result
from services.payments.commands.terms import set_terms
from services.payments.model import settling
from tests.unit.payments.ledger_house import SHOP

OPENED, RULED, ENDED = (f"jishi.disputes.case.{what}.v1" for what in ("opened", "ruled", "closed"))


@pytest.fixture
def slow(books):
    """A shop that settles two days later."""
    asked = {"shop_id": SHOP, "settlement_days": 2, "reason": "新店"}
    set_terms(books.store, Cause("cmd:terms", "h"), asked)
    return books


def test_days_are_natural_days_of_the_shop():
    late = datetime(2026, 1, 5, 23, 59, tzinfo=CST)
    told = {"completed_at": late, "settlement_days": 1}
    assert settling.matures_at(told) == datetime(2026, 1, 6, tzinfo=CST)
    assert settling.matures_at({**told, "settlement_days": 7}) == datetime(2026, 1, 12, tzinfo=CST)
    assert settling.matures_at({**told, "settlement_days": 0}) is None


def test_an_order_is_pending_until_its_day_and_available_then(slow):
    trade = slow.paid(1000)
    assert slow.complete(*trade) is Result.APPLIED
    assert slow.complete(*trade) is Result.DONE
    assert slow.purse() == {"pending": 980}
    entry = slow.store.entry(f"settle:{trade[1]}")
    assert entry["terms"]["settlement"] == "settlement_days@shop: T+2"
    slow.pass_time(days=1)
    assert slow.fire("maturing") == 0
    slow.pass_time(days=1)
    assert slow.fire("maturing") == 1
    assert slow.purse() == {"available": 980}
    assert slow.fire("maturing") == 0
    assert slow.store.entry(f"mature:{trade[1]}")["cause"].startswith("tmr:")


def test_a_case_takes_what_is_pending_of_its_order_first(slow):
    other = slow.earn(5000)
    trade = slow.paid(1000)
    slow.complete(*trade)
    case = {"order_id": trade[1], "case_id": "case_1"}
    opened = {**case, "claim": 600, "buyer_id": "buyer", "kind": "refund_only"}
    assert slow.hear(OPENED, trade[0], **opened) is Result.APPLIED
    assert slow.purse() == {"available": 5000, "pending": 380, "held": 600}
    ruling = {**case, "refund": 700, "payer": "merchant", "decided_by": "platform"}
    assert slow.hear(RULED, trade[0], **ruling) is Result.APPLIED
    (refund,) = slow.store.refunds_of({"order_id": trade[1]})
    assert [(one["account"], one["amount"]) for one in refund["sources"]] == [("hold", 600), ("pending", 100)]
    assert slow.hear(ENDED, trade[0], **case) is Result.APPLIED
    slow.pass_time(days=3)
    slow.fire("maturing")
    assert slow.purse() == {"available": 5280}
    assert slow.store.entry(other) is not None


def test_all_that_is_pending_may_be_taken_and_then_nothing_matures(slow):
    trade = slow.paid(1000)
    slow.complete(*trade)
    case = {"order_id": trade[1], "case_id": "case_1"}
    slow.hear(OPENED, trade[0], **case, claim=1000, buyer_id="buyer", kind="refund_only")
    assert slow.purse() == {"held": 980}
    assert slow.store.maturing.count_documents({"due_at": {"$exists": True}}) == 0
    slow.hear(ENDED, trade[0], **case)
    slow.pass_time(days=3)
    assert slow.fire("maturing") == 0
    assert slow.purse() == {"available": 980}


def test_a_decision_that_met_the_timer_is_made_again(slow):
    """The row matures between what a case read and what it writes."""
    from services.chassis.commit import Shortfall
    from services.payments.model import cases
    from services.payments.model.plan import Books
    from services.payments.store.posting import post

    trade = slow.paid(1000)
    slow.complete(*trade)
    store = slow.store
    books = Books(store.payable(trade[0]), store.shop(SHOP), store.waiting_credits(SHOP), store.pending(trade[1]))
    told = {"order_id": trade[1], "case_id": "case_1", "claim": 600}
    plan = cases.opened(books, told)
    slow.pass_time(days=2)
    slow.fire("maturing")
    with pytest.raises(Shortfall):
        post(store, plan, books, Cause("evt:case"))
    assert slow.purse() == {"available": 980}
    assert clock.business() > store.pending(trade[1])["matures_at"]
