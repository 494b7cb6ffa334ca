"""Upserts that name their product by our id: they update exactly that one, as it was read, and may set its stock."""

from services.catalog.commands import bulk
from services.catalog.model.bulk import ProductRef
from tests.unit.catalog.making import OTHER, product, sku


def named(house, identity="p1", **more):
    """A product that names what is there by id instead of by the merchant's own."""
    return {**product("", **more), "product_id": house.product(identity)["_id"]}


def results(outcome):
    return [
        (row["outcome"], [(found["field"], found["reason"]) for found in row.get("problems", ())])
        for row in outcome.document["results"]
    ]


def test_a_product_named_by_id_is_updated_and_keeps_its_external_id(house):
    house.upsert(product("p1"))
    before = house.product()
    made = house.upsert(named(house, name="别的名"))
    assert results(made) == [("updated", [])]
    after = house.product()
    assert (after["_id"], after["external_id"], after["listing"]["name"]) == (before["_id"], "p1", "别的名")
    assert results(house.upsert(named(house, name="别的名"))) == [("unchanged", [])]


def test_what_is_deleted_is_not_made_again_by_its_id(house):
    house.upsert(product("p1", listed=False))
    item = named(house)
    bulk.delete(house.bulk(), [ProductRef("", "p1")])
    assert results(house.upsert(item)) == [("failed", [("product_id", "NOT_FOUND")])]
    house.upsert(product("p1", name="新的"))
    assert results(house.upsert(item)) == [("failed", [("product_id", "NOT_FOUND")])]
    assert house.store.products.count_documents({}) == 2


def test_another_shops_product_is_not_there(house):
    house.upsert(product("p1"), shop=OTHER)
    theirs = house.store.products.find_one({})
    item = {**product(""), "product_id": theirs["_id"]}
    assert results(house.upsert(item)) == [("failed", [("product_id", "NOT_FOUND")])]
    assert house.store.products.find_one({}) == theirs


def test_a_product_that_changed_since_it_was_read_stays_as_it_is(house):
    house.upsert(product("p1"))
    read = str(house.product()["version"])
    house.upsert(named(house, name="甲") | {"etag": read})
    late = house.upsert(named(house, name="乙") | {"etag": read})
    assert results(late) == [("failed", [("etag", "ETAG_MISMATCH")])]
    assert house.product()["listing"]["name"] == "甲"


def test_names_that_do_not_go_together_are_told(house):
    house.upsert(product("p1"))
    assert results(house.upsert({**named(house), "external_id": "p2"})) == [
        ("failed", [("external_id", "INVALID_ARGUMENT")])
    ]
    assert results(house.upsert({**product("p1"), "etag": "1"})) == [("failed", [("etag", "INVALID_ARGUMENT")])]


def test_stock_is_set_to_what_was_said_before_where_that_is_asked_for(house):
    house.upsert(product("p1", skus=[sku("M", quantity=10)]))
    house.reserve(house.line(3))
    house.paid(house.line(3))
    assert house.stock("p1") == [(7, 0)]
    assert results(house.upsert(product("p1", skus=[sku("M", quantity=10)]))) == [("unchanged", [])]
    assert house.stock("p1") == [(7, 0)], "the same was said last: what was sold stays sold"
    asked = named(house, skus=[sku("M", quantity=10)]) | {"sets_stock": True}
    assert results(house.upsert(asked)) == [("updated", [])]
    assert house.stock("p1") == [(10, 0)]
    assert results(house.upsert(asked)) == [("unchanged", [])]
    house.reserve(house.line(4), checkout="another")
    house.upsert(named(house, skus=[sku("M", quantity=1)]) | {"sets_stock": True})
    assert house.stock("p1") == [(4, 4)], "what is held for buyers stays"
    assert house.sound()
