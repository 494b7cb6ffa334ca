"""Money adds up, always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import money


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_split_parts_always_add_up(total: int, weights: list[int]):
    parts = money.split(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 0


@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_no_part_is_a_fen_further_from_its_exact_share(total: int, weights: list[int]):
    whole = sum(weights)
    for part, weight in zip(money.split(total, weights), weights, strict=True):
        assert abs(part * whole - total * weight) < whole


def test_split_gives_the_odd_fen_to_the_largest_remainder_then_to_the_earlier():
    assert money.split(100, [1, 1, 1]) == [34, 33, 33]
    assert money.split(10, [1, 2]) == [3, 7]
    assert money.split(5, [0, 0]) == [3, 2]


@pytest.mark.parametrize(("total", "weights"), [(1, []), (-1, [1]), (1, [-1, 2])])
def test_split_refuses_what_cannot_add_up(total: int, weights: list[int]):
    with pytest.raises(ValueError, match="split needs"):
        money.split(total, weights)


def test_share_rounds_half_up():
    assert money.share(10_000, 60) == 60
    assert money.share(125, 200) == 3
    assert money.share(124, 200) == 2


def test_text_knows_the_digits_of_a_currency():
    assert [money.text(199_905), money.text(-5), money.text(5, "JPY"), money.text(1_234, "KWD")] == [
        "1999.05 CNY",
        "-0.05 CNY",
        "5 JPY",
        "1.234 KWD",
    ]
