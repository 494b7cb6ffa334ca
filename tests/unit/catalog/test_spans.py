"""Pages of products look at a span of time at a time, and miss nothing."""

import random

from services.catalog.commands import bulk
from services.catalog.model.bulk import ProductRef
from services.catalog.store import FIRST, LAST
from services.catalog.store.spans import SPANS, Spans
from services.chassis import clock, ids
from tests.unit.catalog.making import SHOP, product

DAY_MS = 86_400_000


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


def test_pages_hold_every_product_once_newest_first_whenever_it_was_made(house):
    house.upsert(*[product(f"p{number}") for number in range(40)])
    now, chance = clock.wall_ms(), random.Random(7)
    for row in list(house.store.products.find({"shop_id": SHOP})):
        made = now - int(10 ** chance.uniform(0, 11.5))  # from a moment to ten years ago
        position = ids.product_floor(made) + row["_id"][11:]
        house.store.products.update_one({"_id": row["_id"]}, {"$set": {"position": position}})
    wanted = [row["position"] for row in house.store.products.find({"shop_id": SHOP}).sort("position", -1)]
    for size in (1, 3, 7, 40, 100):
        found, before = [], None
        while page := house.store.page_of_products(SHOP, before, size):
            found += [row["position"] for row in page]
            before = found[-1]
        assert found == wanted


def test_what_is_deleted_stands_apart_and_no_page_walks_past_it(house):
    house.upsert(*[product(f"p{number}", listed=False) for number in range(30)])
    kept = {"p1", "p28", "p3"}
    gone = [ProductRef("", f"p{number}") for number in range(30) if f"p{number}" not in kept]
    made = {row["external_id"]: row["_id"] for row in house.store.products.find({"shop_id": SHOP})}
    assert bulk.delete(house.bulk(), gone).answer["deleted"] == len(gone)
    assert {row["external_id"] for row in house.store.page_of_products(SHOP, None, 20)} == kept
    in_range = {"shop_id": SHOP, "position": {"$gt": FIRST, "$lt": LAST}}
    assert house.store.products.count_documents(in_range) == len(kept)
    found, before = [], None
    while page := house.store.page_of_products(SHOP, before, 7, "deleted"):
        found += [row["_id"] for row in page]
        before = page[-1]["position"]
    assert found == sorted((made[ref.external_id] for ref in gone), reverse=True)


def test_a_page_of_a_shop_that_was_read_before_asks_twice_at_most(house):
    house.upsert(*[product(f"p{number}") for number in range(9)])
    for size in (4, 20):
        for _ in range(3):
            house.store.page_of_products(SHOP, None, size)
        house.counter.names.clear()
        assert len(house.store.page_of_products(SHOP, None, size)) == min(size, 9)
        assert len(house.counter.names) <= 2
