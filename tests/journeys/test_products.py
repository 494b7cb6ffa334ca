"""Bulk calls on products, their lists and versions through HTTP: by their shop, by another one, twice, with nonsense."""

import secrets

import pytest

from services.cli.demo.catalog import product
from tests.backends.processes import wait_until

HASH = "ab" * 32


def coded(identity, price=1000, **more):
    item = product(identity, f"商品 {identity}", price, 10)
    item["skus"] = [{**sku, "merchant_sku": f"{identity}-{n}"} for n, sku in enumerate(item["skus"])]
    return {**item, **more}


def put(shop, *items):
    made = shop.api.post("/v1/products:bulkUpsert", {"items": list(items)})
    assert made["failed"] == 0, made
    return [row["product_id"] for row in made["results"]]


def bulk(api, name, *items, key="", **more):
    return api.ask("POST", f"/v1/products:bulk{name}", {"items": list(items), **more}, key=key)


def told(answer):
    return [
        (row["outcome"], [(problem["field"], problem["reason"]) for problem in row["problems"]])
        for row in answer.body["results"]
    ]


def shown(shop, identity):
    return shop.api.get(f"/v1/products/{identity}")["product"]


def test_two_hundred_prices_in_one_call(shop):
    names = [f"p{n}" for n in range(200)]
    (first, *_) = put(shop, *(coded(name) for name in names))
    items = [{"merchant_sku": f"{name}-0", "price": 700, "original_price": 1500} for name in names]
    done = bulk(shop.api, "UpdatePrice", *items, key="k")
    assert (done.status, done.body["updated"], len(done.body["results"])) == (200, 200, 200)
    again = bulk(shop.api, "UpdatePrice", *items, key="k")
    assert (again.replayed, again.body) == (True, done.body)
    assert bulk(shop.api, "UpdatePrice", *items[1:], key="k").reason == "IDEMPOTENCY_KEY_REUSED"
    assert (shown(shop, first)["skus"][0]["price"], shown(shop, first)["version"]) == (700, 2)


def test_bad_items_are_told_and_the_policy_decides(shop):
    put(shop, coded("a"), coded("b"))
    items = [
        {"merchant_sku": "a-0", "price": 5},
        {"merchant_sku": "nobody", "price": 5},
        {"merchant_sku": "b-0", "price": 5000},
    ]
    refused = bulk(shop.api, "UpdatePrice", *items, policy="reject_all")
    assert [outcome for outcome, _ in told(refused)] == ["skipped", "failed", "failed"]
    done = bulk(shop.api, "UpdatePrice", *items)
    assert told(done) == [
        ("updated", []),
        ("failed", [("merchant_sku", "NOT_FOUND")]),
        ("failed", [("original_price", "PRICE_ABOVE_ORIGINAL")]),
    ]
    stopped = bulk(shop.api, "UpdatePrice", *reversed(items), policy="stop_after_n", max_errors=1)
    assert [outcome for outcome, _ in told(stopped)] == ["failed", "skipped", "skipped"]


def test_a_product_is_listed_delisted_and_deleted_in_bulk(shop, api):
    draft, listed = put(shop, coded("a", listed=False), coded("b"))
    items = [{"product_id": draft, "state": "listed"}, {"external_id": "b", "state": "delisted"}]
    assert told(bulk(shop.api, "UpdateStatus", *items)) == [("updated", []), ("updated", [])]
    assert told(bulk(shop.api, "Delete", {"product_id": draft}, {"external_id": "b"}, key="d")) == [
        ("failed", [("product_id", "WRONG_STATE")]),
        ("deleted", []),
    ]
    assert bulk(shop.api, "Delete", {"product_id": draft}, {"external_id": "b"}, key="d").replayed
    assert shown(shop, listed)["state"] == "deleted"
    assert api.ask("GET", f"/v1/products/{listed}").status == 404
    assert [row["product_id"] for row in shop.api.get("/v1/products")["products"]] == [draft]
    assert [row["product_id"] for row in shop.api.get("/v1/products", state="deleted")["products"]] == [listed]
    assert put(shop, coded("b")) != [listed]


