"""What a product assures beside the goods, and the versions of it that buyers saw."""

from dataclasses import replace

import pytest

from services.catalog.commands.bulk import update_prices
from services.catalog.commands.products import put_on_sale, take_off_sale
from services.catalog.model.assurances import Assurances, Certificate, Location, Terms, assurances
from services.catalog.model.bulk import Price, SkuRef
from services.catalog.model.products import Freight, ProductDraft, SkuDraft, listing, validate
from services.catalog.queries.products import version
from services.catalog.store import limits
from services.catalog.store.trees import shipped
from services.chassis import clock
from services.chassis.errors import Refusal
from tests.unit.catalog.making import OTHER, SHOP, product, sku

HASH = "0123456789abcdef" * 4
EVERYTHING = {
    "terms": {"receipt": True, "warranty": False, "returns": True},
    "location": {"country": "中国", "province": "浙江省", "city": "杭州市", "address": "龙井村 1 号"},
    "certificates": [{"kind": "质检报告", "file_hash": HASH}],
}
TEA = ProductDraft(
    external_id="a",
    name="茶",
    category_id=538070001,
    axes=("净含量",),
    images=("https://img.example.com/1.jpg",),
    detail=(("text", "好茶"),),
    properties=(("产地", "杭州"),),
    buy_limit=2,
    freight=Freight("flat", 800),
    listed=True,
    skus=(SkuDraft(("100g",), 5800, 6800, 9, "T-1", "690", "", 120, 300),),
)


def test_a_product_that_assures_nothing_has_the_fingerprint_it_always_had():
    """Taken before there were assurances: another one would make every known product look changed."""
    assert TEA.digest == "f54c33ce837dfbf4d387cb49be7c4e8729af4906cbd2ef203d86112f591df595"
    assert not {"terms", "location", "certificates"} & set(listing(TEA, "p1"))


def test_a_fingerprint_changes_with_every_assurance():
    others = [
        Assurances(terms=Terms(receipt=True)),
        Assurances(terms=Terms(warranty=True)),
        Assurances(location=Location(city="杭州市")),
        Assurances(location=Location(province="杭州市")),
        Assurances(certificates=(Certificate("质检报告", HASH),)),
        Assurances(certificates=(Certificate("授权书", HASH),)),
    ]
    drafts = [TEA, *(replace(TEA, assurances=each) for each in others)]
    assert len({draft.digest for draft in drafts}) == len(drafts)
    assert assurances(replace(TEA, assurances=assurances(EVERYTHING)).assurances.said()) == assurances(EVERYTHING)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"location": {"city": "x" * 256}}, ("location.city", "TOO_LONG")),
        ({"location": {"address": "a\nb"}}, ("location.address", "CONTROL_CHARACTER")),
        ({"certificates": [{"kind": "", "file_hash": HASH}]}, ("certificates[0].kind", "CERTIFICATE_INVALID")),
        (
            {"certificates": EVERYTHING["certificates"] + [{"kind": "a", "file_hash": HASH.upper()}]},
            ("certificates[1].file_hash", "CERTIFICATE_INVALID"),
        ),
        ({"certificates": EVERYTHING["certificates"] * 21}, ("certificates", "TOO_MANY")),
    ],
)
def test_what_is_wrong_with_an_assurance_names_its_field(more, expected):
    found = validate(replace(TEA, assurances=assurances(more)), shipped(), limits(clock.business()))
    assert [(problem.field, problem.reason) for problem in found] == [expected]


# -------------------------------------------------------------------------------------------------------------- on a database


def test_assurances_are_kept_shown_and_part_of_the_version(house):
    house.upsert(product())
    house.upsert(product(**EVERYTHING))
    row = house.product()
    assert {name: row["listing"][name] for name in EVERYTHING} == EVERYTHING
    assert row["listing_version"] == 2
    assert house.upsert(product(**EVERYTHING)).document["unchanged"] == 1
    assert "terms" not in version(house.store, row["_id"], 1, "", any_shop=False)


