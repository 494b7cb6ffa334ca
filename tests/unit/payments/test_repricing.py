"""A payable follows the price of its orders; what was asked for at another price goes back."""

import pytest

from services.chassis import codec
from services.chassis.decisions import DONE, EARLY, STALE
from services.chassis.errors import Refusal
from services.chassis.events import payloads
from services.payments.model import escrow, granting, payable, repricing
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from tests.unit.payments.books import NOW, PAY_BY, World, attempt, changed, checkout
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


# ---------------------------------------------------------------------------------- a price that is heard of when it was paid


def late(*amounts, attempts=1):
    """A payable that was paid before it heard of another price."""
    world = World.opened(*amounts, attempts=attempts)
    collect(world, Success("n0", "t0", sum(amounts), "CNY"))
    return world


def hear(world, decide, data):
    books = world.books()
    plan = decide(books, data)
    if isinstance(plan, Plan):
        world.write(plan, books)
        world.check()
    return plan


def rejected(world, due, order_id="o0", revision=1, payment_id="pay_n0"):
    """The order tells that it costs ``due`` now."""
    told = {"order_id": order_id, "checkout_id": "c1", "amount": 1000, "reason": "amount_mismatch"}
    return hear(world, escrow.payment_rejected, {**told, "payment_id": payment_id, "due": due, "revision": revision})


def pay_anew(world, amount, number="n9"):
    more = payable.add_attempt(world.payable, attempt(number, "native", amount), 9, NOW)
    world.payable = changed(world.payable, more)
    return collect(world, Success(number, f"t{number}", amount, "CNY"))


def states(world):
    return world.payable["state"], [share["state"] for share in world.payable["shares"]]


def test_what_was_paid_at_a_price_of_before_goes_back_and_the_new_price_can_be_paid():
    world = late(1000, attempts=2)
    plan = rejected(world, 900)
    assert [(row.id, row.cause, row.amount) for row in plan.refunds] == [("rf-o0-p1", "rejected", 1000)]
    assert (states(world), payable.due(world.payable)) == (("open", ["unpaid"]), 900)
    assert world.payable["payments"][0]["state"] == "returned"
    in_flight = collect(world, Success("n1", "t1", 1000, "CNY"))
    assert [(row.cause, row.amount) for row in in_flight.refunds] == [("repriced", 1000)]
    assert pay_anew(world, 900).refunds == ()
    assert (states(world), world.payable["shares"][0]["escrow"]) == (("paid", ["escrow"]), 900)
    assert rejected(world, 900) is DONE, "the same rejection, told again, takes nothing back"
    assert payable.collect(world.payable, Success("n0", "t0", 1000, "CNY"), NOW) is DONE
    back = hear(world, escrow.order_closed, {"order_id": "o0", "was_paid": True})
    assert [(row.id, row.transaction_id, row.total) for row in back.refunds] == [("rf-o0", "tn9", 900)]


def test_a_price_that_changes_a_second_time_while_it_is_paid_is_another_rejection():
    world = late(1000)
    rejected(world, 900)
    pay_anew(world, 900)
    assert [row.id for row in rejected(world, 800, revision=2, payment_id="pay_n9").refunds] == ["rf-o0-p2"]
    pay_anew(world, 800, "n10")
    assert (states(world), world.payable["shares"][0]["escrow"]) == (("paid", ["escrow"]), 800)


