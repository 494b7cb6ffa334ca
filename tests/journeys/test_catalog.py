"""The catalog through HTTP: files, bulk calls, products, groups and shelves, for the shop they belong to and nobody else."""

import time
from pathlib import Path

import pytest

from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.imports import ENDED
from tests.backends.processes import wait_until

SAMPLE = Path("services/catalog/samples/products.zh.csv")
REAL = Path("../shared/data")
HEAD = "Handle,Title,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price\n"


def upload(api, content, key="", **form):
    form = {"format": "shopify-csv", "policy": "reject_failed", **form}
    return api.ask("POST", "/v1/imports", form=form, files={"file": ("p.csv", content, "text/csv")}, key=key)


def ended(api, import_id):
    path = f"/v1/imports/{import_id}"
    wait_until(lambda: api.get(path)["state"] in ENDED, "the import to end")
    return api.get(path)


def done(api, content, **form):
    answer = upload(api, content, **form)
    assert answer.status == 202, answer.body
    return ended(api, answer.body["import_id"])


def counted(job):
    return {name: job[name] for name in ("state", "total", "created", "updated", "unchanged", "failed")}


def test_the_sample_imports_twice(shop):
    content = SAMPLE.read_bytes()
    first = done(shop.api, content, format="jishi-csv")
    assert counted(first) == {
        "state": "completed",
        "total": 362,
        "created": 362,
        "updated": 0,
        "unchanged": 0,
        "failed": 0,
    }
    assert first["rows"] == 1103
    again = done(shop.api, content, format="jishi-csv")
    assert (again["unchanged"], again["created"] + again["updated"] + again["failed"]) == (362, 0)
    listed = shop.api.get("/v1/products", page_size=200)
    assert len(listed["products"]) == 200
    rest = shop.api.get("/v1/products", page_size=200, page_token=listed["next_page_token"])
    assert len({found["product_id"] for found in listed["products"] + rest["products"]}) == 362
    assert rest["next_page_token"] == ""


@pytest.mark.parametrize("name", ["apparel.csv", "home-and-garden.csv"])
def test_real_exports_import_completely(shop, name):
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not beside this checkout; put Shopify's sample exports into ../shared/data to run this")
    job = done(shop.api, (REAL / name).read_bytes())
    assert counted(job) == {"state": "completed", "total": 20, "created": 20, "updated": 0, "unchanged": 0, "failed": 0}


def test_bad_rows_are_told_and_fail_their_product_only(shop):
    rows = "a,A,true,尺码,S,,3,9.90\na,,,,M,,3,cheap\nb,B,true,Title,Default Title,,1,5\n"
    answer = upload(shop.api, HEAD + rows)
    job = ended(shop.api, answer.body["import_id"])
    assert (job["state"], job["rows"], job["total"], job["created"], job["failed"]) == ("completed", 3, 2, 1, 1)
    failed = shop.api.get(f"/v1/imports/{job['import_id']}/results", outcome="failed")["results"]
    assert [(row["row"], row["external_id"], row["field"], row["reason"]) for row in failed] == [
        (3, "a", "Variant Price", "PRICE_INVALID")
    ]
    assert "19.90" in failed[0]["message"]


@pytest.mark.parametrize(
    ("form", "content", "field"),
    [
        ({"format": "xml"}, HEAD, "format"),
        ({"format": "xlsx"}, HEAD, "file"),
        ({"policy": "stop_after_n"}, HEAD, "max_errors"),
        ({"policy": "whatever"}, HEAD, "policy"),
        ({}, "", "file"),
    ],
)
def test_wrong_options_are_refused_at_once(shop, form, content, field):
    answer = upload(shop.api, content, **form)
    assert answer.status == 400
    assert [error["field"] for error in answer.body["errors"]] == [field]


def test_what_is_no_product_file_fails_and_says_why(shop):
    job = done(shop.api, b"\x89PNG\r\n\x1a\n\x00\x00")
    assert (job["state"], job["reason"]) == ("failed", "BINARY_FILE")
    assert "CSV UTF-8" in job["message"]


def test_an_upload_repeated_with_its_key_is_one_import(shop):
    content = HEAD + "a,A,true,Title,Default Title,,1,5\n"
    first, again = upload(shop.api, content, key="same"), upload(shop.api, content, key="same")
    assert first.body["import_id"] == again.body["import_id"]
    assert (first.replayed, again.replayed) == (False, True)
    assert (
        upload(shop.api, content + "b,B,true,Title,Default Title,,1,5\n", key="same").reason == "IDEMPOTENCY_KEY_REUSED"
    )
    ended(shop.api, first.body["import_id"])


