"""The search index over the shipped sample: what is found, in which order, counted how; and that it keeps up."""

import tomllib
from pathlib import Path

import pytest

from services.catalog.commands import categories as editing
from services.catalog.commands import search as commands
from services.catalog.model import feeding, fetches, images
from services.catalog.model.category_edits import Asked, Wanted
from services.catalog.queries import search as queries
from services.catalog.queries.images import Pictures
from services.catalog.store.search import words
from services.catalog.store.search.folder import Folder
from services.catalog.store.search.keeper import Keeper, everything
from services.chassis import clock
from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal
from services.chassis.fresh import Fresh
from tests.backends.processes import wait_until
from tests.unit.catalog.making import OTHER, SHOP, House, product, sku

SAMPLE = Path(__file__).parents[3] / "services/catalog/samples/products.zh.csv"
EXPECTED = tomllib.loads(Path(__file__).with_name("searches.toml").read_text(encoding="utf-8"))["search"]
SAID = {
    "q": "",
    "shop_id": "",
    "category_id": 0,
    "price_min": 0,
    "price_max": 0,
    "attributes": [],
    "sort": "",
    "in_stock": False,
    "facets": False,
}


class Index:
    """A catalog with its index, kept by a thread of its own."""

    def __init__(self, world, place):
        self.house = House(world)
        self.folder = Folder(place / queries.FOLDER)
        self.search = queries.Search(self.house.store, place)
        self.keeper = None

    def start(self):
        self.keeper = Keeper(self.house.store, self.folder)
        self.keeper.start()
        wait_until(lambda: self.search.status()["state"] == "ready", "the index")

    def tell(self):
        """The worker hands the events of the catalog to the feed."""
        for collection in ("chunks", "products"):
            for event in self.house.told(collection):
                name = {"jishi.catalog.import.chunk_applied.v1": "feed_chunk"}.get(event["type"], "feed_product")
                self.house.deliver(event, name)

    def shop_is(self, state):
        """The other shop's state changes: the copy and the feed hear of it."""
        data = {**self.house.store.shop(OTHER), "state": state}
        data = {name: data[name] for name in ("shop_id", "account_id", "name", "state", "currency", "identity")}
        number = self.house.number + 1
        for handler in ("copy_shop", "feed_shop"):
            self.house.hear("jishi.accounts.shop.changed.v1", data, subject=OTHER, number=number, handler=handler)

    def rebuild(self):
        return commands.rebuild(self.house.store, self.house.cause()).document["_id"]

    def find(self, q="", size=20, place=None, **said):
        answer, offset = self.search.page({**SAID, "q": q, **said}, place, size)
        return {**answer, "place": None if offset is None else (offset, answer["relaxed"])}

    def paged(self, **said):
        """The ids of all pages."""
        page = self.find(**said)
        found = [hit["product_id"] for hit in page["products"]]
        while page["place"] is not None:
            page = self.find(place=page["place"], **said)
            found += [hit["product_id"] for hit in page["products"]]
        return found

    def names(self, q="", **said):
        return [hit["name"] for hit in self.find(q, **said)["products"]]

    def close(self):
        if self.keeper is not None:
            self.keeper.stop()
        self.house.client.close()
        clock.reset()


@pytest.fixture(scope="module")
def sample(module_memory_world, tmp_path_factory):
    """The shipped products, and some made for the list."""
    found = Index(module_memory_world, tmp_path_factory.mktemp("search"))
    job = found.house.do_import(SAMPLE.read_bytes(), name="jishi-csv")
    assert (job["state"], job["failed"]) == ("completed", 0)
    found.start()
    yield found
    found.close()


@pytest.fixture
def index(memory_world, tmp_path):
    found = Index(memory_world, tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["q"])
def test_what_people_type_finds_what_they_mean(sample, row):
    found = sample.find(row["q"], size=50)["products"]
    assert found, "nothing"
    assert row["first"] in found[0]["name"], [hit["name"] for hit in found[:5]]
    for unwanted in row.get("never", ()):
        assert not [hit["name"] for hit in found if unwanted in hit["name"]]


