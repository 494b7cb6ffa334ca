"""Bulk calls on products that are there: prices, states, deletion, stock; what they cost; whom they never touch."""

from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.commands import bulk
from services.catalog.model.bulk import Price, ProductRef, Results, SkuRef
from services.catalog.model.restock import StockItem, plan_stock
from services.catalog.queries import products as product_queries
from services.catalog.store import ASKED_AT_ONCE
from services.chassis.errors import Refusal
from tests.unit.catalog.making import OTHER, SHOP, product, sku

READS_AND_WRITES = {"find", "bulkWrite", "insert", "commitTransaction"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def outcomes(outcome):
    return [row["outcome"] for row in outcome.answer["results"]]


def reasons(outcome):
    return [[(p["field"], p["reason"]) for p in row.get("problems", ())] for row in outcome.answer["results"]]


def coded(identity, *codes, **more):
    """A product with one SKU for each merchant's code."""
    skus = [sku(f"v{code}", merchant_sku=code) for code in codes]
    return product(identity, axes=["款"], skus=skus, **more)


def prices(house, *items, **how):
    return bulk.update_prices(house.bulk(**how), [Price(SkuRef(*ref), *rest) for ref, *rest in items])


def states(house, *items, **how):
    return bulk.update_states(house.bulk(**how), [(ProductRef(*ref), state) for ref, state in items])


def delete(house, *refs, **how):
    return bulk.delete(house.bulk(**how), [ProductRef(*ref) for ref in refs])


def stock(house, *items, **how):
    return bulk.update_stock(house.bulk(**how), [StockItem(SkuRef(*ref), *rest) for ref, *rest in items])


def ids(house, name="p1"):
    return [sku["sku_id"] for sku in house.product(name)["listing"]["skus"]]


# -------------------------------------------------------------------------------------------------------------------- prices


def test_prices_change_by_sku_and_by_the_merchants_code_and_make_one_version(house):
    house.upsert(coded("p1", "A", "B", "C"))
    first, second, _ = ids(house)
    made = prices(house, ((first,), 900, 1200), (("", "B"), 800), (("", "C"), 1000))
    assert outcomes(made) == ["updated", "updated", "unchanged"]
    row = house.product()
    assert [(sku["price"], sku["original_price"]) for sku in row["listing"]["skus"]] == [
        (900, 1200),
        (800, 1000),
        (1000, 1000),
    ]
    assert (row["listing_version"], house.store.versions.count_documents({})) == (2, 1)
    assert made.answer["results"][1]["sku_id"] == second
    assert (made.answer["updated"], made.answer["unchanged"], made.answer["failed"]) == (2, 1, 0)


def test_what_is_wrong_with_a_price_names_its_field_and_harms_no_other(house):
    house.upsert(coded("p1", "A", "B"), coded("gone", "C", listed=False))
    house.upsert(coded("of others", "X"), shop=OTHER)
    first, _ = ids(house)
    (theirs,) = [row["_id"] for row in house.store.stock.find({"shop_id": OTHER})]
    (deleted,) = ids(house, "gone")
    delete(house, ("", "gone"))
    made = prices(
        house,
        ((first,), 500),
        ((first,), 600),
        (("", "B"), 1001),
        (("", "B"), 0),
        ((theirs,), 1),
        (("", "X"), 1),
        ((), 1),
        ((first, "A"), 1),
        ((deleted,), 1),
        (("", "B"), 10, 10**12),
    )
    assert reasons(made) == [
        [],
        [("sku_id", "DUPLICATE_ITEM")],
        [("original_price", "PRICE_ABOVE_ORIGINAL")],
        [("price", "OUT_OF_RANGE")],
        [("sku_id", "NOT_FOUND")],
        [("merchant_sku", "NOT_FOUND")],
        [("sku_id", "REQUIRED")],
        [("sku_id", "REQUIRED")],
        [("sku_id", "WRONG_STATE")],
        [("original_price", "PRICE_ABOVE_ORIGINAL")],
    ]
    assert [row["listing"]["skus"][0]["price"] for row in house.store.products.find({"shop_id": OTHER})] == [1000]
    assert [sku["price"] for sku in house.product()["listing"]["skus"]] == [500, 1000]


def test_a_file_said_again_after_a_price_changed_brings_its_price_and_no_stock(house):
    item = coded("p1", "A")
    house.upsert(item)
    house.restock((ids(house)[0], -4, "sold elsewhere"))
    prices(house, (("", "A"), 700))
    assert house.upsert(item).document["updated"] == 1
    assert house.product()["listing"]["skus"][0]["price"] == 1000
    assert house.stock() == [(6, 0)]
    assert house.upsert(item).document["unchanged"] == 1


def test_policies_hold_for_every_bulk_call(house):
    house.upsert(coded("p1", "A", "B", "C"))
    items = [(("", "A"), 500), (("", "?"), 500), (("", "??"), 500), (("", "B"), 500)]
    refused = prices(house, *items, policy="reject_all", key="k")
    assert (outcomes(refused), refused.answer["failed"]) == (["skipped", "failed", "failed", "skipped"], 2)
    assert [sku["price"] for sku in house.product()["listing"]["skus"]] == [1000] * 3
    stopped = prices(house, *items, policy="stop_after_n", max_errors=1)
    assert outcomes(stopped) == ["updated", "failed", "skipped", "skipped"]
    assert outcomes(prices(house, *items, policy="reject_failed")) == ["unchanged", "failed", "failed", "updated"]
    with pytest.raises(Refusal, match="max_errors"):
        prices(house, *items, policy="stop_after_n")
    with pytest.raises(Refusal, match="between 1 and 200"):
        prices(house, *[(("", "A"), 1)] * 201)
    with pytest.raises(Refusal, match="between 1 and 200"):
        delete(house)


def test_a_bulk_call_repeated_with_its_key_answers_as_the_first_time(house):
    house.upsert(coded("p1", "A"), product("p2", listed=False))
    first = prices(house, (("", "A"), 700), key="p")
    prices(house, (("", "A"), 800))
    again = prices(house, (("", "A"), 700), key="p")
    assert (again.answer, again.replayed) == (first.answer, True)
    assert house.product()["listing"]["skus"][0]["price"] == 800
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        prices(house, (("", "A"), 1), key="p", body="other")
    for call in (states, delete):
        items = [(("", "p2"), "listed")] if call is states else [("", "p1")]
        done = call(house, *items, key=call.__name__)
        assert call(house, *items, key=call.__name__).answer == done.answer


# -------------------------------------------------------------------------------------------------------------------- states


def test_states_change_item_by_item(house):
    house.upsert(product("p1"), product("p2", listed=False), product("p3", listed=False))
    house.upsert(product("x"), shop=OTHER)
    theirs = house.product("x", OTHER)["_id"]
    made = states(
        house,
        (("", "p1"), "delisted"),
        ((house.product("p2")["_id"],), "listed"),
        (("", "p3"), "delisted"),
        ((theirs,), "delisted"),
        (("", "x"), "delisted"),
        (("", "p1"), "listed"),
    )
    assert outcomes(made) == ["updated", "updated", "failed", "failed", "failed", "failed"]
    assert reasons(made)[2:] == [
        [("state", "WRONG_STATE")],
        [("product_id", "NOT_FOUND")],
        [("external_id", "NOT_FOUND")],
        [("product_id", "DUPLICATE_ITEM")],
    ]
    assert [house.product(name)["state"] for name in ("p1", "p2", "p3")] == ["delisted", "listed", "draft"]
    assert house.product("x", OTHER)["state"] == "listed"
    assert house.product("p2")["ever_listed"] is house.product("p2")["shown"] is True
    assert outcomes(states(house, (("", "p2"), "listed"))) == ["unchanged"]
    with pytest.raises(Refusal, match=r"items\[0\]\.state"):
        states(house, (("", "p1"), "deleted"))


# ------------------------------------------------------------------------------------------------------------------ deletion


def test_deleting_frees_the_merchants_ids_and_keeps_what_orders_show(house):
    house.upsert(coded("p1", "A", "B"), product("p2"))
    for event in house.told():
        house.deliver(event)
    house.reserve(house.line(3))
    old = house.product()["_id"]
    line = house.line()
    assert reasons(delete(house, ("", "p1"))) == [[("product_id", "WRONG_STATE")]]
    states(house, (("", "p1"), "delisted"))
    assert outcomes(delete(house, ("", "p1"), ("", "?"))) == ["deleted", "failed"]
    row = house.store.products.find_one({"_id": old})
    assert (row["state"], row["listing"]["name"]) == ("deleted", "商品 p1")
    assert house.upsert(coded("p1", "A", "B")).document["created"] == 1
    assert house.product()["_id"] != old
    assert outcomes(delete(house, (old,))) == ["unchanged"]
    house.closed(line)
    for event in house.told():
        house.deliver(event)
    assert house.store.shop(SHOP)["categories"] == {"538000001": 2}
    assert house.sound()


def test_another_shops_products_are_not_deleted(house):
    house.upsert(product("x", listed=False), shop=OTHER)
    theirs = house.product("x", OTHER)["_id"]
    assert reasons(delete(house, (theirs,), ("", "x"))) == [
        [("product_id", "NOT_FOUND")],
        [("external_id", "NOT_FOUND")],
    ]
    assert house.product("x", OTHER)["state"] == "draft"


# --------------------------------------------------------------------------------------------------------------------- stock


def test_stock_is_set_only_where_it_is_what_the_caller_believes(house):
    house.upsert(coded("p1", "A", "B"))
    house.reserve(house.line(4))
    made = stock(
        house,
        (("", "A"), "r1", 0, 30, 10),
        (("", "A"), "r2", 0, 40, 10),
        (("", "A"), "r3", 0, 3, 30),
        (("", "A"), "r4", 5),
        (("", "A"), "r5", 0, 20, 35),
        (("", "B"), "r6", 0, 10, 10),
    )
    assert reasons(made) == [
        [],
        [("expected_on_hand", "VERSION_CONFLICT")],
        [("quantity", "OUT_OF_STOCK")],
        [],
        [],
        [],
    ]
    assert house.stock() == [(20, 4), (10, 0)]
    again = stock(house, (("", "A"), "r1", 0, 30, 10), (("", "A"), "r1", 0, 31, 10), (("", "A"), "r1", 20))
    assert [row.get("replayed", False) for row in again.answer["results"]] == [True, False, False]
    assert reasons(again)[1:] == [[("request_id", "IDEMPOTENCY_KEY_REUSED")]] * 2
    assert house.stock() == [(20, 4), (10, 0)]
    assert house.sound()


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (StockItem(SkuRef("", "A"), "r", 0, 5), "expected_on_hand"),
        (StockItem(SkuRef("", "A"), "r", 1, 5, 10), "delta"),
        (StockItem(SkuRef("", "A"), "r", 1, None, 10), "quantity"),
        (StockItem(SkuRef("", "A"), "r", 0, -1, 10), "quantity"),
        (StockItem(SkuRef("", "A"), "r", 10**9), "delta"),
        (StockItem(SkuRef("", "A"), "r", 99_999_991), "delta"),
        (StockItem(SkuRef(), "r", 1), "sku_id"),
        (StockItem(SkuRef("", "Z"), "r", 1), "merchant_sku"),
    ],
)
def test_what_is_wrong_with_a_change_of_stock_names_its_field(house, item, field):
    house.upsert(coded("p1", "A"))
    made = bulk.update_stock(house.bulk(), [item])
    assert [each[0][0] for each in reasons(made)] == [field]
    assert house.stock() == [(10, 0)]


