"""A merchant's own refunds: from escrow, later from what is the shop's; the platform lends nothing."""

import pytest

from services.chassis.decisions import DONE, EARLY
from services.payments.model import escrow, granting
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from tests.unit.payments.books import World
from tests.unit.payments.test_collecting import collect
from tests.unit.payments.test_repricing import is_told
from tests.unit.payments.test_shares_and_cases import sources


@pytest.fixture
def world():
    made = World.opened(1000, 500)
    collect(made, Success("n0", "t0", 1500, "CNY"))
    return made


def grant(world, amount, number=1, order="o0"):
    data = {"order_id": order, "checkout_id": "c1", "refund_id": f"rf-{order}-m{number}", "amount": amount}
    books = world.books()
    plan = granting.granted(books, data)
    if isinstance(plan, Plan):
        world.write(plan, books)
        world.check()
    return plan


def settle(world):
    books = world.books()
    data = {
        "order_id": "o0",
        "amount": 1000,
        "commission_bp": 200,
        "commission_policy": "p",
        "goods_amount": 1000,
    }
    world.write(escrow.order_completed(books, data), books)


def test_it_comes_from_escrow_and_once(world):
    plan = grant(world, 300)
    assert sources(plan) == [("escrow", 300)]
    assert is_told(plan)
    assert [(row.id, row.cause, row.amount) for row in plan.refunds] == [("rf-o0-m1", "merchant", 300)]
    assert grant(world, 300) is DONE
    assert world.payable["shares"][0]["escrow"] == 700
    assert sources(grant(world, 900, 2)) == [("escrow", 700)], "never more than was paid"
    assert (world.payable["shares"][0]["state"], grant(world, 1, 3).refunds[0].amount) == ("refunded", 0)


def test_after_settlement_it_is_the_shops_own_and_no_more(world):
    settle(world)
    assert sources(grant(world, 600)) == [("available", 600)]
    plan = grant(world, 400, 2)
    assert (sources(plan), plan.refunds[0].amount) == ([("available", 380)], 380), (
        "the commission is gone, and nobody lends"
    )
    assert world.shop["receivable"] == 0


def test_what_comes_before_the_money_or_the_shop_waits(world):
    data = {"order_id": "o0", "checkout_id": "c1", "refund_id": "rf-o0-m1", "amount": 1}
    assert granting.granted(Books(None), data) is EARLY
    assert granting.granted(Books(World.opened(1000).payable), data) is EARLY
    assert granting.granted(Books(world.payable), {**data, "order_id": "o9"}) is EARLY
    settle(world)
    assert granting.granted(Books(world.payable), data) is EARLY


@pytest.mark.parametrize(("refunded", "fee"), [(0, 18), (400, 10), (900, 0), (950, 0)])
def test_no_commission_is_of_freight_or_of_goods_that_went_back(world, refunded, fee):
    if refunded:
        grant(world, refunded)
    books = world.books()
    data = {"order_id": "o0", "commission_bp": 200, "commission_policy": "p", "goods_amount": 900}
    world.write(escrow.order_completed(books, data), books)
    assert world.balances().get("platform:fee", 0) == fee
