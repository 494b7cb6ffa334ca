"""Groups and shelves on a database: made, changed, published now and later, deleted; and what everybody sees of them."""

import threading
from datetime import timedelta

import pytest

from services.catalog.commands import bulk, groups, shelves
from services.catalog.model.bulk import ProductRef
from services.catalog.queries import groups as group_queries
from services.catalog.queries import shelves as shelf_queries
from services.catalog.queries import storefront
from services.catalog.queries.images import Pictures
from services.chassis import clock, policy
from services.chassis.errors import Refusal
from services.chassis.fresh import Fresh
from tests.unit.catalog.making import OTHER, SHOP, product, sku

U = "https://img.example.com/1.jpg"


def module(kind, *named, count=0, **more):
    shown = [{"group_id": group, "image": U if "picture" in kind else ""} for group in named]
    return {"kind": kind, "groups": shown, "count": count, "product_ids": [], "html": "", **more}


@pytest.fixture
def pictures():
    return Pictures("http://shop.test", Fresh(0.0))


@pytest.fixture
def goods(house):
    """Ids of five products in order; the fourth is not on sale."""
    names = [f"p{number}" for number in range(1, 6)]
    house.upsert(*(product(name, listed=name != "p4") for name in names))
    return [house.product(name)["_id"] for name in names]


@pytest.fixture
def group(house, goods):
    return groups.create_group(house.store, house.cause(), SHOP, "新品", goods).document["group_id"]


def make(house, *modules, name="春", slug="", key=None, body="b", banner=""):
    said = {"name": name, "banner": banner, "modules": list(modules)}
    return shelves.create_shelf(house.store, house.cause(key, body), SHOP, slug, said).document


def publish(house, shelf, version=0, key=None):
    return shelves.publish_shelf(house.store, house.cause(key), SHOP, shelf["shelf_id"], version).document


def seen(house, shelf, pictures, place=None):
    return storefront.public_shelf(house.store, SHOP, shelf["slug"], place, pictures)


def refused(call, *arguments, **named):
    with pytest.raises(Refusal) as caught:
        call(*arguments, **named)
    return caught.value.reason


# --------------------------------------------------------------------------------------------------------------------- groups


def test_a_group_is_renamed_changed_and_reordered_and_each_repetition_is_told_the_same(house, goods, group):
    store = house.store
    steps = [
        lambda: groups.rename_group(store, house.cause("rename"), SHOP, group, "热卖", ""),
        lambda: groups.change_products(store, house.cause("c"), SHOP, group, add=[], remove=goods[:2]),
        lambda: groups.change_products(store, house.cause("d"), SHOP, group, add=goods[:1], remove=goods[2:3]),
        lambda: groups.move_products(store, house.cause("move"), SHOP, group, [goods[0], goods[4]], 0),
    ]
    first = [step() for step in steps]
    assert group_queries.group(store, SHOP, group)[1] == [goods[0], goods[4], goods[3]]
    row = store.groups.find_one({"group_id": group})
    again = [step() for step in steps]
    assert store.groups.find_one({"group_id": group}) == row
    for once, twice in zip(first, again, strict=True):
        assert twice.replayed
        assert once.answer == twice.answer
    assert [outcome.document["product_count"] for outcome in first] == [5, 3, 3, 3]


def test_a_deleted_group_leaves_every_list_and_its_repetitions_still_answer(house, goods):
    def made():
        return groups.create_group(house.store, house.cause("made"), SHOP, "新品", goods[:2])

    def deleted():
        return groups.delete_group(house.store, house.cause("gone"), SHOP, group)

    first = made().document
    group = first["group_id"]
    assert deleted().answer == {"shelf_ids": []}
    assert refused(group_queries.group, house.store, SHOP, group) == "NOT_FOUND"
    assert group_queries.groups(house.store, SHOP, None, 10) == ([], None)
    assert refused(groups.rename_group, house.store, house.cause(), SHOP, group, "x", "") == "NOT_FOUND"
    assert refused(groups.delete_group, house.store, house.cause(), SHOP, group) == "NOT_FOUND"
    assert deleted().replayed
    again = made()
    assert again.replayed
    told = ("name", "product_count", "group_id", "shop_id", "version", "changed_at")
    assert [again.document[name] for name in told] == [first[name] for name in told]


def test_groups_are_listed_by_name_page_by_page_and_none_of_another_shop(house):
    for name in ("c", "a", "b", "a", "d"):
        groups.create_group(house.store, house.cause(), SHOP, name, [])
    groups.create_group(house.store, house.cause(), OTHER, "a", [])
    names, after = [], None
    while True:
        page, after = group_queries.groups(house.store, SHOP, after, 2)
        names += [row["name"] for row in page]
        if after is None:
            break
    assert names == ["a", "a", "b", "c", "d"]


