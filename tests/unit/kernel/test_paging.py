"""Page tokens: what was put in comes out; what anybody else made is refused."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.chassis import paging
from services.chassis.errors import Refusal

FILTERS = {"shop_id": "s"}
MOMENT = datetime(2026, 1, 5, 2, 0, 0, 123000, tzinfo=UTC)


def refused(token, *kinds, filters=FILTERS):
    with pytest.raises(Refusal) as caught:
        paging.decode(token, filters, *kinds)
    assert [violation.field for violation in caught.value.violations] == ["page_token"]
    return caught.value.reason == "INVALID_PAGE_TOKEN"


def wrapped(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_what_ends_a_page_begins_the_next():
    last = [MOMENT, ["a", "碎花"], "b", 2**63 - 1]
    assert paging.decode(paging.encode(FILTERS, last), FILTERS, datetime, list, str, int) == last
    assert paging.decode("", FILTERS, int) is None
    assert refused(paging.encode(FILTERS, [1]), int, filters={"shop_id": "other"})


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ([2**70], int),
        ([2**63], int),
        ([-1], int),
        ([True], int),
        ([1.0], int),
        (["x"], int),
        ([None], int),
        ([], int),
        ([1, 2], int),
        (["\ud800"], str),
        ([1], str),
        ([{"$gt": ""}], str),
        ([{"$gt": ""}], int),
        ([{"$gt": ""}], list),
        ([[{"$gt": ""}]], list),
        (["x"], list),
        (["yesterday"], datetime),
        (["2026-01-05T10:00:00"], datetime),
        (["0001-01-01T00:00:00+23:59"], datetime),
        ([MOMENT.astimezone(timezone(timedelta(hours=8)))], datetime),
        ([5], datetime),
    ],
)
def test_the_right_binding_makes_no_token_ours(last, kind):
    assert refused(paging.encode(FILTERS, last), kind)


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "灯",
        wrapped("[" * 20_000),
        wrapped("[" * 100_000),
        wrapped("5"),
        wrapped("[]"),
        wrapped(json.dumps({"a": 1, "b": 2})),
        paging.encode(FILTERS, [["x" * paging.LONGEST]]),
    ],
)
def test_what_is_no_token_is_refused(token):
    assert refused(token, int)
    assert refused(token, list)
