"""The rules of views as pure functions."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import viewing
from services.catalog.store import SERVICE
from services.chassis import clock, policy
from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal

CODES = {"inside": ["menu"], "paid": ["ad"]}
MOST = {"seen": 3, "visitors": 5, "products": 2}
NOW = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)
"""One in the morning of the sixth in CST."""


def seen(shop="s", channel="menu", product=0, shelf=0, visitors=(), products=()):
    row = {"shop_id": shop, "channel": channel, "product_views": product, "shelf_views": shelf}
    return {**row, "visitors": list(visitors), "products": list(products)}


def looked(product_id="p", views=1, visitors=()):
    return {"product_id": product_id, "views": views, "visitors": list(visitors)}


BATCHES = st.lists(
    st.builds(
        seen,
        st.sampled_from("ab"),
        st.sampled_from(["menu", "ad", "", "x", "y"]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.lists(st.integers(0, 2**56 - 1), max_size=5),
        st.lists(st.builds(looked, st.sampled_from("pq"), st.integers(0, 9), st.just([7, 8])), max_size=3),
    ),
    max_size=8,
)


@given(BATCHES)
def test_folding_loses_no_view_and_knows_only_channels_of_the_policy(batch):
    told = viewing.folded(batch, "2026-01-05", viewing.classes(CODES))
    for name in ("product_views", "shelf_views"):
        assert sum(row[name] for row in told) == sum(row[name] for row in batch)
    assert {row["channel"] for row in told} <= {"menu", "ad", "direct", "other"}
    assert len({(row["shop_id"], row["channel"]) for row in told}) == len(told)
    views = sum(one["views"] for row in batch for one in row["products"])
    assert sum(one["views"] for row in told for one in row["products"]) == views
    for row in told:
        assert len({one["product_id"] for one in row["products"]}) == len(row["products"])
        assert row["visitors"] == sorted(set(row["visitors"]))
        assert all(0 <= number < viewing.SLOTS for number in row["visitors"])


def test_what_is_no_code_of_ours_is_other_and_nothing_said_is_direct():
    assert [viewing.channel_of(said, {"menu"}) for said in ("menu", "", "evil")] == ["menu", "direct", "other"]


def test_the_four_classes_of_the_policy_hold_each_code_once():
    told = policy.load(SERVICE).value("view_channels", clock.business())
    codes = [code for each in told.values() for code in each]
    assert set(told) == {"inside", "outside", "paid", "offline"}
    assert len(set(codes)) == len(codes)
    assert not {"all", viewing.DIRECT, viewing.OTHER} & set(codes), "these mean something already"


def test_the_visitors_of_two_days_or_two_shops_cannot_be_joined():
    places = [("a", "2026-01-05"), ("a", "2026-01-06"), ("b", "2026-01-05")]
    numbers = [[viewing.slot(*place, visitor) for visitor in range(50)] for place in places]
    assert all(len(set(each)) == 50 for each in numbers)
    assert len({number for each in numbers for number in each}) > 145


@pytest.mark.parametrize("visitors", [0, 1, 50, 1000, 30_000, 300_000])
def test_different_visitors_are_counted_within_a_thousandth(visitors):
    chosen = random.Random(1)
    taken = len({chosen.randrange(viewing.SLOTS) for _ in range(visitors)})
    assert abs(viewing.distinct(taken) - visitors) <= visitors / 1000 + 1


def test_a_full_set_is_a_number_too():
    assert viewing.distinct(viewing.SLOTS) > 10 * viewing.SLOTS


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        ([], "seen"),
        ([seen()] * 4, "seen"),
        ([seen(visitors=range(6))], "seen"),
        ([seen(shop="")], "seen[0]"),
        ([seen(), seen(product=-1)], "seen[1]"),
        ([seen(shelf=-1)], "seen[0]"),
        ([seen(products=[looked(), looked("q")]), seen(products=[looked()])], "seen"),
        ([seen(), seen(products=[looked("")])], "seen[1].products"),
        ([seen(products=[looked(views=-1)])], "seen[0].products"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(batch, field):
    with pytest.raises(Refusal) as caught:
        viewing.check_batch(batch, MOST)
    assert caught.value.violations[0].field == field


def test_a_batch_is_counted_once():
    told = [viewing.decide_recorded(batch).verdict for batch in (None, {}, {"counted": True})]
    assert told == [Verdict.STALE, Verdict.APPLY, Verdict.DONE]


def test_without_days_it_is_the_last_week_of_the_chinese_calendar():
    week = ["2025-12-31", *(f"2026-01-0{number}" for number in range(1, 7))]
    assert viewing.days_between("", "", NOW, 92) == week
    assert viewing.days_between("2026-02-28", "2026-03-01", NOW, 92) == ["2026-02-28", "2026-03-01"]


@pytest.mark.parametrize(
    ("days", "field"),
    [
        (("2026-01-02", "2026-01-01"), "from_day"),
        (("2026-01-01", "2026-04-03"), "from_day"),
        (("2026-02-30", "2026-03-01"), "from_day"),
        (("", "tomorrow"), "to_day"),
        (("", "0001-01-01"), "to_day"),
    ],
)
def test_days_that_cannot_be_are_named(days, field):
    with pytest.raises(Refusal) as caught:
        viewing.days_between(*days, NOW, 92)
    assert caught.value.violations[0].field == field