def test_stock_is_set_by_what_was_read(shop):
    (identity,) = put(shop, coded("a"))
    made = bulk(
        shop.api,
        "UpdateStock",
        {"merchant_sku": "a-0", "quantity": 50, "expected_on_hand": 10, "request_id": "r1"},
        {"merchant_sku": "a-0", "quantity": 60, "expected_on_hand": 10, "request_id": "r2"},
        {"merchant_sku": "a-0", "delta": -1, "request_id": "r3"},
    )
    assert [(row["ok"], row["field"], row["reason"]) for row in made.body["results"]] == [
        (True, "", ""),
        (False, "expected_on_hand", "VERSION_CONFLICT"),
        (True, "", ""),
    ]
    assert shown(shop, identity)["skus"][0]["on_hand"] == 49


def test_another_shops_products_are_not_there(shop, open_shop):
    (identity,) = put(shop, coded("a"))
    sku_id = shown(shop, identity)["skus"][0]["sku_id"]
    other = open_shop("别家")
    missing = [("failed", [("product_id", "NOT_FOUND")])]
    assert told(bulk(other.api, "UpdateStatus", {"product_id": identity, "state": "delisted"})) == missing
    assert told(bulk(other.api, "Delete", {"product_id": identity})) == missing
    for name, item in (
        ("UpdatePrice", {"sku_id": sku_id, "price": 1}),
        ("UpdatePrice", {"merchant_sku": "a-0", "price": 1}),
    ):
        ((outcome, ((_, reason),)),) = told(bulk(other.api, name, item))
        assert (outcome, reason) == ("failed", "NOT_FOUND")
    (row,) = bulk(other.api, "UpdateStock", {"sku_id": sku_id, "delta": -1, "request_id": "r"}).body["results"]
    assert (row["ok"], row["reason"]) == (False, "NOT_FOUND")
    assert shown(shop, identity)["version"] == 1
    assert shown(shop, identity)["skus"][0]["on_hand"] == 10


@pytest.mark.parametrize("name", ["UpdatePrice", "UpdateStatus", "Delete", "UpdateStock"])
def test_who_may_not_and_what_is_nonsense_is_refused(shop, api, buyer, name):
    assert bulk(api, name, {}).status == 401
    assert bulk(api.as_caller(secrets.token_hex(20)), name, {}).status == 401
    assert bulk(buyer.api, name, {}).status == 403
    assert bulk(shop.api, name, {}, shop_id="shop_of_others").status == 403
    assert [error["field"] for error in bulk(shop.api, name).body["errors"]] == ["items"]
    many = [{"state": "listed"} if name == "UpdateStatus" else {}] * 201
    assert [error["field"] for error in bulk(shop.api, name, *many).body["errors"]] == ["items"]
    assert [error["field"] for error in bulk(shop.api, name, {"what": 1}).body["errors"]] == ["items[0].what"]
    assert [error["field"] for error in bulk(shop.api, name, 7).body["errors"]] == ["items[0]"]
    answer = bulk(shop.api, name, {"state": "listed"} if name == "UpdateStatus" else {})
    assert answer.status == 200
    failed = [row for row in answer.body["results"] if row.get("outcome", "failed") == "failed" and not row.get("ok")]
    assert len(failed) == 1


def test_what_a_seller_assures_is_shown(shop, api):
    assured = {
        "terms": {"receipt": True, "warranty": True, "returns": False},
        "location": {"country": "中国", "province": "浙江省", "city": "杭州市", "address": ""},
        "certificates": [{"kind": "质检报告", "file_hash": HASH}],
    }
    plain, full = put(shop, coded("plain"), coded("full", **assured))
    assert {name: api.get(f"/v1/products/{full}")["product"][name] for name in assured} == assured
    assert "terms" not in shown(shop, plain)
    answer = shop.api.post("/v1/products:bulkUpsert", {"items": [coded("x", certificates=[{"kind": "a"}])]})
    assert [problem["field"] for problem in answer["results"][0]["problems"]] == ["certificates[0].file_hash"]


