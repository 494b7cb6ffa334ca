"""Balances of the past, and statements whose opening and movements are their closing."""

from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.errors import Refusal
from services.payments.queries import ledger as queries
from tests.backends.deposits import paid_in
from tests.unit.payments.ledger_house import OTHER, SHOP

DAYS = 70


def months_of_trade(books) -> list[tuple]:
    """Some money on many days over three months, sealed now and then: (moment, available by then)."""
    seen, total = [], 0
    for day in range(0, DAYS, 7):
        for amount in (100 + day, 7):
            books.earn(amount)
            total += amount
            seen.append((clock.business(), total))
            books.pass_time(milliseconds=5)
        books.earn(1, OTHER)
        if day % 3 == 0:
            books.seal()
        books.pass_time(days=7)
    return seen


def test_a_balance_is_told_as_it_was_at_any_moment(books):
    seen = months_of_trade(books)
    for _ in range(2):  # partly sealed, then all of it
        for moment, total in seen:
            assert queries.balance_at(books.store, SHOP, moment)["available"] == total
        books.seal()
    before = queries.balance_at(books.store, SHOP, seen[0][0].replace(year=2014))
    assert (before["available"], before["held"], before["receivable"]) == (0, 0, 0)
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        queries.balance_at(books.store, SHOP, books.pass_time().replace(year=2100))
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.balance_at(books.store, "shop_of_others", seen[0][0])


def test_opening_and_movements_are_the_closing_in_pages_and_as_a_file(books):
    seen = months_of_trade(books)
    paid_in(books.store, SHOP, 300)
    asked = {"shop_id": SHOP, "from_time": seen[2][0] + timedelta(milliseconds=1)}
    asked["to_time"] = books.pass_time(seconds=1)
    lines, after = [], None
    while True:
        page, after = queries.statement(books.store, asked, after, 4)
        lines += page["lines"]
        if after is None:
            break
    moved = {"available": 0, "deposit": 0}
    for line in lines:
        assert line["cause"].startswith(("evt:", "cmd:", "chn:")), "every line names what caused it"
        for move in line["movements"]:
            moved[move["account"]] += move["amount"]
    assert page["opening"] == {"available": seen[2][1]}
    assert page["closing"] == {"available": seen[-1][1], "deposit": 300}
    assert {name: page["opening"].get(name, 0) + moved[name] for name in moved} == page["closing"]
    assert len({line["entry_id"] for line in lines}) == len(lines) == len(seen) - 3 + 1

    data, name, rest = queries.statement_piece(books.store, asked, None)
    rows = data.decode("utf-8-sig").splitlines()
    assert rest is None
    assert name.endswith(".csv")
    assert len(rows) == 1 + 1 + len(lines) + 2, "a header, the opening, the movements, both closings"
    assert f"{seen[2][1] / 100:.2f}" in rows[1]
    assert "期末余额" in rows[-1]


def test_a_statement_asked_for_wrongly_says_what_to_mend(books):
    for asked, field in (
        ({"shop_id": SHOP}, "from_time"),
        ({"shop_id": SHOP, "from_time": clock.business(), "to_time": clock.business().replace(year=2014)}, "to_time"),
    ):
        with pytest.raises(Refusal) as refused:
            queries.statement(books.store, asked, None, 0)
        assert refused.value.violations[0].field == field
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.statement(books.store, {"shop_id": "shop_of_others", "from_time": clock.business()}, None, 0)


def test_a_pocket_that_was_moved_for_the_first_time_after_its_day_was_summed_is_in_the_balance(books):
    books.earn(100)
    books.seal()
    paid_in(books.store, SHOP, 500)
    books.seal()
    books.pass_time(days=1)
    told = queries.balance_at(books.store, SHOP, clock.business())
    assert (told["available"], told["deposit"]) == (100, 500)