def test_a_dry_run_and_an_import_can_be_listed_but_only_by_their_shop(shop, open_shop):
    job = done(shop.api, HEAD + "a,A,true,Title,Default Title,,1,5\n", dry_run="true")
    assert counted(job) == {"state": "ready", "total": 1, "created": 1, "updated": 0, "unchanged": 0, "failed": 0}
    assert shop.api.get("/v1/products")["products"] == []
    assert [found["import_id"] for found in shop.api.get("/v1/imports")["imports"]] == [job["import_id"]]
    other = open_shop("别家")
    path = f"/v1/imports/{job['import_id']}"
    for method, tail in (("GET", ""), ("GET", "/results"), ("POST", ":cancel")):
        assert other.api.ask(method, path + tail).status == 404
    assert shop.api.ask("POST", f"{path}:cancel").reason == "WRONG_STATE"


def test_two_hundred_products_in_one_call_and_the_same_answer_again(shop):
    items = [product(f"bulk-{n}", f"商品 {n}", 1000 + n, 20) for n in range(199)] + [
        {**product("bad", "坏", 100, 1), "skus": []}
    ]
    first = shop.api.ask("POST", "/v1/products:bulkUpsert", {"items": items}, key="bulk")
    assert (first.status, first.body["created"], first.body["failed"]) == (200, 199, 1)
    assert first.body["results"][199]["problems"][0]["field"] == "skus"
    again = shop.api.ask("POST", "/v1/products:bulkUpsert", {"items": items}, key="bulk")
    assert again.replayed
    assert again.body == first.body
    assert (
        shop.api.ask("POST", "/v1/products:bulkUpsert", {"items": items[:1]}, key="bulk").reason
        == "IDEMPOTENCY_KEY_REUSED"
    )
    assert shop.api.post("/v1/products:bulkUpsert", {"items": items})["unchanged"] == 199


def one(shop, name="p", **more):
    made = shop.api.post("/v1/products:bulkUpsert", {"items": [{**product(name, "商品", 1000, 20), **more}]})
    return made["results"][0]["product_id"]


def test_a_draft_is_its_merchants_until_it_is_listed(shop, open_shop, api, buyer):
    path = f"/v1/products/{one(shop, listed=False)}"
    assert (
        api.ask("GET", path).status
        == buyer.api.ask("GET", path).status
        == open_shop("别家").api.ask("GET", path).status
        == 404
    )
    assert open_shop("又一家").api.ask("POST", f"{path}:list").status == 404
    assert shop.api.get(path)["product"]["skus"][0]["on_hand"] == 20
    listed = shop.api.ask("POST", f"{path}:list", key="list")
    assert listed.body["product"]["state"] == "listed"
    assert shop.api.ask("POST", f"{path}:list", key="list").replayed
    wait_until(lambda: api.ask("GET", path).status == 200, "the product to be public")
    seen = api.get(path)["product"]
    assert seen["skus"][0]["available"] == 20
    assert "on_hand" not in seen["skus"][0]
    shop.api.post(f"{path}:delist")
    wait_until(lambda: api.ask("GET", path).status == 404, "the product to be gone")


def test_a_buyer_can_see_the_version_that_was_sold(shop, buyer):
    identity = one(shop)
    one(shop, name="p", images=["https://img.example.com/new.jpg"])
    assert shop.api.get(f"/v1/products/{identity}")["product"]["version"] == 2
    old = buyer.api.get(f"/v1/products/{identity}/versions/1")["product"]
    new = buyer.api.get(f"/v1/products/{identity}/versions/2")["product"]
    assert (old["version"], new["version"], new["images"]) == (1, 2, ["https://img.example.com/new.jpg"])
    assert old["images"] != new["images"]
    assert buyer.api.ask("GET", f"/v1/products/{identity}/versions/3").status == 404


def test_stock_changes_once_under_its_request_id(shop):
    identity = one(shop)
    sku_id = shop.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["sku_id"]
    body = {
        "items": [
            {"sku_id": sku_id, "delta": -5, "request_id": "r1"},
            {"sku_id": sku_id, "delta": -100, "request_id": "r2"},
        ]
    }
    first = shop.api.ask("POST", "/v1/products:bulkUpdateStock", body, key="stock")
    assert [(row["ok"], row["replayed"], row["reason"]) for row in first.body["results"]] == [
        (True, False, ""),
        (False, False, "OUT_OF_STOCK"),
    ]
    again = shop.api.ask("POST", "/v1/products:bulkUpdateStock", body, key="stock")
    assert (again.replayed, again.body) == (True, first.body)
    other = shop.api.ask("POST", "/v1/products:bulkUpdateStock", body, key="another")
    assert [(row["ok"], row["replayed"]) for row in other.body["results"]] == [(True, True), (False, False)]
    assert shop.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["available"] == 15


