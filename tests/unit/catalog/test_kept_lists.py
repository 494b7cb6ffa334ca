"""Pages of lists are kept for a moment, and what a merchant wrote is on them at once, whichever server is asked."""

from types import SimpleNamespace

import pytest
from jishi.catalog.v1 import products_pb2 as pb
from jishi.catalog.v1 import shelves_pb2

from services.catalog.queries.images import Pictures
from services.catalog.server.lists import ListCalls
from services.catalog.store import Store
from services.chassis import clock
from services.chassis.errors import Refusal
from services.chassis.fresh import Fresh
from services.chassis.tokens import NOBODY
from tests.unit.catalog.making import OTHER, SHOP, product

FOR_EVER_S = 1_000_000.0


def server(house):
    """A copy of the catalog's server, as far as lists go; it would keep a page for ever."""
    calls = ListCalls()
    calls._store = Store(house.database)
    calls._pictures = Pictures("http://shop.example", Fresh(0.0))
    calls._lists, calls._public_lists = Fresh(FOR_EVER_S), Fresh(FOR_EVER_S)
    return calls


def names(page):
    return [getattr(row, "external_id", "") or row.name for row in page.products]


def own(calls, **wanted):
    return names(calls.ListProducts(None, pb.ListProductsRequest(shop_id=SHOP, **wanted)))


def wrote(calls, shop_id=SHOP):
    """What the rpc layer tells after a write."""
    calls.written(SimpleNamespace(caller=SimpleNamespace(kind="merchant", shop_id=shop_id)))


def asked(house):
    found, house.counter.finds[:] = [name for name, _ in house.counter.finds], []
    return found


def test_a_page_is_kept_until_its_merchant_writes_by_any_server(house):
    one, another = server(house), server(house)
    house.upsert(product("p1"))
    assert own(one) == own(another) == ["p1"]
    asked(house)
    assert own(one) == ["p1"]
    assert asked(house) == ["own_writes", "imports"]
    house.upsert(product("p2"))
    wrote(another)
    assert own(one) == own(another) == ["p2", "p1"]
    wrote(another, OTHER)
    asked(house)
    assert own(one) == ["p2", "p1"]
    assert "products" not in asked(house), "another shop's writes are no reason to read again"


def test_each_question_has_a_page_of_its_own(house):
    house.upsert(product("on"), product("off", listed=False))
    calls = server(house)
    for _ in range(2):
        assert own(calls) == ["off", "on"]
        assert own(calls, state=pb.PRODUCT_STATE_LISTED) == ["on"]
        assert own(calls, page_size=1) == ["off"]
        assert own(calls, external_id="on") == ["on"]


def test_what_others_write_is_no_write_of_the_merchant(house):
    calls = server(house)
    for caller in (NOBODY, SimpleNamespace(kind="buyer", shop_id=""), SimpleNamespace(kind="admin", shop_id="")):
        calls.written(SimpleNamespace(caller=caller))
    assert house.database["own_writes"].count_documents({}) == 0


def test_nothing_is_kept_while_an_import_is_worked_on(house):
    calls = server(house)
    assert own(calls) == []
    queued = house.queue("Handle,Title,Variant Price\na,甲,1\n")
    wrote(calls)
    assert own(calls) == []
    house.finish(queued.document["_id"])
    assert own(calls) == ["a"], "no call was made since, and the page is new all the same"


def test_a_moved_clock_has_pages_of_its_own(house):
    calls = server(house)
    own(calls)
    house.later(days=1)
    asked(house)
    own(calls)
    assert "products" in asked(house)
    clock.reset()


def test_everybody_sees_what_is_on_sale_newest_first_in_pages(house):
    house.upsert(*[product(f"p{number}") for number in range(5)], product("draft", listed=False))
    house.upsert(product("theirs"), shop=OTHER)
    calls, token, pages = server(house), "", []
    while token or not pages:
        request = shelves_pb2.ListPublicProductsRequest(shop_id=SHOP, page_size=2, page_token=token)
        answer = calls.ListPublicProducts(None, request)
        pages.append(names(answer))
        token = answer.next_page_token
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(name for page in pages for name in page) == [f"商品 p{number}" for number in range(5)]
    (cheapest, *_) = answer.products
    assert (cheapest.price, cheapest.available, cheapest.sku_count, len(cheapest.skus)) == (1000, 20, 2, 0)
    asked(house)
    calls.ListPublicProducts(None, shelves_pb2.ListPublicProductsRequest(shop_id=SHOP, page_size=2))
    assert asked(house) == []


def test_a_category_alone_and_a_shop_that_is_not_open(house):
    house.upsert(product("a"), product("b", category_id=538010001, properties=[{"name": "品牌", "value": "x"}]))
    calls = server(house)
    found = calls.ListPublicProducts(None, shelves_pb2.ListPublicProductsRequest(shop_id=SHOP, category_id=538010001))
    assert names(found) == ["商品 b"]
    house.open_shop("shop_3", state="suspended")
    for shop_id in ("shop_3", "nobody"):
        with pytest.raises(Refusal, match="shop"):
            calls.ListPublicProducts(None, shelves_pb2.ListPublicProductsRequest(shop_id=shop_id))