def test_the_other_orders_of_the_payment_go_on_meanwhile():
    world = late(1000, 500)
    rejected(world, 900)
    assert (states(world), payable.due(world.payable)) == (("open", ["unpaid", "escrow"]), 900)
    assert world.payable["payments"][0]["state"] == "paid"
    grant = {"order_id": "o1", "checkout_id": "c1", "refund_id": "rf-o1-m1", "amount": 100}
    (refund,) = hear(world, granting.granted, grant).refunds
    assert (refund.transaction_id, refund.total) == ("t0", 1500)
    assert hear(world, granting.granted, {**grant, "order_id": "o0", "refund_id": "rf-o0-m1"}) is EARLY
    told = pay_anew(world, 900).payable.facts[0].data
    assert [share["order_id"] for share in told["shares"]] == ["o0"]
    done = {"order_id": "o1", "commission_bp": 0, "commission_policy": "p", "goods_amount": 500}
    hear(world, escrow.order_completed, done)
    assert [(share["escrow"], share["settled"]) for share in world.payable["shares"]] == [(900, 0), (0, 400)]
    (refund,) = hear(world, escrow.order_closed, {"order_id": "o0", "was_paid": True}).refunds
    assert refund.transaction_id == "tn9"


@pytest.mark.parametrize("by_order", [True, False])
def test_what_nobody_pays_any_more_is_closed_and_what_was_paid_stays(by_order):
    world = late(1000, 500)
    rejected(world, 900)
    if by_order:
        hear(world, escrow.order_closed, {"order_id": "o0", "was_paid": False})
    else:
        world.payable = changed(world.payable, payable.on_timer(world.payable, PAY_BY.replace(hour=4), 1))
    assert states(world) == ("paid", ["closed", "escrow"])
    alone = late(1000)
    rejected(alone, 900)
    hear(alone, escrow.order_closed, {"order_id": "o0", "was_paid": False})
    assert states(alone) == ("closed", ["closed"])


def test_nothing_is_opened_until_the_rejection_is_known_and_then_what_orders_name():
    world = late(1000, 500)
    now = checkout(900)
    now["shares"][0]["revision"] = 1
    with pytest.raises(Refusal) as caught:
        repricing.check_in_step(world.payable, now)
    assert caught.value.reason == "VERSION_CONFLICT"
    assert hear(world, escrow.order_closed, {"order_id": "o1", "was_paid": False}) is STALE, "its rejection comes"
    rejected(world, 900)
    repricing.check_in_step(world.payable, now)
    rejected(world, 400, "o1")
    assert payable.due(world.payable) == 1300
    world.payable = changed(world.payable, payable.Change(set=repricing.caught_up(world.payable, now)))
    assert (states(world), payable.due(world.payable)) == (("open", ["unpaid", "closed"]), 900)
    assert reprice(world, told(850, 2)).payable is not None
    pay_anew(world, 850)
    assert states(world) == ("paid", ["escrow", "closed"])


def test_a_cancelled_order_is_not_charged_and_its_share_stays_closed():
    world = World.opened(1000, 500)
    told_now = checkout(1000)
    more = payable.attempt("n1", "native", 1000, payable.named(told_now))
    added = payable.add_attempt(world.payable, payable.placed(more, {"code_url": "c"}), 5, NOW)
    follows = repricing.caught_up(world.payable, told_now)
    world.payable = changed(changed(world.payable, added), payable.Change(set=follows))
    assert states(world) == ("open", ["unpaid", "closed"])
    assert payable.void(world.payable) == [], "who pays all of it gets the cancelled order's share back"
    plan = collect(world, Success("n1", "t1", 1000, "CNY"))
    assert [fact.data["amount"] for fact in plan.payable.facts] == [1000]
    assert (states(world), plan.refunds) == (("paid", ["escrow", "closed"]), ())
    world.check()


def test_a_payment_opened_before_an_order_was_cancelled_is_taken_as_it_was_asked_for():
    world = World.opened(1000, 500)
    hear(world, escrow.order_closed, {"order_id": "o1", "was_paid": False})
    assert collect(world, Success("n0", "t0", 1500, "CNY")).refunds == ()
    rejected_share = hear(
        world, escrow.payment_rejected, {"order_id": "o1", "payment_id": "pay_n0", "reason": "closed"}
    )
    assert [(refund.cause, refund.amount) for refund in rejected_share.refunds] == [("rejected", 500)]
    world.check()
