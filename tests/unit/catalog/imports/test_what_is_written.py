"""Imports on a real database: what of a product changes, and what stays."""

import pytest

from services.catalog.commands.groups import create_group
from services.catalog.queries import products as product_queries
from services.chassis.errors import Refusal
from tests.unit.catalog.imports.files import counts, csv
from tests.unit.catalog.making import OTHER, SHOP, product, sku


def test_an_import_creates_then_finds_everything_unchanged(house):
    job = house.do_import(csv(45))
    assert (job["state"], job["rows"], counts(job)) == ("completed", 90, (45, 45, 0, 0, 0))
    assert house.store.products.count_documents({"shop_id": SHOP, "state": "listed"}) == 45
    assert house.stock("p7") == [(5, 0), (5, 0)]
    again = house.do_import(csv(45))
    assert (again["state"], counts(again)) == ("completed", (45, 0, 0, 45, 0))
    assert house.sound()


def test_importing_again_never_brings_sold_stock_back(house):
    house.do_import(csv(2))
    house.reserve(house.line(3, "p1"))
    house.paid(house.line(3, "p1"))
    assert house.stock("p1") == [(2, 0), (5, 0)]
    assert counts(house.do_import(csv(2))) == (2, 0, 0, 2, 0)
    assert house.stock("p1") == [(2, 0), (5, 0)]
    assert counts(house.do_import(csv(2, price="12.00"))) == (2, 0, 2, 0, 0)
    assert house.stock("p1") == [(2, 0), (5, 0)], "the price changed, the quantity was not said anew"
    house.do_import(csv(2, price="12.00", stock=8))
    assert house.stock("p1") == [(8, 0), (8, 0)]
    assert house.sound()


def test_a_draft_without_quantities_does_not_forget_those_said_before(house):
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    house.reserve(house.line(3))
    house.paid(house.line(3))
    house.upsert(product(skus=[sku("红", price=1200, quantity=None), sku("蓝", quantity=None)]))
    assert house.stock() == [(7, 0), (10, 0)]
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    assert house.stock() == [(7, 0), (10, 0)], "10 was said before: what was sold does not come back"
    house.upsert(product(skus=[sku("红", quantity=11), sku("蓝")]))
    assert house.stock() == [(11, 0), (10, 0)]
    assert house.sound()


def test_a_sku_that_leaves_a_file_and_comes_back_with_the_same_number_brings_nothing_back(house):
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    house.reserve(house.line(3))
    house.paid(house.line(3))
    for _ in range(2):
        house.upsert(product(skus=[sku("蓝")]))
        house.upsert(product(skus=[sku("红"), sku("蓝")]))
        assert house.stock() == [(7, 0), (10, 0)], "10 was said before"
    house.upsert(product(skus=[sku("蓝")]))
    house.upsert(product(skus=[sku("红", quantity=None), sku("蓝")]))
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    assert house.stock() == [(7, 0), (10, 0)], "nor by coming back without a number first"
    house.upsert(product(skus=[sku("蓝")]))
    house.upsert(product(skus=[sku("红", quantity=12), sku("蓝")]))
    assert house.stock() == [(12, 0), (10, 0)]
    house.upsert(product(skus=[sku("蓝")]))
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    assert house.stock() == [(10, 0), (10, 0)], "12 was said last"
    assert house.sound()


def test_a_file_without_stock_cells_does_not_forget_those_said_before(house):
    house.do_import(csv(1))
    house.reserve(house.line(3, "p0"))
    house.paid(house.line(3, "p0"))
    house.do_import(csv(1, price="12.00", stock=""))
    house.do_import(csv(1))
    assert house.stock("p0") == [(2, 0), (5, 0)]
    assert house.sound()


def test_a_page_of_products_filters_by_an_index(house):
    house.upsert(*(product(f"p{n}", listed=n % 2 == 0) for n in range(5)))
    wanted = {"state": "listed", "category_id": 0}
    first, edge = product_queries.products(house.store, SHOP, wanted, None, 2)
    rest, end = product_queries.products(house.store, SHOP, wanted, edge, 2)
    listed = [house.product(name)["_id"] for name in ("p0", "p2", "p4")]
    assert [row["product_id"] for row in (*first, *rest)] == sorted(listed, reverse=True)
    assert end is None
    category = house.product()["listing"]["category_id"]
    assert len(product_queries.products(house.store, SHOP, {"state": "", "category_id": category}, None, 9)[0]) == 5
    keys = [tuple(index["key"]) for index in house.store.products.list_indexes()]
    assert {("shop_id", "state", "position"), ("shop_id", "listing.category_id", "state", "position")} <= set(keys)


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "\x7f", "\u0085x", ""])
def test_a_group_has_a_name_of_visible_characters(house, name):
    with pytest.raises(Refusal) as caught:
        create_group(house.store, house.cause(), SHOP, name, [])
    assert caught.value.violations[0].field == "name"
    assert house.store.groups.count_documents({}) == 0


def test_a_file_cannot_take_what_buyers_hold(house):
    house.do_import(csv(1))
    house.reserve(house.line(4, "p0"))
    house.do_import(csv(1, stock=1))
    assert house.stock("p0") == [(4, 4), (1, 0)]
    assert house.sound()


def test_an_old_version_is_kept_when_a_product_changes_that_was_on_sale(house):
    house.do_import(csv(1))
    house.do_import(csv(1, price="12.00"))
    row = house.product("p0")
    assert (row["listing_version"], row["listing"]["skus"][0]["price"]) == (2, 1200)
    old = house.store.versions.find_one({"_id": f"{row['_id']}:1"})
    assert old["listing"]["skus"][0]["price"] == 990
    house.upsert(product("draft", listed=False))
    house.upsert(product("draft", listed=False, name="另一个"))
    assert house.product("draft")["listing_version"] == 1, "nobody saw the draft"


def test_variants_come_and_go_and_their_stock_stays_true(house):
    house.upsert(product())
    red = house.line()["sku_id"]
    house.reserve(house.line(2))
    house.upsert(product(skus=[sku("绿", quantity=1)]))
    assert house.stock() == [(1, 0)]
    house.closed(house.line(2))
    house.upsert(product(skus=[sku("红", quantity=4), sku("绿", quantity=1)]))
    assert house.line()["sku_id"] == red
    assert house.stock() == [(4, 0), (1, 0)]
    assert house.sound()


def test_merchant_skus_are_unique_in_a_shop_and_may_change_places(house):
    first = product("a", skus=[sku("红", merchant_sku="X"), sku("蓝", merchant_sku="Y")])
    second = product("b", skus=[sku("红", merchant_sku="X")])
    third = product("c", skus=[sku("红", merchant_sku="Z")])
    assert [row["outcome"] for row in house.upsert(first, second, third).document["results"]] == [
        "created",
        "failed",
        "created",
    ]
    assert house.upsert(second).document["results"][0]["problems"][0]["field"] == "skus[0].merchant_sku"
    assert house.upsert(second, shop=OTHER).document["created"] == 1
    swapped = product("a", skus=[sku("红", merchant_sku="Y"), sku("蓝", merchant_sku="X")])
    assert house.upsert(swapped).document["updated"] == 1
    assert house.upsert(product("a", skus=[sku("红", merchant_sku="Y")])).document["updated"] == 1
    assert house.upsert(second).document["created"] == 1, "X is free again"
