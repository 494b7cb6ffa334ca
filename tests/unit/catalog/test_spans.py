"""Pages of pictures look at a span of time at a time."""

from functools import partial

from services.catalog.store import FIRST
from services.catalog.store.spans import SPANS, Spans
from services.chassis import clock, ids
from tests.unit.catalog.making import SHOP


def test_a_product_id_says_when_it_was_made_finer_than_a_millisecond():
    before = clock.wall_ms()
    many = [ids.product_id() for _ in range(100)]
    assert len({identity[:11] for identity in many}) > 20
    assert ids.product_floor(before) <= min(many)
    assert max(many) < ids.product_floor(clock.wall_ms() + 1)


def test_spans_grow_to_everything_and_begin_where_the_last_page_was_full():
    spans = Spans(partial(ids.new_id_floor, "img"), ids.new_id_ms)
    first = [number for number, _ in spans.lows(SHOP, None, FIRST)]
    assert first == list(range(SPANS + 1))
    assert [low for _, low in spans.lows(SHOP, None, FIRST)][-1] == FIRST
    spans.sufficed(SHOP, 5)
    assert next(number for number, _ in spans.lows(SHOP, None, FIRST)) == 4
    spans.sufficed(SHOP, SPANS)
    assert [number for number, _ in spans.lows(SHOP, None, FIRST)] == [SPANS]