def test_a_group_knows_only_the_shops_own_living_products(house, goods, group):
    house.upsert(product("x"), shop=OTHER)
    strange = house.product("x", OTHER)["_id"]
    house.store.products.update_one({"_id": goods[4]}, {"$set": {"state": "deleted"}})
    for wrong in (strange, goods[4], "p" * 28):
        call = (house.store, house.cause(), SHOP, group)
        assert refused(groups.change_products, *call, add=[wrong], remove=[]) == "INVALID_ARGUMENT"
    assert refused(groups.change_products, house.store, house.cause(), OTHER, group, add=[], remove=[]) == "NOT_FOUND"
    assert refused(group_queries.group, house.store, OTHER, group) == "NOT_FOUND"
    page, after = group_queries.members(house.store, SHOP, group, None, 3)
    rest, last = group_queries.members(house.store, SHOP, group, after, 3)
    assert [row["product_id"] for row in page + rest] == goods[:4], "the deleted one is left out"
    assert last is None


def test_an_etag_keeps_a_newer_name(house, group):
    outcome = groups.rename_group(house.store, house.cause(), SHOP, group, "甲", "1")
    assert outcome.document["version"] == 2
    assert refused(groups.rename_group, house.store, house.cause(), SHOP, group, "乙", "1") == "ETAG_MISMATCH"


def test_a_group_that_shelves_use_is_deleted_named_and_left_out(house, goods, group, pictures):
    other = groups.create_group(house.store, house.cause(), SHOP, "别的", goods[:1]).document["group_id"]
    drafted = make(house, module("group_names", group))
    public = make(house, module("products", group, count=2), module("group_names", other, group))
    publish(house, public)
    said = {"name": "新", "banner": "", "modules": [module("group_names", other)]}
    shelves.update_shelf(house.store, house.cause(), (SHOP, public["shelf_id"]), "", said)
    make(house, module("group_names", other))
    answer = groups.delete_group(house.store, house.cause(), SHOP, group).answer
    assert answer == {"shelf_ids": sorted([drafted["shelf_id"], public["shelf_id"]])}
    (left,) = seen(house, public, pictures)["modules"]
    assert [shown["group_id"] for shown in left["groups"]] == [other]


# -------------------------------------------------------------------------------------------------------------------- shelves


def test_a_shelf_is_published_rolled_back_taken_off_and_every_version_stays(house, group, pictures):
    shelf = make(house, module("products", group, count=3), slug="spring", banner=U)
    number = shelf["shelf_id"]
    assert refused(seen, house, shelf, pictures) == "NOT_FOUND"
    assert publish(house, shelf, key="one")["published_version"] == 1
    said = {"name": "夏", "banner": "", "modules": [module("group_names", group)]}
    left = shelves.update_shelf(house.store, house.cause(), (SHOP, number), "", said).document
    assert (left["draft"]["name"], left["published_version"], left["versions"]) == ("夏", 1, 1)
    assert seen(house, shelf, pictures)["name"] == "春"
    assert publish(house, shelf)["published_version"] == 2
    assert publish(house, shelf, key="one")["published_version"] == 1, "a repetition is told what the first was told"
    assert seen(house, shelf, pictures)["name"] == "夏"
    publish(house, shelf, 1)
    assert (seen(house, shelf, pictures)["name"], seen(house, shelf, pictures)["version"]) == ("春", 1)
    shelves.unpublish_shelf(house.store, house.cause(), SHOP, number)
    assert refused(seen, house, shelf, pictures) == "NOT_FOUND"
    assert refused(publish, house, shelf, 3) == "NOT_FOUND"
    newest, before = shelf_queries.versions(house.store, SHOP, number, None, 1)
    oldest, end = shelf_queries.versions(house.store, SHOP, number, before, 1)
    assert [(row["version"], row["name"]) for row in newest + oldest] == [(2, "夏"), (1, "春")]
    assert end is None