def test_a_known_product_from_before_there_were_assurances_does_not_look_changed(house):
    """A quantity said anew writes the product, but no new version of what buyers see."""
    house.upsert(product())
    item = product()
    item["skus"][0]["quantity"] = 12
    assert house.upsert(item).document["updated"] == 1
    assert house.product()["listing_version"] == 1
    assert house.store.versions.count_documents({}) == 0


def may_see(house, number, shop="", *, any_shop=False):
    try:
        return version(house.store, house.product()["_id"], number, shop, any_shop=any_shop)["name"]
    except Refusal as refusal:
        if refusal.reason != "NOT_FOUND":
            raise
        return None


def test_only_versions_that_were_on_sale_are_for_everybody(house):
    house.upsert(product(name="草稿", listed=False))
    assert may_see(house, 1) is None
    assert (may_see(house, 1, SHOP), may_see(house, 1, OTHER), may_see(house, 1, any_shop=True)) == (
        "草稿",
        None,
        "草稿",
    )
    identity = house.product()["_id"]
    put_on_sale(house.store, house.cause(), SHOP, identity)
    take_off_sale(house.store, house.cause(), SHOP, identity)
    assert may_see(house, 1) == "草稿"
    house.upsert(product(name="没人看过", listed=False))
    assert (may_see(house, 1), may_see(house, 2)) == ("草稿", None)
    house.upsert(product(name="又上架", listed=True))
    assert [may_see(house, number) for number in (1, 2, 3, 4)] == ["草稿", None, "又上架", None]
    assert (may_see(house, 2, SHOP), may_see(house, 2, OTHER), may_see(house, 2, any_shop=True)) == (
        "没人看过",
        None,
        "没人看过",
    )


def test_rows_from_before_it_was_noted_show_what_was_ever_listed(house):
    house.upsert(product(name="旧"))
    identity = house.product()["_id"]
    house.store.products.update_one({"_id": identity}, {"$unset": {"shown": ""}})
    assert may_see(house, 1) == "旧"
    house.upsert(product(name="新"))
    house.store.versions.update_one({"_id": f"{identity}:1"}, {"$unset": {"shown": ""}})
    assert may_see(house, 1) == "旧"


def test_an_order_keeps_the_version_that_its_buyer_saw(house):
    house.upsert(product(name="买时"))
    line = house.line()
    reserved = house.reserve(line).document["lines"][0]
    house.upsert(product(name="后来", category_id=538010001, properties=[{"name": "材质", "value": "棉"}]))
    assert reserved["name"] == "买时"
    assert may_see(house, reserved["product_version"]) == "买时"
    assert may_see(house, 2) == "后来"


def test_every_old_price_is_still_shown_though_only_prices_were_kept_of_it(house):
    house.upsert(product(skus=[sku("红", price=1000), sku("蓝", price=1000)], **EVERYTHING))
    row = house.product()
    red, blue = (found["sku_id"] for found in row["listing"]["skus"])
    for number in range(1, 40):
        item = Price(SkuRef(sku_id=red if number % 3 else blue), 1000 - number)
        update_prices(house.bulk(), [item])
    shown = [version(house.store, row["_id"], number, "", any_shop=False) for number in range(1, 41)]
    prices = [{found["sku_id"]: found["price"] for found in each["skus"]} for each in shown]
    wanted = [{red: 1000, blue: 1000}]
    for number in range(1, 40):
        wanted.append({**wanted[-1], (red if number % 3 else blue): 1000 - number})
    assert prices == wanted
    assert all(each["terms"] == shown[-1]["terms"] for each in shown)
    kept = {found["version"]: "listing" in found for found in house.store.versions.find({})}
    assert [number for number, whole in kept.items() if whole] == [16, 32]


def test_a_price_that_ended_is_shown_on_what_else_the_product_said_then(house):
    house.upsert(product(name="旧"))
    update_prices(house.bulk(), [Price(SkuRef(sku_id=house.product()["listing"]["skus"][0]["sku_id"]), 900)])
    house.upsert(product(name="新"))
    identity = house.product()["_id"]
    shown = [version(house.store, identity, number, "", any_shop=False) for number in (1, 2, 3)]
    assert [(each["name"], each["skus"][0]["price"]) for each in shown] == [("旧", 1000), ("旧", 900), ("新", 1000)]
