"""Which difference is which, and what a run makes of what earlier runs found."""

import io

import pytest

from services.channel.bill import bill
from services.payments.model import channel_bill, ledger, reconciling
from services.payments.model.channel_bill import PAYMENT, REFUND, Billed, BrokenBillError
from services.payments.model.reconciling import Found, Known, Movement

DAY, NEXT = "2026-01-05", "2026-01-06"
NOTHING = Known({}, {}, (), ())


def billed(*rows):
    return reconciling.grouped([Billed(item, number, trade, amount) for item, number, trade, amount in rows])


def only(ours, theirs, known=NOTHING):
    (found,), _ = reconciling.compare(ours, theirs, known)
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "known", "kind", "amount"),
    [
        (10, None, NOTHING, "missing", -10),
        (10, None, Known({}, {(PAYMENT, "t"): NEXT}, (), ()), "late", -10),
        (None, 10, NOTHING, "unknown", 10),
        (None, 10, Known({}, {}, {"n"}, ()), "missing", 10),
        (None, 10, Known({}, {}, {"n"}, {"n"}), "double", 10),
        (None, 10, Known({(PAYMENT, "t"): Movement(10, NEXT)}, {}, {"n"}, {"n"}), "late", 10),
        (10, 7, NOTHING, "amount", -3),
    ],
)
def test_a_payment_that_only_one_side_has_or_has_otherwise(ours, theirs, known, kind, amount):
    mine = {} if ours is None else {(PAYMENT, "t"): Movement(ours, DAY)}
    there = {} if theirs is None else billed((PAYMENT, "t", "n", theirs))
    found = only(mine, there, known)
    assert (found.kind, found.amount) == (kind, amount)
    if kind == "missing":
        assert found.missing_in == ("ledger" if ours is None else "channel")


@pytest.mark.parametrize(("trades", "kind"), [({"n"}, "refund_only"), ((), "unknown")])
def test_a_refund_that_the_ledger_does_not_know(trades, kind):
    found = only({}, billed((REFUND, "r", "n", -4)), Known({}, {}, trades, trades))
    assert (found.kind, found.amount) == (kind, -4)


def test_rows_that_stand_there_again_are_double_and_the_first_one_agrees():
    rows = [(REFUND, "r", "n", -4)] * 3
    found, matched = reconciling.compare({(REFUND, "r"): Movement(-4, DAY)}, billed(*rows), NOTHING)
    assert [(one.kind, one.amount, one.slot) for one in found] == [
        ("double", -4, "refund:r:1"),
        ("double", -4, "refund:r:2"),
    ]
    assert matched == 1


def stored(found, day=DAY, **over):
    return {**reconciling.row(day, found, 0, "CNY"), **over}


FOUND = Found("missing", PAYMENT, "t", "n", 0, 10, missing_in="ledger")


def test_what_is_found_is_posted_once_and_taken_back_when_it_is_gone():
    (post,) = reconciling.steps([FOUND], [], {})
    assert (post.action, post.found) == ("post", FOUND)
    assert reconciling.steps([FOUND], [stored(FOUND)], {}) == []
    (clear,) = reconciling.steps([], [stored(FOUND)], {})
    assert (clear.action, clear.difference["_id"]) == ("clear", "2026-01-05:payment:t:0")
    gone = stored(FOUND, state="resolved", resolution="corrected")
    (again,) = reconciling.steps([FOUND], [gone], {})
    assert reconciling.difference_id(DAY, FOUND, again.generation) == "2026-01-05:payment:t:0:1"
    assert reconciling.steps([FOUND], [stored(FOUND, state="resolved", resolution="absorbed")], {}) == []


def test_another_amount_takes_the_old_one_back_first():
    more = Found("missing", PAYMENT, "t", "n", 0, 12, missing_in="ledger")
    assert [step.action for step in reconciling.steps([more], [stored(FOUND)], {})] == ["clear", "post"]


def test_the_opposite_of_another_day_is_its_pair_once():
    here = Found("late", PAYMENT, "t", "n", 10, 0)
    other = stored(FOUND, NEXT)
    (pair,) = reconciling.steps([here], [], {"t": [other]})
    assert (pair.action, pair.difference) == ("pair", other)
    for unlike in ({"item": REFUND}, {"amount": 9}, {"state": "resolved"}):
        (post,) = reconciling.steps([here], [], {"t": [{**other, **unlike}]})
        assert post.action == "post"


@pytest.mark.parametrize(("amount", "account"), [(10, ledger.FEE), (-10, ledger.INDEMNITY)])
def test_what_the_house_keeps_or_bears(amount, account):
    row = stored(FOUND, amount=amount)
    posted = reconciling.posting(row).postings
    assert {one.account: one.amount for one in posted} == {ledger.CLEARING: -amount, ledger.SUSPENSE: amount}
    cleared = {one.account: one.amount for one in reconciling.clearing(row, "absorbed").postings}
    assert cleared == {ledger.SUSPENSE: -amount, account: amount}
    undone = {one.account: one.amount for one in reconciling.clearing(row, "corrected").postings}
    assert undone == {ledger.SUSPENSE: -amount, ledger.CLEARING: amount}


def read(content: bytes) -> list[Billed]:
    return list(channel_bill.read(io.BytesIO(content)))


def test_a_bill_that_is_cut_off_or_does_not_add_up_is_not_believed():
    empty = bill([], DAY, 60).encode()
    assert read(empty) == []
    row = ",".join(["`"] * 6 + ["`n"] + ["`"] * 2 + ["`SUCCESS", "`", "`CNY", "`1.00"] + ["`"] * 11)
    lines = empty.decode().split("\r\n")
    whole = [lines[0], row, lines[1], "`1,`1.00,`0.00,`0.00,`0.01", ""]
    assert [one.amount for one in read("\r\n".join(whole).encode())] == [100]
    wrong = [
        b"",
        b"\xff",
        "\r\n".join(whole[:2]).encode(),
        "\r\n".join([*whole[:3], "`2,`1.00,`0.00,`0.00,`0.01", ""]).encode(),
        "\r\n".join([*whole[:3], "`1,`1.01,`0.00,`0.00,`0.01", ""]).encode(),
        "\r\n".join([whole[0], row + ",`more", *whole[2:]]).encode(),
        "\r\n".join([*whole[:4], row]).encode(),
        "\r\n".join([whole[0], row.replace("1.00", "1.0"), *whole[2:]]).encode(),
    ]
    for content in wrong:
        with pytest.raises(BrokenBillError):
            read(content)


def test_a_refund_that_went_into_the_wallet_is_no_difference_of_the_channels_bill():
    assert reconciling.netted([(-700, ""), (700, "")]) is None
    assert reconciling.netted([(-700, "n0")]) == (-700, "n0")
    sides = [{"account": ledger.CLEARING, "amount": -700}, {"account": "buyer:b:wallet", "amount": 700}]
    there = {"_id": "redirect:rf-o1", "kind": "redirect", "postings": sides}
    assert reconciling.movement_of(there) == ((REFUND, "rf-o1"), 700)