def test_a_deleted_shelf_is_gone_for_all_and_frees_its_slug(house, group, pictures):
    shelf = make(house, module("group_names", group), slug="spring", key="made")
    publish(house, shelf, key="pub")
    later = clock.business() + timedelta(hours=1)
    shelves.schedule_publish(house.store, house.cause(), SHOP, shelf["shelf_id"], 0, later)
    assert refused(make, house, module("group_names", group), slug="spring") == "ALREADY_EXISTS"
    shelves.delete_shelf(house.store, house.cause("gone"), SHOP, shelf["shelf_id"])
    assert refused(seen, house, shelf, pictures) == "NOT_FOUND"
    assert refused(shelf_queries.shelf_row, house.store, SHOP, shelf["shelf_id"]) == "NOT_FOUND"
    assert shelf_queries.shelves(house.store, SHOP, None, 10) == ([], None)
    assert refused(publish, house, shelf) == "NOT_FOUND"
    assert house.later(hours=2) == 0, "nothing waits any more"
    assert shelves.delete_shelf(house.store, house.cause("gone"), SHOP, shelf["shelf_id"]).replayed
    assert publish(house, shelf, key="pub")["published_version"] == 1
    assert make(house, module("group_names", group), slug="spring", key="made")["shelf_id"] == shelf["shelf_id"]
    assert make(house, module("group_names", group), slug="spring")["shelf_id"] != shelf["shelf_id"]


def test_a_text_is_kept_without_what_could_run(house):
    html = '<p onclick="x()">好<script>alert(1)</script><a href="javascript:1">茶</a><b>!</b></p>'
    shelf = make(house, module("rich_text", html=html))
    assert shelf["draft"]["modules"][0]["html"] == '<p>好<a rel="noopener noreferrer">茶</a><b>!</b></p>'
    assert refused(make, house, module("rich_text", html="<b>" * 1001)) == "INVALID_ARGUMENT"
    assert refused(make, house, module("rich_text", html="<script>x</script>")) == "INVALID_ARGUMENT", "nothing is left"


def test_publishing_by_many_at_once_makes_a_version_each(house, group):
    shelf = make(house, module("group_names", group))
    told = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(publish(house, shelf, key=f"k{n}")["published_version"]))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [1, 2, 3, 4]
    assert house.store.shelf_versions.count_documents({}) == 4


def test_a_shop_has_an_end_of_shelves_and_groups(house, group, monkeypatch):
    value = policy.Policy.value
    most = {"shelf_count": 1, "group_count": 1}
    monkeypatch.setattr(policy.Policy, "value", lambda self, name, when: most.get(name) or value(self, name, when))
    make(house, module("group_names", group), key="first")
    assert refused(make, house, module("group_names", group)) == "CONDITION_UNMET"
    assert refused(groups.create_group, house.store, house.cause(), SHOP, "x", []) == "CONDITION_UNMET"
    make(house, module("group_names", group), key="first")


# ---------------------------------------------------------------------------------------------------------- at a time ahead


def schedule(house, shelf, version=0, key=None, **ahead):
    when = clock.business() + timedelta(**ahead)
    return shelves.schedule_publish(house.store, house.cause(key), SHOP, shelf["shelf_id"], version, when).document


def test_a_publish_waits_for_its_time_and_shows_what_the_draft_was_when_it_was_asked_for(house, group, pictures):
    shelf = make(house, module("group_names", group), name="双十一")
    told = schedule(house, shelf, hours=2)
    assert (told["schedule"]["version"], told["published_version"], told["versions"]) == (1, 0, 1)
    said = {"name": "以后", "banner": "", "modules": [module("group_names", group)]}
    shelves.update_shelf(house.store, house.cause(), (SHOP, shelf["shelf_id"]), "", said)
    assert house.later(hours=1) == 0
    assert refused(seen, house, shelf, pictures) == "NOT_FOUND"
    assert house.later(hours=1) == 1
    assert (seen(house, shelf, pictures)["name"], seen(house, shelf, pictures)["version"]) == ("双十一", 1)
    row = shelf_queries.shelf_row(house.store, SHOP, shelf["shelf_id"])
    assert "schedule" not in row
    assert "due_at" not in row
    assert house.later(hours=1) == 0


def test_a_publish_that_waits_is_replaced_and_taken_back(house, group, pictures):
    shelf = make(house, module("group_names", group))
    schedule(house, shelf, hours=1)
    assert schedule(house, shelf, hours=3)["schedule"]["version"] == 2
    assert house.later(hours=2) == 0, "the first time means nothing any more"
    assert publish(house, shelf, 1)["schedule"]["version"] == 2, "what is published by hand leaves it waiting"
    left = shelves.cancel_schedule(house.store, house.cause("c"), SHOP, shelf["shelf_id"]).document
    assert left["schedule"] is None
    assert house.later(hours=2) == 0
    assert seen(house, shelf, pictures)["version"] == 1
    assert shelves.cancel_schedule(house.store, house.cause("c"), SHOP, shelf["shelf_id"]).replayed


