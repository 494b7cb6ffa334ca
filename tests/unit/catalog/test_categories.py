"""The category tree: what is shipped, what admins make of it, and what that means for products."""

import tomllib
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.commands import categories as commands
from services.catalog.commands.products import put_on_sale
from services.catalog.model import categories, category_edits
from services.catalog.model.category_edits import Asked, EditLimits, Wanted
from services.catalog.model.products import Limits, ProductDraft, SkuDraft, validate
from services.catalog.queries import categories as queries
from services.catalog.store import Store
from services.catalog.store.trees import shipped
from services.chassis import clock
from services.chassis.errors import Refusal
from tests.backends.processes import wait_until
from tests.unit.catalog.making import OTHER, SHOP, product

HOME = Path("services/catalog")
DATA = tomllib.loads((HOME / "categories.toml").read_text(encoding="utf-8"))
TREE = categories.parse(DATA)
POLICY = tomllib.loads((HOME / "policy.toml").read_text(encoding="utf-8"))
LIMITS = EditLimits(**POLICY["category_limits"][0]["value"])
PRODUCT_LIMITS = Limits(**POLICY["product_limits"][0]["value"])
COLOUR = Asked("颜色", ("黑色", "荧光绿"))
DRESS, TEA, BOOKS = 538010001, 538070001, 538250000
FIRST_TREE = Path(__file__).parent / "categories_first.txt"
"""Ids and paths of the first tree that was shipped: products and files name them."""


class Ids:
    """Ids in a row, as if drawn."""

    def __init__(self, first=1_000_000):
        self.next = first

    def __call__(self):
        self.next += 1
        return self.next


def made(tree=TREE, parent=1, name="新类目", leaf=True, **more):
    wanted = Wanted(name, **{"skus": (COLOUR,), **more})
    return category_edits.create(tree, parent, wanted, Ids(), LIMITS, leaf=leaf)


def grown(tree, *edited):
    rows = [categories.to_row(category, number) for number, category in enumerate(edited, 1)]
    return tree.over(rows, len(rows))


def draft(**more):
    values = {"external_id": "a", "name": "A", "category_id": DRESS, "skus": (SkuDraft((), 100, 100, 5),)}
    return ProductDraft(**{**values, **more})


# -------------------------------------------------------------------------------------------------------------- shipped data


def test_the_shipped_tree_is_large_enough_and_no_deeper_than_three():
    leaves = [category for category in TREE if category.leaf]
    assert len(TREE.children(TREE.root)) >= 20
    assert len(leaves) >= 300
    assert max(TREE.depth(category.id) for category in TREE) == 3
    assert all(category.leaf != bool(TREE.children(category.id)) for category in TREE)


def test_every_leaf_has_an_axis_with_two_values_and_every_id_is_its_own():
    for category in TREE:
        if category.leaf:
            assert any(len(axis.values) >= 2 for axis in category.skus), category.path
            assert category.properties, category.path
            assert not category.required, category.path
    offered = [row for kind in ("attributes", "properties") for row in DATA[kind].values()]
    ids = [TREE.root, *(category.id for category in TREE), *(row["id"] for row in offered)]
    ids += [identity for row in offered for identity, _ in row["values"]]
    assert len(set(ids)) == len(ids)
    assert all(0 < identity < 2**31 for identity in ids)


def test_what_the_first_tree_said_still_holds():
    for line in FIRST_TREE.read_text(encoding="utf-8").split("\n"):
        identity, path = line.split(" ")
        assert TREE.get(int(identity)).path == path
    assert TREE.get(537074292).name == "数码相机"
    assert {axis.name: axis.id for axis in TREE.get(537074292).skus}["颜色"] == 1075741873


def test_a_category_is_found_by_path_and_by_id():
    dress = TREE.find("女装 / 连衣裙")
    assert dress is TREE.find(str(dress.id)) is TREE.get(dress.id)
    assert TREE.find("没有") is None
    assert [attribute.name for attribute in dress.skus] == ["颜色", "尺码"]
    assert TREE.find("图书音像/图书/小说文学").leaf


def test_ids_used_twice_are_refused():
    broken = {**DATA, "categories": [*DATA["categories"], DATA["categories"][0]]}
    with pytest.raises(ValueError, match="share"):
        categories.parse(broken)


def test_data_may_require_a_property():
    rows = [{**row, "required": ["origin"]} if row["name"] == "食品" else row for row in DATA["categories"]]
    assert categories.parse({**DATA, "categories": rows}).get(TEA).required == {"产地"}


# --------------------------------------------------------------------------------------------------------------------- edits


