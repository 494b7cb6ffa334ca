"""Pages of products are found by milestones: every product once, newest first, and a page costs the same in any shop."""

import copy
import itertools
import random
from collections import Counter
from datetime import timedelta

import pytest

from services.catalog.commands import bulk
from services.catalog.model.bulk import ProductRef
from services.catalog.model.milestones import LEVELS, LIVING, STEP, key, level, list_name, milestone
from services.catalog.queries.products import changed
from services.catalog.store import FIRST, LAST, Store
from services.chassis import clock, ids
from tests.unit.catalog.making import SHOP, product

PAGE, HALF = 21, 400
MOST_EXAMINED = 320
"""Ten milestones lie as far apart; with the ids that these tests lay down no page meets a longer gap."""
MOST_COMMANDS = 8
MADE_MS = 1_700_000_000_000


def lay_down(house, number, state):
    """So many copies of a product, all made in the same millisecond, with what the worker makes of them. Their ids are the same in every run."""
    if house.product("model") is None:
        house.upsert(product("model"))
    model = house.product("model")
    drawn, rows = random.Random(state), []
    for _ in range(number):
        identity = ids.product_floor(MADE_MS) + "".join(drawn.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=17))
        rows.append({**copy.deepcopy(model), "state": state, "_id": identity, "position": identity})
    house.store.products.insert_many(rows)
    house.database["milestones"].insert_many([kept for row in rows if (kept := milestone(row)) is not None])
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
    row |= {"position": identity, "updated_at": clock.business()}
    names = {SHOP, f"{SHOP}/listed", f"{SHOP}/listed/5", f"{SHOP}/changes"}
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


def test_a_page_costs_the_same_in_any_shop_whatever_is_asked(house):
    """Half of the shop is on sale, the other half drafts, and there are a few others, all made in the same millisecond."""
    for state, number in (("listed", HALF), ("draft", HALF), ("delisted", 20)):
        lay_down(house, number, state)
    category = house.product("model")["listing"]["category_id"]
    for state, category_id in itertools.product(("", "listed", "delisted"), (0, category)):
        streams = 1 if state or not category_id else len(LIVING)
        for commands, documents in cost(house, state=state, category_id=category_id):
            assert commands <= MOST_COMMANDS * streams
            assert documents <= MOST_EXAMINED * streams
        query = {"shop_id": SHOP, "state": state or {"$ne": "deleted"}}
        wanted = [row["position"] for row in house.store.products.find(query).sort("position", -1)]
        assert walked(house.store, 500, state=state, category_id=category_id) == wanted


def test_a_page_asked_again_reads_itself_and_what_was_made_since(house):
    lay_down(house, 2 * PAGE, "listed")
    first = house.store.page_of_products(SHOP, None, PAGE)
    house.upsert(product("new"))
    house.counter.finds.clear()
    again = house.store.page_of_products(SHOP, None, PAGE)
    assert [name for name, _ in house.counter.finds] == ["products"]
    assert examined(house) <= PAGE + 1
    assert [row["_id"] for row in again] == [house.product("new")["_id"], *(row["_id"] for row in first[:-1])]


def test_milestones_follow_products_that_move_and_lists_hold_without_them(house):
    rows = lay_down(house, 200, "draft")
    moved = [row["_id"] for row in rows if level(row["_id"])][:3]
    for identity in moved:
        house.store.products.update_one({"_id": identity}, {"$set": {"state": "listed"}, "$inc": {"version": 1}})
    of_listed = {"keys": key(list_name(SHOP, "listed"), 1)}
    for _ in range(2):
        house.store.milestones.note(row["_id"] for row in rows)
        assert {row["_id"] for row in house.database["milestones"].find(of_listed)} == set(moved)
    wanted = walked(house.store, 50, state="draft")
    house.database.drop_collection("milestones")
    assert walked(Store(house.database), 50, state="draft") == wanted
    assert len(wanted) == 200 - len(moved)


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


def test_what_changed_is_walked_in_stretches_and_filters_pass_by_a_bounded_number(house, monkeypatch):
    rows = lay_down(house, 300, "listed")
    for number, row in enumerate(rows):  # one change a second, the last three by drafts
        place = {"updated_at": row["updated_at"] + timedelta(seconds=number + 1)}
        place |= {"state": "draft"} if number >= 297 else {}
        house.store.products.update_one({"_id": row["_id"]}, {"$set": place, "$inc": {"version": 1}})
    house.store.milestones.note(row["_id"] for row in rows)
    house.later(seconds=400)
    monkeypatch.setattr("services.catalog.store.LOOKED_AT_MOST", 100)
    wanted = [row["_id"] for row in rows]
    for state, expected in (("", wanted), ("draft", wanted[-3:])):
        found, after, pages = [], (rows[0]["updated_at"] + timedelta(milliseconds=1), []), 0
        while after:
            house.counter.finds.clear()
            page, after = changed(house.store, SHOP, {"state": state, "category_id": 0}, after, 20)
            found += [row["product_id"] for row in page]
            pages += 1
            assert examined(house) <= MOST_EXAMINED
        assert found == expected
        assert pages < 20