def test_two_values_in_the_words_must_be_of_one_sku(index):
    index.house.upsert(
        product("both", name="碎花连衣裙", axes=["颜色", "尺码"], skus=[sku("红色", "M"), sku("蓝色", "XL")]),
        product("one", name="素色连衣裙", axes=["颜色", "尺码"], skus=[sku("红色", "XL"), sku("蓝色", "M")]),
        product("none", name="连衣裙", axes=["颜色", "尺码"], skus=[sku("绿色", "S")]),
    )
    index.start()
    assert sorted(index.names("连衣裙")) == ["碎花连衣裙", "素色连衣裙", "连衣裙"]
    for text in ("红色 XL", "红色xl连衣裙", "连衣裙 ＸＬ 红色"):
        assert index.names(text) == ["素色连衣裙"], text
    assert index.names(attributes=["颜色:红色", "尺码:M"]) == ["碎花连衣裙"]
    assert index.names(attributes=["颜色:红色", "尺码:S"]) == []
    assert sorted(index.names("红色")) == ["碎花连衣裙", "素色连衣裙"]


def test_a_word_in_a_value_and_a_description_say_nothing_of_another_sku(index):
    axes = ["颜色", "尺码"]
    said = [{"text": "也有红色的面料", "image": ""}]
    index.house.upsert(
        product("dark", name="短裤甲", axes=axes, skus=[sku("大红色", "M"), sku("蓝色", "XL")]),
        product("inches", name="短裤乙", axes=axes, skus=[sku("红色", "M"), sku("蓝色", "XL(175/96A)")]),
        product("told", name="短裤丙", axes=axes, skus=[sku("绿色", "XL")], detail=said),
        product("words", name="短裤丁", axes=axes, skus=[sku("大红色", "XL(175/96A)")]),
        product("named", name="红色短裤戊", axes=["尺码"], skus=[sku("XL")]),
    )
    index.start()
    for asked in ({}, {"in_stock": True}):
        found = index.find("红色 XL", **asked)
        assert (sorted(hit["name"] for hit in found["products"]), found["relaxed"]) == (["短裤丁", "红色短裤戊"], False)


def test_filters_orders_facets_and_pages(sample):
    tree = sample.house.store.tree()
    women = next(found for found in tree if found.path == "女装")
    dresses = next(found for found in tree if found.path == "女装/连衣裙")
    whole = sample.find(category_id=women.id, size=100)
    assert whole["total"] == len(whole["products"]) > 30
    low = sample.find(category_id=women.id, sort="price_asc", size=100)["products"]
    prices = [hit["price"] for hit in low]
    assert prices == sorted(prices)
    assert sorted(prices, reverse=True) == [
        hit["price"] for hit in sample.find(category_id=women.id, sort="price_desc", size=100)["products"]
    ]
    within = sample.find(category_id=dresses.id, price_min=20_000, price_max=30_000, size=100)["products"]
    assert within
    assert all(20_000 <= hit["price"] <= 30_000 for hit in within)
    told = sample.find(category_id=women.id, facets=True)
    counts = {facet["name"]: {one["value"]: one["count"] for one in facet["counts"]} for facet in told["facets"]}
    assert sum(counts["category"].values()) == sum(counts["price"].values()) == whole["total"]
    assert counts["category"][str(dresses.id)] == sample.find(category_id=dresses.id)["total"]
    assert counts["尺码"]["M"] == sample.find(category_id=women.id, attributes=["尺码:M"])["total"] > 5
    paged = sample.paged(category_id=women.id, sort="price_asc", size=7)
    assert len(paged) == len(set(paged)) == whole["total"]