def test_known_names_keep_their_ids_and_new_ones_get_ids_of_their_own():
    category = made(properties=(Asked("品牌"), Asked("甜度", ("全糖", "无糖"), required=True, closed=True)))
    (colour,) = category.skus
    brand, sweet = category.properties
    assert (colour.id, dict(colour.values)[1079742301]) == (1075741873, "黑色")
    assert brand.id == 1075741879
    known = {value for each in TREE for axis in (*each.skus, *each.properties) for value, _ in axis.values}
    new = [category.id, colour.values[1][0], sweet.id, *(value for value, _ in sweet.values)]
    assert len(set(new)) == len(new)
    assert not known & set(new)
    again = made(grown(TREE, category), name="另一个", properties=(Asked("甜度", ("无糖", "半糖")),))
    assert again.properties[0].id == sweet.id
    assert again.properties[0].values[0] == sweet.values[1]


def test_a_drawn_id_that_is_taken_is_drawn_again():
    drawn = iter([TREE.root, DRESS, 1075741873, 77, 78])
    wanted = Wanted("新", skus=(COLOUR,))
    category = category_edits.create(TREE, 1, wanted, lambda: next(drawn), LIMITS, leaf=True)
    assert (category.skus[0].values[1][0], category.id) == (77, 78)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " 空格"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "2014"}, "name"),
        ({"name": "长" * 61}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "女装"}, "name"),
        ({"parent": 7}, "parent_id"),
        ({"parent": DRESS}, "parent_id"),
        ({"parent": 538070000, "leaf": False, "name": "中层"}, None),
        ({"parent": 538071000, "leaf": False}, "parent_id"),
        ({"skus": ()}, "sku_attributes"),
        ({"skus": (Asked("颜色", ("红",)),)}, "sku_attributes"),
        ({"skus": (), "leaf": False}, None),
        ({"skus": (COLOUR, COLOUR)}, "sku_attributes[1].name"),
        ({"skus": (COLOUR, Asked("", ("1", "2")))}, "sku_attributes[1].name"),
        ({"skus": (Asked("颜色", ("红", "红")),)}, "sku_attributes[0].values"),
        ({"skus": (Asked("颜色", ("红", "")),)}, "sku_attributes[0].values[1]"),
        ({"skus": (Asked("颜色", ("红", "蓝"), closed=True),)}, "sku_attributes[0].closed"),
        ({"skus": (Asked("颜色", ("红", "蓝"), required=True),)}, "sku_attributes[0].required"),
        ({"skus": (Asked("颜色", tuple(str(n) for n in range(1001))),)}, "sku_attributes[0].values"),
        ({"skus": tuple(Asked(str(n), ("1", "2")) for n in range(31))}, "sku_attributes"),
        ({"properties": (Asked("品牌", closed=True),)}, "properties[0].values"),
        ({"properties": tuple(Asked(f"p{n}", tuple(f"{v}" for v in range(700))) for n in range(3))}, "properties"),
    ],
)
def test_what_is_wrong_with_an_edit_names_its_field(more, field):
    if field is None:
        assert made(**more).name == more.get("name", "新类目")
        return
    with pytest.raises(Refusal, match="INVALID_ARGUMENT") as caught:
        made(**more)
    assert field in [violation.field for violation in caught.value.violations]


def test_the_tree_has_an_end():
    small = replace(LIMITS, children=len(TREE.children(1)))
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        category_edits.create(TREE, 1, Wanted("新", skus=(COLOUR,)), Ids(), small, leaf=True)


def test_a_change_needs_the_etag_and_moves_the_paths_below():
    women = TREE.get(538010000)
    renamed = category_edits.change(TREE, women.id, Wanted("女士服装"), "0", Ids(), LIMITS)
    tree = grown(TREE, renamed)
    assert tree.get(DRESS).path == "女士服装/连衣裙"
    assert tree.find("女装/连衣裙") is None
    assert TREE.get(DRESS).path == "女装/连衣裙"
    assert category_edits.change(tree, women.id, Wanted("女士服装"), "1", Ids(), LIMITS) is None
    for etag, reason in (("", "INVALID_ARGUMENT"), ("0", "ETAG_MISMATCH")):
        with pytest.raises(Refusal, match=reason):
            category_edits.change(tree, women.id, Wanted("x"), etag, Ids(), LIMITS)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        category_edits.change(tree, 7, Wanted("x"), "0", Ids(), LIMITS)


def test_only_leaves_retire_and_never_the_one_for_what_names_no_category():
    gone = category_edits.retire(TREE, DRESS, retired=True)
    tree = grown(TREE, gone)
    assert tree.retired == {DRESS}
    assert category_edits.retire(tree, DRESS, retired=True) is None
    assert category_edits.retire(tree, DRESS, retired=False).version == 2
    for identity in (538010000, TREE.uncategorised):
        with pytest.raises(Refusal, match="CONDITION_UNMET"):
            category_edits.retire(TREE, identity, retired=True)