def test_the_same_request_id_twice_in_one_call_counts_once(house):
    house.upsert(coded("p1", "A"))
    made = stock(house, (("", "A"), "r", 2), (("", "A"), "r", 2))
    assert [row.get("replayed", False) for row in made.answer["results"]] == [False, True]
    assert house.stock() == [(12, 0)]
    assert house.sound()


changes = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["r1", "r2", "r3", "r4", ""]),
        st.one_of(
            st.tuples(st.integers(-15, 15), st.none(), st.none()),
            st.tuples(st.just(0), st.integers(-1, 30), st.integers(8, 14)),
        ),
    ),
    max_size=12,
)


@given(changes)
def test_a_plan_adds_up_and_never_takes_what_is_reserved(drawn):
    items = [StockItem(SkuRef(name), request, *change) for name, request, change in drawn]
    rows = [{"_id": item.request_id or f"n{n}", "sku_id": "", "delta": 0} for n, item in enumerate(items)]
    held = {name: {"_id": name, "on_hand": 10, "reserved": 4, "available": 6} for name in "ab"}
    made = plan_stock(items, rows, {SkuRef(name): row for name, row in held.items()}, {}, 100, Results())
    assert len(made.results.rows) == len(items)
    ends = {condition["_id"]: update["$inc"]["on_hand"] for condition, update in made.updates}
    assert len(ends) == len(made.updates)
    for name in "ab":
        moved = sum(row["delta"] for row in made.movements if row["sku_id"] == name)
        assert ends.get(name, 0) == moved
        assert 10 + moved >= 4
    assert len({row["_id"] for row in made.movements}) == len(made.movements)