def test_only_what_can_be_bought_is_shown_when_asked_for(sample):
    dress = "法式碎花雪纺连衣裙"
    assert any(dress in name for name in sample.names("碎花雪纺连衣裙", attributes=["颜色:粉色", "尺码:M"]))
    assert not any(
        dress in name for name in sample.names("碎花雪纺连衣裙", attributes=["颜色:粉色", "尺码:M"], in_stock=True)
    )
    assert any(
        dress in name for name in sample.names("碎花雪纺连衣裙", attributes=["颜色:粉色", "尺码:L"], in_stock=True)
    )
    shown = sample.paged(q="连衣裙", size=2, in_stock=True)
    assert len(shown) == len(set(shown)) > 5


@pytest.mark.parametrize(
    ("called", "letter"),
    [
        ("裙子", "裙"),
        ("箱子", "箱"),
        ("靴子", "靴"),
        ("杯子", "杯"),
        ("椅子", "椅"),
        ("夏天穿的裙子", "裙"),
        ("包包", "包"),
    ],
)
def test_what_people_call_a_thing_finds_the_names_that_end_so(sample, called, letter):
    found = sample.find(called, size=10)["products"]
    assert found
    assert all(letter in words.heads(hit["name"]) for hit in found), [hit["name"] for hit in found]


def test_where_no_product_holds_every_word_those_that_hold_most_are_shown_and_it_is_said(sample):
    found = sample.find("碎花 连衣裙 潜水艇")
    assert (found["relaxed"], "碎花" in found["products"][0]["name"]) == (True, True)
    assert sample.find("潜水艇模型")["products"] == []


def test_what_is_typed_is_completed(sample):
    assert "连衣裙" in sample.search.suggest("连", 10)["suggestions"]
    assert "半山 连衣裙" in sample.search.suggest("半山 连", 10)["suggestions"]
    assert "女装/连衣裙" in [found["path"] for found in sample.search.suggest("连衣", 10)["categories"]]
    assert sample.search.suggest(" ", 10) == {"suggestions": [], "categories": []}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"q": "裙" * 101}, "q"),
        ({"price_min": -1}, "price_min"),
        ({"price_min": 5, "price_max": 4}, "price_max"),
        ({"attributes": ["红色"]}, "attributes[0]"),
        ({"attributes": ["颜色:红", "颜色:蓝"]}, "attributes[1]"),
        ({"attributes": ["a:1", "b:1", "c:1", "d:1"]}, "attributes"),
    ],
)
def test_a_wrong_question_names_its_field(sample, said, field):
    with pytest.raises(Refusal) as refused:
        sample.find(**said)
    assert [found.field for found in refused.value.violations] == [field]


@pytest.mark.parametrize("text", ["", " ", "\x00", '()[]:*?~^"', "AND OR NOT", "a" * 100, "𠮷野家", "👗", "%_", "-1"])
def test_nothing_that_is_typed_is_an_error(sample, text):
    sample.find(text, facets=True)
    sample.search.suggest(text, 10)


def test_a_shop_is_looked_at_again_when_our_copy_tells_what_the_event_says():
    def verdict(row, shop, kind=feeding.SHOP_CHANGED):
        return feeding.decide_row({"row": row, "shop": shop}, kind, 7).verdict

    assert verdict(None, None) is verdict(None, {"sequence": 6}) is Verdict.EARLY
    assert verdict(None, {"sequence": 7}) is verdict(None, {"sequence": 9}) is Verdict.APPLY
    assert verdict(None, None, "jishi.catalog.product.moved.v1") is Verdict.APPLY
    assert verdict({"at": 1}, {"sequence": 7}) is Verdict.DONE


def test_text_becomes_terms():
    assert words.terms("法式碎花雪纺连衣裙") == ["法式", "碎花", "雪纺", "连衣", "衣裙", "连衣裙"]
    assert words.terms("iPhone15 ＰＲＯ 手机壳") == ["手机", "壳", "iphone15", "iphone", "15", "pro"]
    assert words.letters("304不锈钢 U盘") == ["304", "不", "锈", "钢", "u", "盘"]
    assert words.asked("红色XL 连衣裙 红色") == ["红色", "xl", "连衣裙"]