@pytest.mark.parametrize("ahead", [{"seconds": -1}, {"days": 367}])
def test_a_time_that_is_over_or_in_another_age_is_named(house, group, ahead):
    shelf = make(house, module("group_names", group))
    assert refused(schedule, house, shelf, **ahead) == "INVALID_ARGUMENT"
    assert house.store.shelf_versions.count_documents({}) == 0


def test_two_workers_that_see_the_same_time_publish_once(house, group):
    shelf = make(house, module("group_names", group))
    schedule(house, shelf, hours=1, key="wait")
    clock.see(clock.offset_ms() + 3_600_001)
    (timer,) = [timer for timer in house.timers._timers if timer.collection == "shelves"]
    (due,) = house.timers._due(timer)
    version = due["version"]
    for _ in range(2):
        house.timers._run(timer, due, version)
    row = shelf_queries.shelf_row(house.store, SHOP, shelf["shelf_id"])
    assert (row["published_version"], row["version"]) == (1, version + 1)
    assert schedule(house, shelf, hours=5, key="wait")["published_version"] == 0, (
        "asked again it is told what it was told"
    )
    assert shelf_queries.shelf_row(house.store, SHOP, shelf["shelf_id"]) == row


# ------------------------------------------------------------------------------------------------------------------ everybody


def test_every_module_is_filled_with_what_is_on_sale(house, goods, group, pictures):
    ended, coming = clock.business() - timedelta(hours=1), clock.business() + timedelta(hours=1)
    shelf = make(
        house,
        module("products", group, count=2),
        module("group_pictures", group),
        module("grid", columns=3, product_ids=[goods[4], goods[3], goods[0]]),
        module("rich_text", html="<p>好</p>"),
        module("countdown", title="将要", end_time=coming, ended_text="完了"),
        module("countdown", title="已经", end_time=ended, ended_text="完了"),
        module("countdown", title="不见", end_time=ended),
        module("banner", image=U, link="/x"),
    )
    publish(house, shelf)
    shown = seen(house, shelf, pictures)["modules"]
    kinds = ["products", "group_pictures", "grid", "rich_text", "countdown", "countdown", "banner"]
    assert [each["kind"] for each in shown] == kinds
    assert [row["product_id"] for row in shown[0]["groups"][0]["products"]] == goods[:2]
    assert shown[0]["groups"][0]["product_count"] == 5
    assert [row["product_id"] for row in shown[1]["groups"][0]["products"]] == [*goods[:3], goods[4]]
    assert [row["product_id"] for row in shown[2]["products"]] == [goods[4], goods[0]]
    assert [(each["title"], each["ended"]) for each in shown[4:6]] == [("将要", False), ("完了", True)]


def test_who_is_not_on_sale_makes_room_for_the_next_of_the_group(house, goods, pictures):
    ordered = [goods[3], goods[4], goods[0], goods[1]]
    group = groups.create_group(house.store, house.cause(), SHOP, "热卖", ordered).document["group_id"]
    shelf = make(house, module("products", group, count=2))
    publish(house, shelf)
    [shown] = seen(house, shelf, pictures)["modules"]
    assert [row["product_id"] for row in shown["groups"][0]["products"]] == [goods[4], goods[0]]


def test_a_background_shelf_shows_no_banner(house, group, pictures):
    shelf = make(house, module("background", group, background=U), banner=U)
    publish(house, shelf)
    assert seen(house, shelf, pictures)["banner"] == ""


def test_a_long_shelf_comes_in_pages_of_whole_modules_of_one_version(house, group, pictures, monkeypatch):
    value = policy.Policy.value
    monkeypatch.setattr(
        policy.Policy,
        "value",
        lambda self, name, when: 5 if name == "shelf_page_products" else value(self, name, when),
    )
    shelf = make(house, *(module("products", group, count=n) for n in (2, 3, 4, 1, 9)))
    publish(house, shelf)
    sizes, place = [], None
    while True:
        page = seen(house, shelf, pictures, place)
        sizes.append([len(each["groups"][0]["products"]) for each in page["modules"]])
        if not page["next"]:
            break
        place = (page["version"], page["next"])
    assert sizes == [[2, 3], [4, 1], [4]]
    publish(house, shelf)
    assert refused(seen, house, shelf, pictures, place) == "INVALID_PAGE_TOKEN"