def test_children_lead_to_an_open_leaf():
    branch = made(name="空枝", leaf=False)
    gone = [category_edits.retire(TREE, leaf.id, retired=True) for leaf in TREE.children(538010000)]
    tree = grown(TREE, branch, *gone)
    shown = {each["id"] for each in queries.children(tree, 1)}
    assert not {branch.id, 538010000} & shown
    assert 538020000 in shown
    assert queries.children(tree, 538010000) == []
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.children(tree, 7)


@given(st.integers(1, 60), st.sampled_from([0, 1, 538070000]))
def test_pages_hold_every_category_once(size, parent):
    found, after = [], 0
    while True:
        page, after = queries.page(TREE, parent, after, size)
        assert len(page) <= size
        found += [each.id for each in page]
        if not after:
            break
    assert found == [category.id for category in (TREE.children(parent) if parent else TREE)]


def test_rows_hold_everything():
    for category in (TREE.get(TEA), made(properties=(Asked("甜度", ("全糖",), required=True, closed=True),))):
        assert replace(categories.from_row(categories.to_row(category, 1)), path=category.path) == category


# ------------------------------------------------------------------------------------------------------------------ products


def test_any_property_takes_any_text_until_an_admin_closes_it():
    free = draft(properties=(("品牌", "小众"), ("自己的", "什么都行")))
    assert validate(free, TREE, PRODUCT_LIMITS) == []
    closed = (Asked("品牌", ("甲牌", "乙牌"), closed=True), Asked("产地", required=True))
    after = category_edits.change(TREE, DRESS, Wanted("连衣裙", (COLOUR,), closed), "0", Ids(), LIMITS)
    tree = grown(TREE, after)
    (found,) = validate(free, tree, PRODUCT_LIMITS)
    assert (found.field, found.reason) == ("properties[0].value", "PROPERTY_NOT_OFFERED")
    assert "甲牌, 乙牌" in found.message
    assert validate(draft(properties=(("品牌", "乙牌"),)), tree, PRODUCT_LIMITS) == []
    (missing,) = validate(draft(listed=True), tree, PRODUCT_LIMITS)
    assert (missing.reason, "产地" in missing.message) == ("PROPERTY_REQUIRED", True)


# -------------------------------------------------------------------------------------------------------------- on a database


ADMIN = "admin:staff_1"


def wanted(name, *properties):
    return Wanted(name, (COLOUR,), properties)


def create(house, name="新类目", *, key=None, parent=1, body="b"):
    return commands.create(house.store, house.cause(key, body), ADMIN, parent, wanted(name), "为了测试", leaf=True)


def test_an_edit_is_recorded_and_seen_by_another_process_and_after_a_restart(house):
    elsewhere = Store(house.database)
    assert elsewhere.tree() is shipped()
    made = create(house).answer
    assert house.store.tree().get(made["_id"]).name == "新类目"
    wait_until(lambda: elsewhere.tree().get(made["_id"]) is not None, "the other server to see it", seconds=2)
    assert Store(house.database).tree().get(made["_id"]) == elsewhere.tree().get(made["_id"])
    asked = wanted("改名", Asked("品牌", ("甲",), closed=True))
    commands.change(house.store, house.cause(), ADMIN, made["_id"], asked, "1", "名字不对")
    rows, last = queries.changes(house.store, 0, 2**53, 9)
    assert [(row["action"], row["actor"], row["reason"]) for row in rows] == [
        ("update", ADMIN, "名字不对"),
        ("create", ADMIN, "为了测试"),
    ]
    assert (rows[0]["before"]["name"], rows[0]["after"]["path"], rows[1]["before"], last) == ("新类目", "改名", None, 0)
    assert rows[0]["after"]["etag"] == "2"
    assert "properties" not in rows[0]["after"]
    assert queries.change(house.store, 2)["after"]["properties"][0]["closed"]
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.change(house.store, 3)
    first, edge = queries.changes(house.store, made["_id"], 2**53, 1)
    assert [row["revision"] for row in (*first, *queries.changes(house.store, made["_id"], edge, 1)[0])] == [2, 1]


def test_the_tree_is_asked_for_now_and_then_and_not_by_every_request(house, monkeypatch):
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    store = Store(house.database)
    house.counter.names.clear()
    for _ in range(50):
        store.tree()
    assert house.counter.names == ["find"]
    now += 0.6
    house.counter.names.clear()
    for _ in range(50):
        store.tree()
    assert house.counter.names == ["find"]