# ---------------------------------------------------------------------------------------------------------------- keeping up


def test_it_follows_what_happens_to_products_and_shops(index):
    index.house.upsert(product("a", name="青花碗"), product("b", name="白瓷碗"))
    index.start()
    assert sorted(index.names("碗")) == ["白瓷碗", "青花碗"]

    def becomes(*wanted):
        index.tell()
        wait_until(lambda: sorted(index.names("碗")) == sorted(wanted), f"the index to hold {wanted}")

    index.house.upsert(product("c", name="粗陶碗"), shop=OTHER)
    becomes("白瓷碗", "青花碗", "粗陶碗")
    index.house.upsert(product("a", name="青花盘"))
    becomes("白瓷碗", "粗陶碗")
    row = index.house.product("b")
    index.house.move(row["_id"], "delisted")
    becomes("粗陶碗")
    index.house.move(row["_id"], "listed")
    becomes("白瓷碗", "粗陶碗")
    index.shop_is("suspended")
    becomes("白瓷碗")
    index.shop_is("open")
    becomes("白瓷碗", "粗陶碗")


def test_a_price_by_bulk_call_is_followed(index):
    index.house.upsert(product("a", name="青花碗", skus=[sku("红", price=500)]))
    index.start()
    index.house.reprice("a", 300)
    index.tell()
    wait_until(lambda: index.find("碗")["products"][0]["price"] == 300, "the new price")


def test_one_keeps_it_and_the_next_goes_on_where_the_first_was_killed(index):
    index.house.upsert(product("a", name="青花碗"))
    index.start()
    second = Keeper(index.house.store, index.folder)
    second.start()
    index.keeper.stop()
    index.house.upsert(product("b", name="白瓷碗"))
    index.tell()
    wait_until(lambda: index.find("碗")["total"] == 2, "the second keeper to take over")
    second.stop()


def test_a_rebuild_answers_all_the_while_and_comes_to_the_same(index):
    index.house.upsert(*[product(f"p{number}", name=f"碗 {number}") for number in range(60)])
    index.start()
    before = dict(everything(index.folder.open(index.folder.pointer()["name"])))
    rebuild_id = index.rebuild()
    seen = set()

    def done():
        seen.add(index.find("碗")["total"])
        return index.search.status()["rebuild_id"] == rebuild_id and index.search.status()["state"] == "ready"

    wait_until(done, "the rebuild", every=0.01)
    assert seen == {60}
    assert dict(everything(index.folder.open(index.folder.pointer()["name"]))) == before
    assert len([place for place in index.folder.place.iterdir() if place.is_dir()]) == 2, (
        "the one in force, and the one before for who reads it"
    )


def test_a_renamed_category_is_found_by_its_new_name_without_a_rebuild(index):
    shop, cause = index.house, index.house.cause
    tree = shop.store.tree()
    women, dresses = tree.find("女装"), tree.find("女装/连衣裙")
    shop.upsert(product("a", name="碎花长款", category_id=dresses.id), product("b", name="素色短款"))
    index.start()
    in_force = index.folder.pointer()
    assert index.names("女装") == ["碎花长款"]
    asked = Wanted("淑女之选", (Asked("颜色", ("红", "蓝")),))
    editing.change(shop.store, cause(), "admin:a", women.id, asked, str(women.version), "改名")
    wait_until(lambda: index.names("淑女之选") == ["碎花长款"], "the new name")
    assert index.names("女装 碎花", category_id=women.id) == ["碎花长款"]  # relaxed: the old name is gone
    assert index.find("女装 碎花")["relaxed"]
    made = editing.create(shop.store, cause(), "admin:a", women.id, Wanted("旗袍", asked.skus), "新", leaf=True).answer
    shop.upsert(product("c", name="丝绸立领", category_id=made["_id"]))
    index.tell()
    wait_until(lambda: index.names("旗袍") == ["丝绸立领"], "the new category")
    held = index.folder.revision
    wait_until(
        lambda: held(in_force["name"]) == shop.store.tree().revision, "the tree with the new category to be held"
    )
    assert index.names(category_id=women.id, sort="price_asc", q="丝绸") == ["丝绸立领"]
    index.keeper.stop()  # what is edited while nobody keeps the index is done by who comes next
    editing.change(shop.store, cause(), "admin:a", made["_id"], Wanted("旗袍唐装", asked.skus), "1", "改名")
    index.start()
    wait_until(lambda: index.names("唐装") == ["丝绸立领"], "the edit")
    assert index.folder.pointer() == in_force


