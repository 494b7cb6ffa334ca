"""What becomes of collected money: settled, refunded, held, ruled on, released."""

import pytest

from services.chassis.decisions import DONE, EARLY, STALE
from services.payments.model import cases, escrow, purse, trial
from services.payments.model import payable as payables
from services.payments.model import refund as refunds
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from tests.unit.payments.books import NOW, SHOP, World, changed

COMPLETED = {"order_id": "o0", "commission_bp": 60, "commission_policy": "commission_bp@2014-05-29"}
CLOSED = {"order_id": "o0", "was_paid": True}
OPENED = {"case_id": "case_1", "order_id": "o0", "claim": 800}
RULED = {"case_id": "case_1", "order_id": "o0", "refund": 800, "payer": "merchant"}
ENDED = {"case_id": "case_1", "order_id": "o0"}


@pytest.fixture
def world() -> World:
    """Two orders, ¥10.00 and ¥5.00, paid."""
    world = World.opened(1000, 500)
    books = world.books()
    world.write(payables.collect(books.payable, Success("n0", "t0", 1500, "CNY"), NOW), books)
    return world


def run(world: World, planner, data) -> Plan:
    books = world.books()
    plan = planner(books, data)
    assert isinstance(plan, Plan), plan
    world.write(plan, books)
    world.check()
    assert planner(world.books(), data).verdict in ("done", "stale")
    return plan


def deposit(world: World, amount: int) -> None:
    """Money in the shop's deposit, from nowhere."""
    world.entries["d"] = {
        "kind": "deposit",
        "currency": "CNY",
        "postings": [
            {"account": "bank:clearing", "amount": -amount},
            {"account": f"shop:{SHOP}:deposit", "amount": amount},
        ],
    }
    world.credits["d"] = {"_id": "d", "shop_id": SHOP, "pocket": "deposit", "amount": amount, "waiting": True}


def sources(plan: Plan) -> list[tuple[str, int]]:
    return [(source.account, source.amount) for source in plan.refunds[0].sources]


def test_a_completed_order_settles_less_its_commission(world):
    plan = run(world, escrow.order_completed, COMPLETED)
    assert world.balances()[f"shop:{SHOP}:available"] == 994
    assert world.balances()["platform:fee"] == 6
    assert world.payable["shares"][0] == {
        "order_id": "o0",
        "shop_id": SHOP,
        "amount": 1000,
        "escrow": 0,
        "refunded": 0,
        "settled": 994,
        "state": "settled",
    }
    assert plan.shop is None, "settling must not touch the shop's balance document"
    assert plan.entries[0].terms == {"commission_bp": "60", "commission_policy": "commission_bp@2014-05-29"}


@pytest.mark.parametrize(
    ("planner", "cause"), [(escrow.order_closed, "cancelled"), (escrow.payment_rejected, "rejected")]
)
def test_what_an_order_cannot_keep_goes_back_once(world, planner, cause):
    plan = run(world, planner, CLOSED)
    assert [(refund.id, refund.amount, refund.cause) for refund in plan.refunds] == [("rf-o0", 1000, cause)]
    assert world.payable["shares"][0]["state"] == "refunded"
    assert world.payable["shares"][1]["escrow"] == 500
    assert escrow.order_completed(world.books(), COMPLETED) is STALE


def test_facts_that_come_before_the_money_wait_for_it():
    unpaid = World.opened(1000).books()
    for planner, data in (
        (escrow.order_closed, CLOSED),
        (escrow.order_completed, COMPLETED),
        (cases.opened, OPENED),
        (cases.ruled, RULED),
        (cases.closed, ENDED),
    ):
        assert planner(unpaid, data) is EARLY
        assert planner(Books(None), data) is EARLY


def test_a_payable_whose_orders_all_closed_is_closed():
    world = World.opened(1000, 500)
    run(world, escrow.order_closed, {"order_id": "o0", "was_paid": False})
    assert world.payable["state"] == "open"
    run(world, escrow.order_closed, {"order_id": "o1", "was_paid": False})
    assert world.payable["state"] == "closed"
    plan = payables.collect(world.payable, Success("n0", "t0", 1500, "CNY"), NOW)
    assert [refund.cause for refund in plan.refunds] == ["late"]


