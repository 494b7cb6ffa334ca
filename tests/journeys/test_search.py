"""Search through HTTP: what a shop changes is found, and only that; wrong questions are told apart; the guide goes as it says."""

import json
import subprocess
import sys

import pytest

from services.cli.demo.catalog import product
from tests.backends.processes import wait_until
from tests.journeys import guides

GUIDE = "docs/search.md"
SEEN_WITHIN_S = 60.0
"""Some two seconds on a machine that does nothing else; this is the patience of a test on a busy one."""


def names(api, **asked):
    """What a search finds, in order."""
    return [hit["name"] for hit in api.get("/v1/search", **asked)["products"]]


def upsert(shop, *items):
    made = shop.api.post("/v1/products:bulkUpsert", {"items": list(items), "policy": "reject_all"})
    return [row["product_id"] for row in made["results"]]


def becomes(api, shop, q, *wanted):
    """A search in the shop finds these, soon."""
    asked = {"q": q, "shop_id": shop.shop_id}
    wait_until(lambda: sorted(names(api, **asked)) == sorted(wanted), f"{q}: {wanted}", seconds=SEEN_WITHIN_S)


def test_what_a_shop_changes_is_found_within_seconds(api, admin, shop):
    first, second = upsert(shop, product("one", "青花瓷碗", 3_000, 5), product("two", "白瓷碗", 2_000, 5))
    becomes(api, shop, "瓷碗", "青花瓷碗", "白瓷碗")
    cheap = {"q": "瓷碗", "shop_id": shop.shop_id, "sort": "price_asc"}
    wait_until(lambda: names(api, **cheap) == ["白瓷碗", "青花瓷碗"], "the other copy", seconds=SEEN_WITHIN_S)
    sku = api.get(f"/v1/products/{second}")["product"]["skus"][0]["sku_id"]
    priced = {"sku_id": sku, "price": 9_000, "original_price": 9_000}
    assert shop.api.post("/v1/products:bulkUpdatePrice", {"items": [priced]})["updated"] == 1
    dear = {"q": "瓷碗", "shop_id": shop.shop_id, "price_min": 8_000}
    wait_until(lambda: names(api, **dear) == ["白瓷碗"], "the new price", seconds=SEEN_WITHIN_S)
    shop.api.post(f"/v1/products/{first}:delist")
    becomes(api, shop, "瓷碗", "白瓷碗")
    shop.api.post(f"/v1/products/{first}:list")
    becomes(api, shop, "瓷碗", "青花瓷碗", "白瓷碗")
    shop.api.post("/v1/products:bulkUpdateStock", {"items": [{"sku_id": sku, "delta": -5, "request_id": "out"}]})
    bought = {"q": "瓷碗", "shop_id": shop.shop_id, "in_stock": True}
    wait_until(lambda: names(api, **bought) == ["青花瓷碗"], "one to be sold out", seconds=SEEN_WITHIN_S)
    admin.post(f"/v1/shops/{shop.shop_id}:suspend", {"reason": "抽查"})
    becomes(api, shop, "瓷碗")
    admin.post(f"/v1/shops/{shop.shop_id}:reopen")
    becomes(api, shop, "瓷碗", "青花瓷碗", "白瓷碗")


def paged(api, **asked):
    """The names of all pages."""
    page = api.get("/v1/search", **asked)
    found = [hit["name"] for hit in page["products"]]
    while token := page.get("next_page_token", ""):
        page = api.get("/v1/search", **asked, page_token=token)
        found += [hit["name"] for hit in page["products"]]
    return found


def test_pages_follow_each_other(api, shop):
    upsert(shop, *[product(f"p{number}", f"搪瓷杯 {number}", 1_000 + number, 1) for number in range(7)])
    asked = {"q": "搪瓷杯", "shop_id": shop.shop_id, "sort": "price_asc", "page_size": 3}
    wanted = [f"搪瓷杯 {number}" for number in range(7)]
    wait_until(lambda: paged(api, **asked) == wanted, "the cups", seconds=SEEN_WITHIN_S)
    tokens = []  # a copy may remember its answer of a moment ago
    wait_until(lambda: tokens.append(api.get("/v1/search", **asked)["next_page_token"]) or bool(tokens[-1]), "a token")
    refused = api.ask("GET", "/v1/search", params={**asked, "q": "碗", "page_token": tokens[-1]})
    assert (refused.status, refused.reason) == (400, "INVALID_PAGE_TOKEN")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"q": "裙" * 101}, "q"),
        ({"price_min": -1}, "price_min"),
        ({"price_min": 9, "price_max": 5}, "price_max"),
        ({"attributes": "红色"}, "attributes[0]"),
        ({"sort": "cheapest"}, "sort"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_question_names_its_field(api, asked, field):
    refused = api.ask("GET", "/v1/search", params=asked)
    assert (refused.status, [each["field"] for each in refused.body["errors"]]) == (400, [field])


def test_there_is_no_such_category(api):
    assert api.ask("GET", "/v1/search", params={"category_id": 7}).status == 404


def test_only_admins_have_it_rebuilt(shop, buyer, api):
    for caller in (shop.api, buyer.api, api):
        assert caller.ask("POST", "/v1/search:rebuild").status in (401, 403)
        assert caller.ask("GET", "/v1/search/status").status in (401, 403)
        assert caller.ask("GET", "/v1/search/check").status in (401, 403)


def test_the_command_makes_a_shops_part_anew_and_says_how_many_it_holds(stack, api, admin, auditor, shop):
    """That of everything is in tests/faults/test_search_killed.py: here the other tests' shops would wait for it."""
    upsert(shop, product("one", "紫砂壶", 3_000, 5))
    becomes(api, shop, "紫砂壶", "紫砂壶")
    command = [sys.executable, "-m", "services.cli.main", "search", "rebuild", "--data", str(stack.data)]
    told = subprocess.run(
        [*command, "--shop", shop.shop_id], cwd=guides.ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "1 products on sale can be found\n"
    becomes(api, shop, "紫砂壶", "紫砂壶")
    (checked,) = auditor.get("/v1/search/check", shop_id=shop.shop_id)["shops"]
    nothing = {"missing": [], "outdated": [], "surplus": []}
    assert checked == {"shop_id": shop.shop_id, "on_sale": 1, "held": 1, **nothing}
    assert admin.ask("POST", "/v1/search:rebuild", {"shop_id": "nobody"}).status == 404
    assert auditor.ask("GET", "/v1/search/check", params={"shop_id": "nobody"}).status == 404
    status = auditor.get("/v1/search/status")
    assert (status["state"], status["late"]) == ("ready", False)


def test_the_session_of_the_guide_goes_as_it_says(stack, shop):
    given = {"TOKEN": shop.merchant.token, "SHOP": shop.shop_id}
    told = guides.run(guides.sessions(GUIDE)[0], stack, **given).split("\n")
    dear, red, blue, sold_out, counted, completed = told[:6]
    assert dear == "法式碎花连衣裙, 纯棉连衣裙"
    assert (red, blue, sold_out) == ("法式碎花连衣裙", "法式碎花连衣裙", "")
    facets = {facet["name"]: facet["counts"] for facet in json.loads(counted)["facets"]}
    assert [one["value"] for one in facets["price"]] == ["10000-20000"]
    assert {one["value"] for one in facets["颜色"]} == {"红色", "蓝色"}
    assert "连衣裙" in json.loads(completed)["suggestions"]