def test_deltas_of_many_callers_at_once_all_count(house):
    house.upsert(coded("p1", "A"))
    start, told = Barrier(4), []

    def call(number):
        start.wait()
        for turn in range(5):
            made = stock(house, (("", "A"), f"{number}:{turn}", -1), (("", "A"), f"{turn}", 1))
            told.append(outcomes(made))

    threads = [Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    applied = house.store.movements.count_documents({"delta": -1})
    assert house.stock() == [(10 - applied + 5, 0)]
    assert house.store.movements.count_documents({"delta": 1}) == 5
    assert len(told) == 20
    assert house.sound()


# ---------------------------------------------------------------------------------------------------------------------- cost


def commands(house, call):
    """How many commands the database gets for ``call``, which succeeds for every item."""
    house.counter.names.clear()
    made = call()
    assert (made.answer or made.document)["failed"] == 0
    sent = list(house.counter.names)
    assert set(sent) <= READS_AND_WRITES, sent
    return len(sent)


def test_two_hundred_items_cost_a_handful_of_round_trips(house):
    """Shop, tree, answer given before?, up to four reads of 50 ids a question, then one transaction."""
    names = [f"p{n}" for n in range(200)]
    house.upsert(*(coded(name, name) for name in names))
    anew = [coded(name, name, name="改名") for name in names]
    counted = {
        "upserts": commands(house, lambda: house.upsert(*anew)),
        "prices": commands(house, lambda: prices(house, *((("", name), 700) for name in names))),
        "stock": commands(house, lambda: stock(house, *((("", name), f"r{name}", 1) for name in names))),
        "states": commands(house, lambda: states(house, *((("", name), "delisted") for name in names))),
        "deletions": commands(house, lambda: delete(house, *(("", name) for name in names))),
    }
    assert counted.pop("upserts") <= 6 + 4 * 200 // ASKED_AT_ONCE
    assert max(counted.values()) <= 6 + 3 * 200 // ASKED_AT_ONCE
    assert house.sound()


# --------------------------------------------------------------------------------------------------------------------- lists


def test_a_list_by_last_change_leaves_nothing_out_though_many_changed_in_one_moment(house):
    house.upsert(*(product(f"p{n}") for n in range(20)))
    moment = house.product("p3")["updated_at"]
    same = [f"p{n}" for n in range(3, 14)]
    ids_ = [house.product(name)["_id"] for name in same]
    house.store.products.update_many({"_id": {"$in": ids_}}, {"$set": {"updated_at": moment}})
    for size in (1, 4, 50):
        found, after = [], (EPOCH, [])
        while after:
            page, after = product_queries.changed(house.store, SHOP, {"state": "", "category_id": 0}, after, size)
            found += [row["external_id"] for row in page]
            assert len(page) <= size
        assert sorted(found) == sorted(f"p{n}" for n in range(20))
    house.store.products.delete_many({"_id": {"$nin": ids_}})
    found, _ = product_queries.changed(house.store, SHOP, {"state": "", "category_id": 0}, (moment, ids_[:3]), 50)
    assert sorted(row["external_id"] for row in found) == sorted(same[3:])


def test_a_list_by_last_change_says_both_ends_and_has_an_index(house):
    house.upsert(product())
    house.counter.filters.clear()
    product_queries.changed(house.store, SHOP, {"state": "listed", "category_id": 0}, (EPOCH, []), 5)
    (asked,) = [each for each in house.counter.filters if "updated_at" in each]
    assert (set(asked), set(asked["updated_at"])) == ({"shop_id", "updated_at"}, {"$gte", "$lt"})
    keys = [tuple(index["key"]) for index in house.store.products.list_indexes()]
    assert ("shop_id", "updated_at") in keys


def test_deleted_products_are_listed_only_when_asked_for(house):
    house.upsert(product("p1", listed=False), product("p2"))
    delete(house, ("", "p1"))

    def listed(state):
        rows, _ = product_queries.products(house.store, SHOP, {"state": state, "category_id": 0}, None, 9)
        return [row["external_id"] for row in rows]

    assert (listed(""), listed("deleted"), listed("listed")) == (["p2"], ["p1"], ["p2"])