def test_who_sees_which_version(shop, open_shop, buyer, api, admin, arbitrator):
    (identity,) = put(shop, coded("a"))
    bulk(shop.api, "UpdateStatus", {"product_id": identity, "state": "delisted"})
    put(shop, coded("a", name="没人看过", listed=False))
    other = open_shop("别家")
    first, second = (f"/v1/products/{identity}/versions/{number}" for number in (1, 2))
    for caller in (shop.api, other.api, buyer.api, admin, arbitrator):
        assert caller.get(first)["product"]["name"] == "商品 a"
    for caller, status in ((shop.api, 200), (admin, 200), (arbitrator, 200), (other.api, 404), (buyer.api, 404)):
        assert caller.ask("GET", second).status == status
    assert api.ask("GET", first).status == 401


def pages(api, **filters):
    found, token = [], ""
    while True:
        page = api.get("/v1/products", page_token=token, **filters)
        assert len(page["products"]) <= filters["page_size"]
        found += [row["external_id"] for row in page["products"]]
        token = page["next_page_token"]
        if not token:
            return found


def test_products_are_found_by_what_a_developer_knows(shop, open_shop):
    names = [f"p{n}" for n in range(7)]
    put(shop, coded("p0"))  # a call earlier than the others, so its last change is too
    put(shop, *(coded(name, category_id=538010001 if name == "p3" else 0) for name in names[1:]))
    put(open_shop("别家"), coded("p1"))
    assert sorted(pages(shop.api, page_size=3)) == names
    assert pages(shop.api, page_size=3, category_id=538010001, state="listed") == ["p3"]
    assert pages(shop.api, page_size=3, external_id="p1") == ["p1"]
    assert pages(shop.api, page_size=3, merchant_sku="p2-0") == ["p2"]
    assert pages(shop.api, page_size=3, merchant_sku="p2-0", external_id="p1") == []
    assert pages(shop.api, page_size=3, merchant_sku="p2-0", state="draft") == []
    assert pages(shop.api, page_size=3, external_id="nobody") == []
    latest = max(row["update_time"] for row in shop.api.get("/v1/products")["products"])
    assert sorted(pages(shop.api, page_size=2, updated_since="2020-01-01T00:00:00Z")) == names
    bulk(shop.api, "UpdatePrice", {"merchant_sku": "p5-0", "price": 1}, {"merchant_sku": "p4-0", "price": 1})
    bulk(shop.api, "UpdateStatus", {"external_id": "p6", "state": "delisted"})
    bulk(shop.api, "Delete", {"external_id": "p6"})
    since = {"updated_since": latest, "page_size": 1}
    assert {"p4", "p5", "p6"} <= set(pages(shop.api, **since)) <= set(names[1:])
    assert "p6" not in pages(shop.api, state="listed", **since)
    token = shop.api.get("/v1/products", **since)["next_page_token"]
    wrong = shop.api.ask("GET", "/v1/products", params={"page_token": token, "page_size": 1})
    assert wrong.reason == "INVALID_PAGE_TOKEN"
    assert shop.api.ask("GET", "/v1/products", params={"updated_since": "gestern"}).body["errors"][0]["field"] == (
        "updated_since"
    )


def test_a_merchant_sees_at_once_what_was_just_written_and_everybody_within_a_second(shop, api):
    """Two copies of every server answer, and both keep pages."""
    path = f"/v1/public/shops/{shop.shop_id}/products"
    assert api.get(path)["products"] == []
    for number in range(6):
        put(shop, coded(f"p{number}"))
        assert shop.api.get("/v1/products")["products"][0]["external_id"] == f"p{number}"
        (change,) = bulk(shop.api, "UpdateStock", {"merchant_sku": f"p{number}-0", "delta": number + 1}).body["results"]
        assert change["ok"]
        assert shop.api.get("/v1/products")["products"][0]["skus"][0]["on_hand"] == 11 + number
    wait_until(lambda: len(api.get(path)["products"]) == 6, "the public list is at most a second old")
    assert [row["name"] for row in api.get(path, page_size=2)["products"]] == ["商品 p5", "商品 p4"]
    assert api.ask("GET", "/v1/public/shops/nobody/products").reason == "NOT_FOUND"
