"""Business days are days of Asia/Shanghai; ids have the shapes that old SDKs expect."""

import re
from datetime import UTC, datetime

from services.chassis import calendar, clock, ids


def test_a_business_day_begins_at_sixteen_utc():
    before = datetime(2026, 1, 5, 15, 59, 59, tzinfo=UTC)
    after = datetime(2026, 1, 5, 16, 0, tzinfo=UTC)
    assert (calendar.day(before), calendar.day(after)) == ("2026-01-05", "2026-01-06")
    assert calendar.next_day(before) == after


def test_month_end_is_the_first_of_the_next_month_in_shanghai():
    last = datetime(2026, 1, 31, 15, 59, tzinfo=UTC)
    assert calendar.month(last) == "2026-01"
    assert calendar.next_month(last) == datetime(2026, 1, 31, 16, 0, tzinfo=UTC)
    assert calendar.next_month(datetime(2026, 12, 3, tzinfo=UTC)) == datetime(2026, 12, 31, 16, 0, tzinfo=UTC)


def test_milliseconds_and_moments_are_the_same_time():
    for value in (0, 1, 1_767_578_400_123):
        assert clock.ms(clock.moment(value)) == value


def test_the_business_clock_only_grows():
    clock.reset()
    try:
        clock.see(5_000)
        clock.see(1_000)
        assert clock.offset_ms() == 5_000
    finally:
        clock.reset()


def test_ids_have_the_promised_shapes():
    assert re.fullmatch(r"\d{19}", ids.order_id())
    assert re.fullmatch(r"p[-\w]{27}", ids.product_id())
    assert re.fullmatch(r"\d{28}", ids.trans_id())
    assert 0 < ids.small_id() < 2**31
    openid = ids.openid(b"key", "user", "account")
    assert re.fullmatch(r"o[-\w]{27}", openid)
    assert openid == ids.openid(b"key", "user", "account") != ids.openid(b"key", "user", "other")


def test_ids_sort_by_time():
    early = ids.product_id()[:9]
    start = clock.wall_ms()
    while clock.wall_ms() == start:
        pass
    assert early <= ids.product_id()[:9]
    assert ids.new_id("case") != ids.new_id("case")
    assert ids.derived_id("refund", "a", "b") == ids.derived_id("refund", "a", "b") != ids.derived_id("refund", "ab")