def test_a_shelf_is_drafted_published_changed_and_rolled_back(shop, api, open_shop):
    identity = one(shop, name="a")
    hidden = one(shop, name="b", listed=False)
    group = shop.api.ask("POST", "/v1/groups", {"name": "新品", "product_ids": [identity]}, key="g").body["group"]
    assert (
        shop.api.ask("POST", "/v1/groups", {"name": "新品", "product_ids": [identity]}, key="g").body["group"] == group
    )
    number = group["group_id"]
    assert (
        shop.api.post(f"/v1/groups/{number}:addProducts", {"product_ids": [hidden, identity]})["group"]["product_count"]
        == 2
    )
    modules = [{"kind": "products", "groups": [{"group_id": number}], "count": 5}]
    body = {"name": "春", "slug": "spring", "modules": modules}
    shelf = shop.api.ask("POST", "/v1/shelves", body, key="s").body["shelf"]
    assert shop.api.ask("POST", "/v1/shelves", body, key="s").replayed
    assert shop.api.ask("POST", "/v1/shelves", body).reason == "ALREADY_EXISTS"
    assert api.ask("GET", shelf["public_path"]).status == 404
    path = f"/v1/shelves/{shelf['shelf_id']}"
    assert open_shop("别家").api.ask("POST", f"{path}:publish").status == 404
    assert shop.api.ask("POST", f"{path}:publish", key="pub").body["shelf"]["published_version"] == 1
    assert shop.api.ask("POST", f"{path}:publish", key="pub").body["shelf"]["versions"] == 1
    wait_until(lambda: api.ask("GET", shelf["public_path"]).status == 200, "the shelf to be public")
    (module,) = api.get(shelf["public_path"])["modules"]
    assert [found["product_id"] for found in module["groups"][0]["products"]] == [identity]
    assert shop.api.ask("PUT", path, {**body, "name": "夏", "slug": ""}).status == 400
    assert shop.api.ask("PUT", path, {"name": "夏", "modules": modules}).body["shelf"]["name"] == "夏"
    assert api.get(shelf["public_path"])["name"] == "春"
    shop.api.post(f"{path}:publish")
    wait_until(lambda: api.get(shelf["public_path"])["name"] == "夏", "the new version")
    shop.api.post(f"{path}:publish", {"version": 1})
    wait_until(lambda: api.get(shelf["public_path"])["name"] == "春", "the old version")
    assert shop.api.ask("POST", f"{path}:publish", {"version": 9}).status == 404
    assert (
        shop.api.post(f"/v1/groups/{number}:removeProducts", {"product_ids": [hidden]})["group"]["product_count"] == 1
    )
    assert [found["name"] for found in shop.api.get("/v1/groups")["groups"]] == ["新品"]
    assert [found["slug"] for found in shop.api.get("/v1/shelves")["shelves"]] == ["spring"]


def test_the_public_shelf_is_at_most_a_second_old_after_a_sale_and_an_import(shop, buyer, api):
    identity = one(shop)
    group = shop.api.post("/v1/groups", {"name": "g", "product_ids": [identity]})["group"]["group_id"]
    modules = [{"kind": "group_names", "groups": [{"group_id": group}]}]
    shelf = shop.api.post("/v1/shelves", {"name": "s", "modules": modules})["shelf"]
    shop.api.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    sku_id = shop.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["sku_id"]

    def available():
        view = api.get(shelf["public_path"])
        return view["modules"][0]["groups"][0]["products"][0]["available"]

    def seen_within(seconds, left):
        began = time.monotonic()
        wait_until(lambda: available() == left, f"{left} on the shelf")
        assert time.monotonic() - began <= seconds

    wait_until(lambda: api.ask("GET", shelf["public_path"]).status == 200, "the shelf to be public")
    for left in (19, 18):
        available()
        line = {"product_id": identity, "sku_id": sku_id, "quantity": 1}
        buyer.api.post("/v1/checkouts", {"lines": [line], "address": ADDRESS})
        seen_within(1.0, left)
    for left in (25, 26):
        available()
        done(shop.api, f"{HEAD}p,商品,true,Title,Default Title,,{left + 2},10.00\n")
        seen_within(1.0, left)


def test_the_navigation_counts_what_imports_and_bulk_calls_brought(shop, api):
    done(shop.api, HEAD + "".join(f"p{n},P,true,Title,Default Title,,1,5\n" for n in range(3)))
    one(shop, category_id=538010001)
    path = f"/v1/public/navigation/{shop.shop_id}"
    wanted = [("未分类", 3), ("女装/连衣裙", 1)]
    wait_until(
        lambda: [(e["category"], e["products"]) for e in api.get(path)["entries"]] == wanted,
        "the categories to be counted",
    )
    wait_until(lambda: "last_import_time" in api.get(path), "the import to be noted")


def test_who_may_not_is_refused(shop, api, buyer):
    body = {"items": [product("x", "X", 100, 1)]}
    assert api.ask("POST", "/v1/products:bulkUpsert", body).status == 401
    assert buyer.api.ask("POST", "/v1/products:bulkUpsert", body).status == 403
    assert upload(buyer.api, HEAD).status == 403
    assert shop.api.ask("POST", "/v1/products:bulkUpsert", {**body, "shop_id": "shop_of_others"}).status == 403