def test_the_check_names_what_the_index_does_not_hold_as_it_is_and_one_shop_is_mended_alone(index):
    house = index.house
    house.upsert(*[product(name, name=f"碗 {name}") for name in "abc"])
    house.upsert(product("d", name="别家的碗"), shop=OTHER)
    house.told("products"), house.told("chunks")  # these events never come to the feed
    index.start()
    (agreeing, other), after = index.search.check("", None, 2)
    assert (agreeing["held"], other["held"], agreeing["missing"], after) == (3, 1, [], None)
    ids = {name: house.product(name)["_id"] for name in "abc"}
    house.move(ids["a"], "delisted")
    house.upsert(product("b", name="改了的碗"), product("e", name="新的碗"))
    house.told("products"), house.told("chunks")
    (told,), _ = index.search.check("", None, 1)
    missing = [house.product("e")["_id"]]
    assert told == {
        "shop_id": SHOP,
        "on_sale": 3,
        "held": 3,
        "missing": missing,
        "outdated": [ids["b"]],
        "surplus": [ids["a"]],
    }
    asked = house.cause()
    first = commands.rebuild_shop(house.store, asked, SHOP)
    again = commands.rebuild_shop(house.store, asked, SHOP)
    assert (again.replayed, again.document["_id"]) == (True, first.document["_id"])
    wait_until(lambda: index.search.status()["held_until"] > first.document["at"], "the keeper")
    (told,), _ = index.search.check(SHOP, None, 1)
    assert (told["missing"], told["outdated"], told["surplus"]) == ([], [], [])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        commands.rebuild_shop(house.store, house.cause(), "nobody")


def test_an_index_that_lags_is_told_as_late(index, monkeypatch):
    index.start()
    assert not index.search.status()["late"]
    index.keeper.stop()
    wall_ms = clock.wall_ms
    monkeypatch.setattr(clock, "wall_ms", lambda: wall_ms() + 31_000)
    assert index.search.status()["late"]


def test_hits_show_pictures_that_were_fetched_at_our_own_address(index):
    house, ours = index.house, "https://market.example"
    given = "https://img.example.com/1.jpg"
    index.search = queries.Search(house.store, index.folder.place.parent, Pictures(ours, Fresh(0.0)))
    house.upsert(product("a", name="青花碗"))
    house.upsert(product("b", name="白瓷碗"), shop=OTHER)
    fetched = fetches.waiting(SHOP, "imp_1", given) | {"state": fetches.FETCHED, "image_id": "x1"}
    house.database["image_sources"].insert_one(fetched)
    index.start()
    assert [hit["image"] for hit in index.find("碗")["products"]] == [given, given]
    house.database["shops"].update_one({"_id": SHOP}, {"$set": {"shows_fetched": True}})
    shown = {hit["name"]: hit["image"] for hit in index.find("碗")["products"]}
    assert shown == {"青花碗": images.url(ours, "x1"), "白瓷碗": given}


def test_before_the_first_index_it_says_so(index):
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        index.find("碗")
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        index.search.check("", None, 20)
    assert (index.search.status()["state"], index.search.status()["late"]) == ("missing", True)