def test_an_edit_repeated_with_its_key_is_one_edit(house):
    first = create(house, key="k")
    again = create(house, key="k")
    assert (again.answer, again.replayed) == (first.answer, True)
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        create(house, key="k", body="other")
    assert house.store.tree().revision == 1
    gone = commands.retire(house.store, house.cause("r"), ADMIN, DRESS, "过时", retired=True)
    commands.retire(house.store, house.cause(), ADMIN, DRESS, "还要", retired=False)
    again = commands.retire(house.store, house.cause("r"), ADMIN, DRESS, "过时", retired=True)
    assert (again.answer, again.replayed) == (gone.answer, True)
    assert house.store.tree().retired == frozenset()
    assert commands.retire(house.store, house.cause(), ADMIN, DRESS, "多余", retired=False).changed is False
    assert house.store.tree().revision == 3


def test_edits_at_the_same_time_all_hold(house):
    start, failed = Barrier(4), []

    def edit(number):
        start.wait()
        try:
            create(house, f"类目{number}", key=f"same{number % 2}" if number < 2 else f"k{number}")
            create(house, "只有一个")
        except Refusal as refusal:
            failed.append(refusal.reason)

    threads = [Thread(target=edit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["INVALID_ARGUMENT"] * 3
    names = [category.name for category in house.store.trees.read().children(1)]
    assert [names.count(name) for name in ("类目0", "类目1", "类目2", "类目3", "只有一个")] == [1] * 5
    assert house.store.category_changes.count_documents({}) == 5


@pytest.mark.parametrize("reason", ["", "  ", "长" * 501, "a\x00"])
def test_an_edit_says_why(house, reason):
    with pytest.raises(Refusal, match="reason"):
        commands.retire(house.store, house.cause(), ADMIN, DRESS, reason, retired=True)


def test_a_retired_category_keeps_its_products_and_takes_no_others(house):
    house.upsert(product(category_id=DRESS), product("q"))
    commands.retire(house.store, house.cause(), ADMIN, DRESS, "过时", retired=True)
    answer = house.upsert(
        product(category_id=DRESS, name="改名"), product("q", category_id=DRESS), product("new", category_id=DRESS)
    ).document
    assert [row["outcome"] for row in answer["results"]] == ["updated", "failed", "failed"]
    assert {problem["reason"] for row in answer["results"][1:] for problem in row["problems"]} == {"CATEGORY_RETIRED"}
    assert answer["results"][1]["problems"][0]["field"] == "category_id"
    head = "external_id,title,category,price\n"
    job = house.do_import(head + "p1,改名,女装/连衣裙,9.90\nz,Z,女装/连衣裙,9.90\n", name="jishi-csv")
    assert (job["updated"], job["failed"]) == (1, 1)
    (row,) = house.store.chunks.find({"import_id": job["import_id"]})
    assert [(p["row"], p["field"]) for result in row["results"] for p in result.get("problems", ())] == [
        (3, "category")
    ]
    commands.retire(house.store, house.cause(), ADMIN, DRESS, "还要", retired=False)
    assert house.upsert(product("new", category_id=DRESS)).document["created"] == 1


def test_a_property_that_an_admin_asks_for_is_asked_for_when_listing(house):
    house.upsert(product(category_id=TEA, listed=False))
    asked = wanted("茶叶", Asked("产地", required=True), Asked("保质期", required=True))
    commands.change(house.store, house.cause(), ADMIN, TEA, asked, "0", "预包装食品标签")
    with pytest.raises(Refusal, match="CONDITION_UNMET") as caught:
        put_on_sale(house.store, house.cause(), SHOP, house.product()["_id"])
    assert len(caught.value.violations) == 2
    found = house.upsert(product(category_id=TEA, listed=True)).document["results"][0]["problems"]
    assert {problem["reason"] for problem in found} == {"PROPERTY_REQUIRED"}
    assert OTHER not in {row["shop_id"] for row in house.store.products.find({})}


def test_a_chunk_is_read_with_the_tree_as_of_its_start(house):
    """The first chunk is applied, then its category retires, then the rest is read."""
    rows = "".join(f"p{n},P,女装/连衣裙,9.90\n" for n in range(50))
    queued = house.queue("external_id,title,category,price\n" + rows, name="jishi-csv").document["_id"]
    calls = []

    def give_up():
        calls.append(house.store.products.count_documents({}))
        return calls[-1] >= 20

    house.work(queued, give_up)
    applied = house.store.products.count_documents({})
    assert 20 <= applied < 50
    commands.retire(house.store, house.cause(), ADMIN, DRESS, "过时", retired=True)
    house.work(queued)
    job = house.store.imports.find_one({"_id": queued})
    assert (job["created"], job["failed"]) == (applied, 50 - applied)