def test_the_rest_of_a_group_is_paged_only_where_a_published_shelf_shows_it(house, goods, group, pictures):
    hidden = groups.create_group(house.store, house.cause(), SHOP, "内部", goods).document["group_id"]
    shelf = make(house, module("products", group, count=1), slug="s")
    publish(house, shelf)
    seen_ids, after = [], None
    while True:
        page, after = storefront.shelf_products(house.store, (SHOP, "s", group), after, 2, pictures)
        seen_ids += [row["product_id"] for row in page["products"]]
        if after is None:
            break
    assert seen_ids == [*goods[:3], goods[4]]
    for asked in ((SHOP, "s", hidden), (OTHER, "s", group), (SHOP, "t", group)):
        assert refused(storefront.shelf_products, house.store, asked, None, 2, pictures) == "NOT_FOUND"


def test_a_page_of_a_shelf_asks_the_database_seven_times_whatever_it_holds(house, group, pictures):
    shelf = make(house, *(module("products", group, count=n) for n in range(1, 9)))
    publish(house, shelf)
    house.counter.names.clear()
    seen(house, shelf, pictures)
    assert len(house.counter.names) <= 7, house.counter.names


def test_of_a_product_with_many_skus_a_shelf_shows_the_first_hundred(house, pictures):
    many = [sku(f"色{number}", price=1000 - number) for number in range(120)]
    house.upsert(product("many", skus=many))
    shelf = make(house, module("grid", columns=1, product_ids=[house.product("many")["_id"]]))
    publish(house, shelf)
    (shown,) = seen(house, shelf, pictures)["modules"][0]["products"]
    assert (len(shown["skus"]), shown["sku_count"], shown["price"]) == (100, 120, 881)


def test_a_preview_shows_the_draft_or_a_version_of_this_shelf_only(house, group, pictures):
    shelf = make(house, module("group_names", group))
    publish(house, shelf)
    said = {"name": "夏", "banner": "", "modules": [module("group_names", group)]}
    shelves.update_shelf(house.store, house.cause(), (SHOP, shelf["shelf_id"]), "", said)

    def preview(version, shop=SHOP):
        return storefront.preview(house.store, shop, shelf["shelf_id"], version, None, pictures)

    assert [preview(version)["name"] for version in (0, 1)] == ["夏", "春"]
    assert refused(preview, 0, OTHER) == "NOT_FOUND"
    shelves.delete_shelf(house.store, house.cause(), SHOP, shelf["shelf_id"])
    assert refused(preview, 1) == "NOT_FOUND"


def test_a_shelf_is_made_seen_by_everybody_in_one_step_and_its_draft_replaced_so_too(house, group, pictures):
    store, said = house.store, {"name": "春", "banner": "", "modules": [module("products", group, count=2)]}

    def made():
        return shelves.create_shelf(store, house.cause("one"), SHOP, "spring", said, publish=True)

    first, again = made(), made()
    assert (again.replayed, again.document["shelf_id"]) == (True, first.document["shelf_id"])
    assert [outcome.document["published_version"] for outcome in (first, again)] == [1, 1]
    shown = seen(house, first.document, pictures)
    assert (shown["version"], len(shown["modules"][0]["groups"][0]["products"])) == (1, 2)
    place, other = (SHOP, first.document["shelf_id"]), {**said, "name": "夏"}
    with pytest.raises(Refusal, match="ETAG_MISMATCH"):
        shelves.update_shelf(store, house.cause(), place, "7", other, publish=True)
    steps = [shelves.update_shelf(store, house.cause("two"), place, "1", other, publish=True) for _ in range(2)]
    assert [(step.replayed, step.document["published_version"], step.document["draft"]["name"]) for step in steps] == [
        (False, 2, "夏"),
        (True, 2, "夏"),
    ]
    assert seen(house, first.document, pictures)["name"] == "夏"
    assert made().document["published_version"] == 1, "as this request made it"


def test_a_module_is_filled_however_many_of_its_groups_first_products_are_off_sale(house, pictures):
    names = [f"g{number:02}" for number in range(60)]
    house.upsert(*(product(name, listed=number >= 45) for number, name in enumerate(names)))
    ids = [house.product(name)["_id"] for name in names]
    number = groups.create_group(house.store, house.cause(), SHOP, "清仓", ids).document["group_id"]
    three, all_of_them = module("products", number, count=3), module("products", number, count=20)
    shelf = make(house, three, all_of_them)
    publish(house, shelf)
    shown = [part["groups"][0]["products"] for part in seen(house, shelf, pictures)["modules"]]
    assert [[row["product_id"] for row in rows] for rows in shown] == [ids[45:48], ids[45:]]


def test_a_group_read_after_a_product_was_deleted_does_not_name_it(house, goods, group):
    house.move(goods[0], "delisted")
    bulk.delete(house.bulk(), [ProductRef(external_id="p1")])
    shown, ids = group_queries.group(house.store, SHOP, group)
    assert (shown["product_count"], ids) == (4, goods[1:])
