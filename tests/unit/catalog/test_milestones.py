"""Pages of products are found by milestones: every product once, newest first, and a page costs the same in any shop."""

import copy
import random
from collections import Counter

import pytest

from services.catalog.commands import bulk
from services.catalog.model.bulk import ProductRef
from services.catalog.model.milestones import LEVELS, LIVING, STEP, key, level, list_name, milestone
from services.catalog.store import FIRST, LAST, Store
from services.chassis import clock, ids
from tests.unit.catalog.making import SHOP, product

PAGE = 21
MOST_EXAMINED = 500
"""Ten milestones are 320 products; a page starts anywhere between two, and the chance of longer gaps is small."""
MOST_COMMANDS = 8


def lay_down(house, number, **fields):
    """So many copies of a product, all made in the same millisecond, with what the worker makes of them."""
    if house.product("model") is None:
        house.upsert(product("model"))
    model = house.product("model")
    del model["external_key"]
    floor = ids.product_floor(clock.wall_ms())
    rows = []
    for _ in range(number):
        identity = floor + ids.product_id()[11:]
        rows.append({**copy.deepcopy(model), **fields, "_id": identity, "position": identity})
    house.store.products.insert_many(rows)
    house.store.milestones.note([row["_id"] for row in rows])
    return rows


def walked(store, size, **filters):
    """All positions of a list, page by page."""
    found, before = [], None
    while page := store.page_of_products(SHOP, before, size, **filters):
        assert len(page) <= size
        found += [row["position"] for row in page]
        before = found[-1]
    return found


def examined(house):
    """What the embedded database reads for what was asked: everything that a filter leaves, whatever the limit."""
    return sum(house.database[name].count_documents(query) for name, query in house.counter.finds)


def cost(house, **filters):
    """(commands, documents examined) of each of the first three pages of a server that knows nothing."""
    store, before, costs = Store(house.database), None, []
    for _ in range(3):
        house.counter.finds.clear()
        page = store.page_of_products(SHOP, before, PAGE, **filters)
        before = page[-1]["position"] if page else before
        costs.append((len(house.counter.finds), examined(house)))
    return costs


# ----------------------------------------------------------------------------------------------------------------- the rule


def test_which_products_are_milestones_follows_from_their_ids_at_even_distances():
    found = Counter(level(f"p{number}") for number in range(STEP**3))
    assert found[0] / STEP**3 == pytest.approx(1 - 1 / STEP, rel=0.01)
    assert found[1] / STEP**2 == pytest.approx(1, rel=0.2)
    assert 10 < found[2] < 60
    assert max(found) <= LEVELS
    assert level("p7") == level("p7")


def test_a_milestone_stands_on_the_lists_of_its_product():
    identity = next(f"p{number}" for number in range(10_000) if level(f"p{number}") == 2)
    row = {"_id": identity, "shop_id": SHOP, "state": "listed", "listing": {"category_id": 5}, "version": 3}
    row["position"] = identity
    names = {SHOP, f"{SHOP}/listed", f"{SHOP}/listed/5"}
    kept = milestone(row)
    assert kept["sequence"] == 3
    assert set(kept["keys"]) == {key(name, number) for name in names for number in (1, 2)}
    gone = milestone({**row, "state": "deleted", "position": f"~{identity}"})
    assert not [found for found in gone["keys"] if found.startswith(key(SHOP, 1))]
    other = next(f"p{number}" for number in range(100) if not level(f"p{number}"))
    assert milestone({**row, "_id": other}) is None


# ------------------------------------------------------------------------------------------------------------------- pages


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


@pytest.fixture
def crowded(house):
    """Some thousand products that were made in the same millisecond: half of them on sale, then as many drafts, then some others."""
    lay_down(house, 3000, state="listed")
    lay_down(house, 3000, state="draft")
    lay_down(house, 40, state="delisted")
    return house


@pytest.mark.parametrize("state", ["", *LIVING])
@pytest.mark.parametrize("category_id", [0, None])
def test_a_page_costs_the_same_in_a_large_shop_as_in_a_small_one_whatever_is_asked(crowded, state, category_id):
    if category_id is None:
        category_id = crowded.product("model")["listing"]["category_id"]
    streams = 1 if state or not category_id else len(LIVING)
    filters = {"state": str(state), "category_id": category_id}
    for commands, documents in cost(crowded, **filters):
        assert commands <= MOST_COMMANDS * streams
        assert documents <= MOST_EXAMINED * streams
    query = {"shop_id": SHOP, "state": state or {"$ne": "deleted"}}
    query |= {"listing.category_id": category_id} if category_id else {}
    wanted = [row["position"] for row in crowded.store.products.find(query).sort("position", -1)]
    assert walked(crowded.store, 150, **filters) == wanted


def test_a_page_asked_again_reads_itself_and_what_was_made_since(crowded):
    store = Store(crowded.database)
    first = store.page_of_products(SHOP, None, PAGE)
    crowded.upsert(product("new"))
    crowded.counter.finds.clear()
    again = store.page_of_products(SHOP, None, PAGE)
    assert [row["_id"] for row in again] == [crowded.product("new")["_id"], *(row["_id"] for row in first[:-1])]
    asked = [name for name, _ in crowded.counter.finds]
    assert asked == ["products", "products"], "the page, and the one that the test asked for itself"
    assert examined(crowded) <= PAGE + 2


def test_milestones_follow_products_that_move_and_lists_hold_without_them(crowded):
    some = [row for row in crowded.store.products.find({"shop_id": SHOP, "state": "draft"}) if level(row["_id"])][:5]
    moved = [row["_id"] for row in some]
    for row in some:
        crowded.store.products.update_one({"_id": row["_id"]}, {"$set": {"state": "listed"}, "$inc": {"version": 1}})
    of_listed = {"keys": key(list_name(SHOP, "listed"), 1)}
    before = crowded.database["milestones"].count_documents(of_listed)
    for _ in range(2):
        crowded.store.milestones.note(moved)
        assert crowded.database["milestones"].count_documents(of_listed) == before + len(moved)
    wanted = walked(crowded.store, 500, state="listed")
    crowded.database["milestones"].delete_many({})
    assert walked(Store(crowded.database), 500, state="listed") == wanted
    assert len(wanted) == 3000 + 1 + len(moved)


def test_the_worker_makes_milestones_of_what_chunks_and_moves_name(house):
    house.upsert(*[product(f"p{number}", listed=False) for number in range(150)])
    for told in house.told():
        house.deliver(told, "feed_chunk")
    rows = list(house.store.products.find({"shop_id": SHOP}))
    wanted = {row["_id"]: milestone(row) for row in rows if level(row["_id"])}
    assert {row["_id"]: row for row in house.database["milestones"].find({})} == wanted
    for identity in wanted:
        house.move(identity, "listed")
    for told in house.told():
        if told["type"] == "jishi.catalog.product.moved.v1":
            house.deliver(told)
    kept = list(house.database["milestones"].find({}))
    assert all(key(list_name(SHOP, "listed"), 1) in row["keys"] for row in kept)