def test_an_unpaid_order_that_closes_after_collecting_is_left_to_its_rejection(world):
    assert escrow.order_closed(world.books(), {"order_id": "o0", "was_paid": False}) is STALE
    assert escrow.order_closed(Books(None), {"order_id": "", "was_paid": False}) is STALE


def test_a_ruling_before_settlement_takes_from_escrow(world):
    run(world, cases.opened, OPENED)
    plan = run(world, cases.ruled, RULED)
    assert sources(plan) == [("escrow", 800)]
    assert plan.refunds[0].id == "rf-o0-case_1"
    run(world, cases.closed, ENDED)
    run(world, escrow.order_completed, COMPLETED)
    assert world.balances()["platform:fee"] == 1, "the commission is of what was settled"
    assert world.balances()[f"shop:{SHOP}:available"] == 199


def test_a_ruling_after_settlement_takes_from_hold_then_deposit(world):
    run(world, escrow.order_completed, COMPLETED)
    deposit(world, 300)
    run(world, cases.opened, OPENED | {"claim": 1000})
    assert world.purse().held == {"case_1": 1000}
    assert world.payable["cases"]["case_1"]["from_deposit"] == 6
    plan = run(world, cases.ruled, RULED | {"refund": 1000})
    assert sources(plan) == [("hold", 1000)]
    assert world.purse().deposit == 294
    run(world, cases.closed, ENDED)


def test_what_a_hold_cannot_pay_comes_from_available_deposit_and_at_last_the_platform(world):
    run(world, escrow.order_completed, COMPLETED)
    run(world, cases.opened, OPENED | {"claim": 200})
    plan = run(world, cases.ruled, RULED | {"refund": 1000})
    assert sources(plan) == [("hold", 200), ("available", 794), ("indemnity", 6)]
    assert world.purse().receivable == 6
    assert world.balances()["platform:indemnity"] == 0, "the shop owes it to the platform"


def test_what_a_shop_owes_is_taken_from_its_next_settlement(world):
    run(world, escrow.order_completed, COMPLETED)
    run(world, cases.opened, OPENED)
    run(world, cases.ruled, RULED | {"refund": 1000})
    run(world, escrow.order_completed, COMPLETED | {"order_id": "o1"})
    books = world.books()
    world.write(purse.fold(books.shop, books.credits), books)
    world.check()
    assert world.purse().receivable == 0
    assert world.purse().available == 497 - 6
    assert purse.fold(world.shop, []) is DONE


def test_a_ruling_that_the_platform_pays_costs_the_shop_nothing(world):
    run(world, cases.opened, OPENED)
    plan = run(world, cases.ruled, RULED | {"payer": "platform"})
    assert sources(plan) == [("indemnity", 800)]
    run(world, cases.closed, ENDED)
    run(world, escrow.order_completed, COMPLETED)
    assert world.purse().available == 994
    assert world.balances()["platform:indemnity"] == -800


@pytest.mark.parametrize(("given", "back"), [(800, 200), (1000, 0)])
def test_what_the_platform_gave_is_not_given_twice(world, given, back):
    run(world, cases.opened, OPENED | {"claim": given})
    run(world, cases.ruled, RULED | {"refund": given, "payer": "platform"})
    run(world, escrow.order_closed, CLOSED)
    assert world.returned() == 1000
    assert world.balances()["platform:indemnity"] == 0
    assert ("rf-o0" in world.refunds) == (back > 0)


def test_a_settlement_that_meets_an_open_case_goes_into_its_hold(world):
    run(world, cases.opened, OPENED)
    run(world, escrow.order_completed, COMPLETED)
    assert (world.purse().available, world.purse().held) == (0, {"case_1": 994})
    run(world, cases.ruled, RULED | {"refund": 400})
    run(world, cases.closed, ENDED)
    assert (world.purse().available, world.purse().held) == (594, {})


