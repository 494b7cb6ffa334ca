"""One success pays a payable; every other one goes back."""

from datetime import timedelta

import pytest

from services.chassis.decisions import DONE
from services.chassis.errors import Refusal
from services.payments.model import payable
from services.payments.model.ledger import Entry, Posting, kind_of
from services.payments.model.payable import Success
from services.payments.model.plan import Plan
from tests.unit.payments.books import NOW, PAY_BY, SHOP, TERMS, World, changed, checkout

PAID = Success("n0", "t0", 1500, "CNY")


def collect(world: World, success: Success, now=NOW) -> Plan:
    books = world.books()
    plan = payable.collect(books.payable, success, now)
    assert isinstance(plan, Plan)
    world.write(plan, books)
    world.check()
    return plan


def test_a_success_pays_the_payable_and_fills_the_escrow_of_each_order():
    world = World.opened(1000, 500)
    collect(world, PAID)
    assert world.payable["state"] == "paid"
    assert [share["escrow"] for share in world.payable["shares"]] == [1000, 500]
    assert world.balances() == {"channel:clearing": -1500, "order:o0:escrow": 1000, "order:o1:escrow": 500}
    (fact,) = world.facts
    assert fact.type == "jishi.payments.payment.succeeded.v1"
    assert fact.data["shares"] == [
        {"order_id": "o0", "shop_id": SHOP, "amount": 1000},
        {"order_id": "o1", "shop_id": SHOP, "amount": 500},
    ]


def test_the_same_success_again_is_done():
    world = World.opened(1500)
    collect(world, PAID)
    assert payable.collect(world.payable, PAID, NOW) is DONE


@pytest.mark.parametrize("number", ["n0", "n1"])
def test_a_second_success_goes_back_in_the_same_write(number):
    world = World.opened(1500, attempts=2)
    collect(world, PAID)
    plan = collect(world, Success(number, "t1", 1500, "CNY"))
    assert [(refund.id, refund.cause, refund.amount) for refund in plan.refunds] == [("rf-t1", "paid_twice", 1500)]
    assert world.payable["shares"][0]["escrow"] == 1500
    assert len(world.facts) == 1


def test_the_last_moment_is_in_time_and_the_next_is_late():
    assert collect(World.opened(1500), PAID, PAY_BY).refunds == ()
    world = World.opened(1500)
    plan = collect(world, PAID, PAY_BY + timedelta(milliseconds=1))
    assert [refund.cause for refund in plan.refunds] == ["late"]
    assert world.payable["state"] == "open"
    assert not world.facts


def test_a_payment_after_the_payable_closed_goes_back():
    world = World.opened(1500)
    world.payable = changed(world.payable, payable.on_timer(world.payable, PAY_BY + timedelta(seconds=1), 1))
    assert world.payable["state"] == "closed"
    assert [refund.cause for refund in collect(world, PAID).refunds] == ["late"]


@pytest.mark.parametrize("success", [Success("n0", "t0", 1499, "CNY"), Success("n0", "t0", 1500, "USD")])
def test_another_amount_than_asked_for_is_refused(success):
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        payable.collect(World.opened(1500).payable, success, NOW)


def test_a_paid_payable_looks_once_more_at_attempts_that_may_still_be_paid():
    alone, two = World.opened(1500), World.opened(1500, attempts=2)
    collect(alone, PAID)
    collect(two, PAID)
    assert alone.payable["due"] is None
    assert two.payable["due"] == two.payable["trades_end"]
    change = payable.on_timer(two.payable, two.payable["trades_end"], 7)
    assert change.set == {"next_at": 7}
    assert change.due is None


def test_an_unpaid_payable_asks_then_closes_then_asks_for_the_last_time():
    document = World.opened(1500).payable
    ask = payable.on_timer(document, payable.first_due(checkout(1500), TERMS), 7)
    assert ask.set == {"next_at": 7}
    close = payable.on_timer(document, ask.due, 8)
    assert close.set["state"] == "closed"
    document = changed(document, close)
    last = payable.on_timer(document, close.due, 9)
    assert (last.set, last.due) == ({"next_at": 9}, None)
    done = payable.on_timer(changed(document, payable.ended(document, "n0")), close.due, 9)
    assert (done.set, done.due) == ({}, None)


@pytest.mark.parametrize(
    ("state", "now", "reason"),
    [
        ("paid", NOW, "ALREADY_PAID"),
        ("closed", NOW, "PAYMENT_CLOSED"),
        ("abandoned", NOW, "PAYMENT_CLOSED"),
        ("placing", NOW, "WRONG_STATE"),
        ("awaiting_payment", PAY_BY + timedelta(seconds=1), "PAYMENT_CLOSED"),
    ],
)
def test_a_checkout_is_paid_while_it_waits_for_it(state, now, reason):
    payable.check_payable(checkout(100), "buyer", PAY_BY)
    with pytest.raises(Refusal, match=reason):
        payable.check_payable(checkout(100, state=state), "buyer", now)


def test_a_checkout_is_paid_by_its_own_buyer_and_in_full():
    with pytest.raises(Refusal, match="NOT_FOUND"):
        payable.check_payable(checkout(100), "somebody", NOW)
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        payable.check_payable(checkout(100) | {"amount": 99}, "buyer", NOW)
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        payable.check_payable(checkout(0), "buyer", NOW)


def test_attempts_are_bounded_and_the_same_one_is_added_once():
    document = World.opened(1500).payable
    more = payable.attempt("n1", "jsapi", 1500)
    added = changed(document, payable.add_attempt(document, more, 2, NOW))
    assert payable.add_attempt(added, more, 2, NOW) is None
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        payable.add_attempt(added, payable.attempt("n2", "jsapi", 1500), 2, NOW)
    with pytest.raises(Refusal, match="PAYMENT_CLOSED"):
        payable.add_attempt(document, more, 2, PAY_BY + timedelta(seconds=1))
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        payable.attempt("n2", "cash", 1500)


def test_an_attempt_says_how_to_pay_it_and_waits():
    document = World.opened(1500).payable
    assert document["payments"][0]["code_url"] == "pay n0"
    assert list(payable.waiting(document)) == ["n0"]


@pytest.mark.parametrize("amounts", [(5, -4), (0, 0), (7,), ()])
def test_an_entry_that_does_not_balance_cannot_be_written(amounts):
    with pytest.raises(ValueError, match="does not balance"):
        Entry("e", "k", "CNY", tuple(Posting(f"a{i}", amount) for i, amount in enumerate(amounts)), ())


def test_accounts_are_summed_by_kind():
    accounts = ("order:1:escrow", "shop:s:available", "shop:s:hold:case_1", "platform:fee", "suspense")
    assert [kind_of(one) for one in accounts] == [
        "order:escrow",
        "shop:available",
        "shop:hold",
        "platform:fee",
        "suspense",
    ]
