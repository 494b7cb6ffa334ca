"""A payable follows the price of its orders; what was asked for at another price goes back."""

import pytest

from services.chassis import codec
from services.chassis.decisions import DONE, STALE
from services.chassis.errors import Refusal
from services.chassis.events import payloads
from services.payments.model import payable, repricing
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from tests.unit.payments.books import NOW, World, attempt, changed, checkout
from tests.unit.payments.test_collecting import collect


def told(amount, revision, order_id="o0"):
    return {"order_id": order_id, "checkout_id": "c1", "amount": amount, "revision": revision}


def is_told(plan):
    """Whether the event that tells of each refund knows its cause."""
    told = payloads()["jishi.payments.refund.succeeded.v1"]
    return all(
        codec.to_plain(codec.from_plain(told, {"cause": row.cause}))["cause"] == row.cause for row in plan.refunds
    )


def reprice(world, data):
    plan = repricing.order_repriced(world.books(), data, 77)
    if isinstance(plan, Plan):
        world.write(plan, world.books())
    return plan


def test_a_payment_at_the_old_price_goes_back_and_one_at_the_new_is_taken():
    world = World.opened(1000, 500)
    reprice(world, told(800, 1))
    assert ([share["amount"] for share in world.payable["shares"]], world.payable["amount"]) == ([800, 500], 1300)
    assert (world.payable["next_at"], payable.void(world.payable)) == (77, ["n0"])
    back = collect(world, Success("n0", "t0", 1500, "CNY"))
    assert [(refund.cause, refund.amount) for refund in back.refunds] == [("repriced", 1500)]
    assert is_told(back)
    assert world.payable["state"] == "open"
    more = payable.add_attempt(world.payable, attempt("n1", "native", 1300), 5, NOW)
    world.payable = changed(world.payable, more)
    assert collect(world, Success("n1", "t1", 1300, "CNY")).refunds == ()
    assert [share["escrow"] for share in world.payable["shares"]] == [800, 500]


def test_the_newest_price_counts_whatever_comes_first():
    world = World.opened(1000)
    reprice(world, told(700, 2))
    assert reprice(world, told(800, 1)) is DONE
    assert reprice(world, told(700, 2)) is DONE
    assert world.payable["amount"] == 700


def test_a_price_that_changes_before_opening_or_after_paying_is_none_of_a_payables():
    assert repricing.order_repriced(Books(None), told(1, 1), 0) is STALE
    world = World.opened(1000)
    assert repricing.order_repriced(world.books(), told(1, 1, "o9"), 0) is STALE
    collect(world, Success("n0", "t0", 1000, "CNY"))
    assert reprice(world, told(800, 1)) is STALE


def test_an_attempt_that_knows_a_newer_price_takes_the_payable_with_it_and_one_of_an_older_is_refused():
    world = World.opened(1000, 500)
    now = checkout(1000, 400)
    now["shares"][1]["revision"] = 1
    fields = repricing.caught_up(world.payable, now)
    assert fields == {"shares.1.amount": 400, "shares.1.revision": 1, "amount": 1400}
    reprice(world, told(400, 2, "o1"))
    with pytest.raises(Refusal) as caught:
        repricing.caught_up(world.payable, now)
    assert caught.value.reason == "VERSION_CONFLICT"
    assert repricing.caught_up(World.opened(1000).payable, checkout(1000)) == {}