def test_a_released_hold_fills_the_deposit_first(world):
    deposit(world, 300)
    run(world, escrow.order_completed, COMPLETED)
    run(world, cases.opened, OPENED | {"claim": 1000})
    run(world, cases.closed, ENDED)
    assert (world.purse().available, world.purse().deposit) == (994, 300)


def test_no_ruling_gives_back_more_than_was_paid(world):
    run(world, cases.opened, OPENED)
    plan = run(world, cases.ruled, RULED | {"refund": 5000})
    assert plan.refunds[0].amount == 1000


def test_a_ruling_that_finds_nothing_left_is_answered_with_nothing(world):
    run(world, cases.opened, OPENED)
    run(world, escrow.order_closed, CLOSED)
    world.facts.clear()
    run(world, cases.ruled, RULED)
    (fact,) = world.facts
    assert (fact.data["case_id"], fact.data["amount"]) == ("case_1", 0)
    assert world.refunds["rf-o0-case_1"]["state"] == "succeeded"


def test_a_ruling_without_refund_moves_nothing(world):
    run(world, cases.opened, OPENED)
    assert cases.ruled(world.books(), RULED | {"refund": 0}) is STALE


def test_a_case_of_a_settled_order_waits_until_the_shop_is_known(world):
    run(world, escrow.order_completed, COMPLETED)
    assert cases.opened(Books(world.payable), OPENED) is EARLY
    assert cases.needs_shop(world.payable, "o0")
    assert not cases.needs_shop(world.payable, "o1")
    assert not cases.needs_shop(None, "o0")


def test_a_refund_is_over_once_and_waits_longer_each_time(world):
    run(world, escrow.order_closed, CLOSED)
    row = world.refunds["rf-o0"]
    first = changed(row, refunds.waits(row, 0, [1, 5], error="away"))
    assert (first["next_at"], first["attempts"], first["state"]) == (1000, 1, "pending")
    second = changed(first, refunds.waits(first, 0, [1, 5], abnormal=True))
    assert (second["next_at"], second["state"]) == (5000, "abnormal")
    assert refunds.waits(second, 0, [1, 5]).set["next_at"] == 5000
    over = changed(second, refunds.succeeded(second, NOW))
    assert "next_at" not in over
    assert refunds.succeeded(over, NOW) is None
    assert refunds.waits(over, 0, [1]) is None


def test_the_newest_told_of_a_shop_is_kept():
    told = {"shop_id": SHOP, "account_id": "a", "name": "old", "state": "open", "currency": "CNY"}
    shop = purse.new_shop(told, 3) | {"version": 1}
    assert purse.shop_changed(shop, told, 3) is DONE
    assert purse.shop_changed(shop, told, 2) is STALE
    assert changed(shop, purse.shop_changed(shop, told | {"name": "new"}, 4))["name"] == "new"


def test_the_trial_balance_sees_every_disagreement(world):
    run(world, escrow.order_completed, COMPLETED)
    sums = {}
    for entry in world.entries.values():
        for posting in entry["postings"]:
            row = sums.setdefault(
                posting["kind"], {"_id": {"kind": posting["kind"], "currency": "CNY"}, "debits": 0, "credits": 0}
            )
            row["credits" if posting["amount"] > 0 else "debits"] += abs(posting["amount"])
    held = trial.stored([{"_id": "CNY", "total": 500}], [world.shop], world.waiting())
    assert trial.is_balanced(trial.table(sums.values(), held))
    unknown_shop = trial.stored([{"_id": "CNY", "total": 500}], [], world.waiting())
    assert trial.is_balanced(trial.table(sums.values(), unknown_shop))
    assert not trial.is_balanced(trial.table(sums.values(), held | {("order:escrow", "CNY"): 499}))
    assert not trial.is_balanced(trial.table(sums.values(), held | {("shop:deposit", "CNY"): 1}))
    sums["platform:fee"]["credits"] += 1
    assert not trial.is_balanced(trial.table(sums.values(), held))
