"""Pages of pictures look at a span of time at a time."""

from services.catalog.store import FIRST
from services.catalog.store.spans import SPANS, Spans
from services.chassis import clock, ids
from tests.unit.catalog.making import SHOP


def test_the_moment_of_an_id_is_read_back_and_bounds_it():
    before = clock.wall_ms()
    identity = ids.product_id()
    assert before <= ids.product_ms(identity) < clock.wall_ms() + 1
    many = [ids.product_id() for _ in range(100)]
    assert len({ids.product_ms(each) for each in many}) > 20, "finer than a millisecond"
    assert ids.product_floor(before) <= identity < ids.product_floor(clock.wall_ms() + 1)
    assert [ids.product_ms(text) for text in ("", "p", "p123456789", "p123456789é", "~")] == [0, 0, 0, 0, 0]


def test_spans_grow_to_everything_and_begin_where_the_last_page_was_full():
    spans = Spans()
    first = [number for number, _ in spans.lows(SHOP, None, FIRST)]
    assert first == list(range(SPANS + 1))
    assert [low for _, low in spans.lows(SHOP, None, FIRST)][-1] == FIRST
    spans.sufficed(SHOP, 5)
    assert next(number for number, _ in spans.lows(SHOP, None, FIRST)) == 4
    spans.sufficed(SHOP, SPANS)
    assert [number for number, _ in spans.lows(SHOP, None, FIRST)] == [SPANS]
