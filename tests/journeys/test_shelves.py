"""Groups, shelves and views through HTTP: for the shop they belong to, for everybody who looks, and for nobody else."""

from datetime import datetime, timedelta

import pytest

from services.cli.demo.catalog import product
from tests.backends.processes import wait_until

U = "https://img.example.com/1.jpg"


@pytest.fixture
def goods(shop):
    items = [product(f"g{number}", f"茶 {number}", 1000, 20) for number in range(3)]
    return [row["product_id"] for row in shop.api.post("/v1/products:bulkUpsert", {"items": items})["results"]]


@pytest.fixture
def group(shop, goods):
    return shop.api.post("/v1/groups", {"name": "新品", "product_ids": goods})["group"]["group_id"]


def make(shop, group, name="春", **more):
    modules = [{"kind": "products", "groups": [{"group_id": group}], "count": 2}]
    return shop.api.post("/v1/shelves", {"name": name, "modules": modules, **more})["shelf"]


def shown(api, shelf):
    return api.ask("GET", shelf["public_path"])


def test_a_group_is_changed_reordered_renamed_and_deleted(shop, open_shop, goods, group):
    path = f"/v1/groups/{group}"
    moved = shop.api.ask("POST", f"{path}:moveProducts", {"product_ids": goods[2:], "position": 0}, key="m").body
    assert (
        shop.api.ask("POST", f"{path}:moveProducts", {"product_ids": goods[2:], "position": 0}, key="m").body == moved
    )
    assert shop.api.get(path)["product_ids"] == [goods[2], goods[0], goods[1]]
    shop.api.post(f"{path}:changeProducts", {"remove": goods[:1]})
    page = shop.api.get(f"{path}/products", page_size=1)
    rest = shop.api.get(f"{path}/products", page_size=1, page_token=page["next_page_token"])
    assert [row["product_id"] for row in page["products"] + rest["products"]] == [goods[2], goods[1]]
    told = shop.api.ask("PATCH", path, {"name": "热卖", "etag": moved["group"]["etag"]})
    assert (told.status, told.reason) == (412, "ETAG_MISMATCH")
    assert shop.api.ask("PATCH", path, {"name": "热卖"}).body["group"]["name"] == "热卖"
    stranger = open_shop("别家").api
    for verb, door in (("GET", path), ("DELETE", path), ("GET", f"{path}/products")):
        assert stranger.ask(verb, door).status == 404
    assert stranger.ask("PATCH", path, {"name": "x"}).status == 404
    shelf = make(shop, group)
    assert shop.api.ask("DELETE", path).body == {"shelf_ids": [shelf["shelf_id"]]}
    assert shop.api.ask("GET", path).status == 404
    assert shop.api.get("/v1/groups")["groups"] == []


def test_what_a_shelf_does_not_allow_names_the_field(shop, group):
    background = {"kind": "background", "groups": [{"group_id": group}], "background": U}
    names = {"kind": "group_names", "groups": [{"group_id": group}]}
    refused = shop.api.ask("POST", "/v1/shelves", {"name": "春", "modules": [background, names]})
    assert [error["field"] for error in refused.body["errors"]] == ["modules"]
    grid = {"kind": "grid", "columns": 9, "product_ids": ["x"]}
    refused = shop.api.ask("POST", "/v1/shelves", {"name": "春", "modules": [grid]})
    assert {error["field"] for error in refused.body["errors"]} == {"modules[0].columns", "modules[0].product_ids[0]"}
    when = {"publish_time": "2014-05-29T00:00:00+08:00"}
    refused = shop.api.ask("POST", f"/v1/shelves/{make(shop, group)['shelf_id']}:schedule", when)
    assert [error["field"] for error in refused.body["errors"]] == ["publish_time"]


def test_a_public_shelf_is_the_same_byte_by_byte_until_it_shows_something_else(shop, api, group):
    shelf = make(shop, group, slug="tea")
    shop.api.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    wait_until(lambda: shown(api, shelf).status == 200, "the shelf to be public")
    first = shown(api, shelf)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    assert first.headers["Cache-Control"] == "no-cache"
    again = api.ask("GET", shelf["public_path"], headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status, again.headers["ETag"]) == (304, tag)
    shop.api.post(
        f"/v1/groups/{group}:removeProducts",
        {"product_ids": [first.body["modules"][0]["groups"][0]["products"][0]["product_id"]]},
    )
    wait_until(lambda: shown(api, shelf).headers["ETag"] != tag, "the shelf to show something else", seconds=5)


def test_more_of_a_group_comes_in_pages(shop, api, goods, group):
    shelf = make(shop, group)
    shop.api.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    path = f"{shelf['public_path']}/groups/{group}/products"
    wait_until(lambda: api.ask("GET", path).status == 200, "the shelf to be public")
    page = api.get(path, page_size=2)
    rest = api.get(path, page_size=2, page_token=page["next_page_token"])
    assert [row["product_id"] for row in page["products"] + rest["products"]] == goods
    assert rest["next_page_token"] == ""


def test_a_preview_link_shows_the_draft_of_one_shelf_to_whoever_has_it(shop, api, open_shop, group):
    shelf = make(shop, group)
    door = f"/v1/shelves/{shelf['shelf_id']}:preview"
    link = shop.api.post(door, {"lifetime_s": 600})
    seen = api.ask("GET", link["path"])
    assert (seen.status, seen.body["shelf"]["name"], seen.body["shelf"]["version"]) == (200, "春", 0)
    assert seen.headers["Cache-Control"] == "no-store"
    modules = [{"kind": "rich_text", "html": "<p>新<script>x</script></p>"}]
    shop.api.ask("PUT", f"/v1/shelves/{shelf['shelf_id']}", {"name": "夏", "modules": modules})
    assert api.get(link["path"])["shelf"]["modules"][0]["html"] == "<p>新</p>"
    assert shown(api, shelf).status == 404, "nothing is published by it"
    head, body, signature = link["path"].rpartition("/")[2].split(".")
    forged = f"/v1/public/shelf-previews/{head}.{body[:-2]}xx.{signature}"
    assert api.ask("GET", forged).status == 404
    assert api.as_caller(f"{head}.{body}.{signature}").ask("GET", "/v1/shelves").status == 401
    assert api.ask("GET", f"/v1/public/shelf-previews/{shop.api.token}").status == 404, "a token is no link"
    assert open_shop("别家").api.ask("POST", door).status == 404
    assert shop.api.ask("POST", door, {"version": 1}).status == 404
    assert shop.api.ask("POST", door, {"lifetime_s": 604_801}).status == 400
    shop.api.ask("DELETE", f"/v1/shelves/{shelf['shelf_id']}")
    assert api.ask("GET", link["path"]).status == 404


def test_a_publish_waits_until_the_business_clock_is_there(shop, api, admin, group):
    shelf = make(shop, group)
    path = f"/v1/shelves/{shelf['shelf_id']}"
    now = datetime.fromisoformat(admin.post("/v1/sandbox/clock:advance", {"seconds": 1})["now"])
    when = {"publish_time": (now + timedelta(hours=1)).isoformat()}
    told = shop.api.ask("POST", f"{path}:schedule", when, key="s").body["shelf"]
    assert (told["schedule"]["version"], told["published_version"]) == (1, 0)
    assert shop.api.ask("POST", f"{path}:schedule", when, key="s").body["shelf"] == told
    assert shown(api, shelf).status == 404
    admin.post("/v1/sandbox/clock:advance", {"seconds": 3601})
    wait_until(lambda: shown(api, shelf).status == 200, "the shelf to be published")
    after = shop.api.get(path)["shelf"]
    assert after["published_version"] == 1
    assert "schedule" not in after
    versions = shop.api.get(f"{path}/versions")["versions"]
    assert [(row["version"], row["published"]) for row in versions] == [(1, True)]
    assert shop.api.post(f"{path}:unpublish")["shelf"]["published_version"] == 0
    wait_until(lambda: shown(api, shelf).status == 404, "the shelf to be taken off")


def test_views_are_counted_by_day_channel_and_visitor(shop, api, new_buyer, goods, group, open_shop):
    shelf = make(shop, group)
    shop.api.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    wait_until(lambda: shown(shop.api, shelf).status == 200, "the shelf to be public")
    one, other = new_buyer("小明"), new_buyer("小红")
    page = f"/v1/products/{goods[0]}"
    tag = ""
    for _ in range(3):
        tag = one.api.ask("GET", page, params={"channel": "menu"}).headers["ETag"]
    assert (
        api.ask("GET", page, params={"channel": "menu", "visitor": "x1"}, headers={"If-None-Match": tag}).status == 304
    )
    other.api.get(shelf["public_path"], channel="menu")
    one.api.get(shelf["public_path"], channel="ad")
    for visitor in ("x1", "x1", "x2"):
        api.get(shelf["public_path"], channel="NO such code", visitor=visitor)
    api.get(shelf["public_path"])
    shop.api.get(page)

    def today():
        return shop.api.get("/v1/view-days")["days"][-1]

    wait_until(lambda: today()["product_views"] + today()["shelf_views"] == 10, "the views to be counted")
    day = today()
    assert (day["visitors"], day["product_views"], day["shelf_views"]) == (4, 4, 6)
    told = {
        row["channel"]: (row["channel_class"], row["visitors"], row["product_views"], row["shelf_views"])
        for row in day["channels"]
    }
    assert told == {
        "menu": ("inside", 3, 4, 1),
        "ad": ("paid", 1, 0, 1),
        "other": ("", 2, 0, 3),
        "direct": ("", 0, 0, 1),
    }
    assert len(shop.api.get("/v1/view-days")["days"]) == 7
    elsewhere = open_shop("别家").api
    assert elsewhere.get("/v1/view-days")["days"][-1]["visitors"] == 0
    menu = {"channel": "menu", "channel_class": "inside", "visitors": 2, "views": 4}
    assert shop.api.get(f"{page}/view-days")["days"][-1] == {
        "day": day["day"],
        "visitors": 2,
        "views": 4,
        "channels": [menu],
    }
    assert elsewhere.ask("GET", f"{page}/view-days").status == 404
    assert (
        shop.api.ask("GET", "/v1/view-days", params={"from_day": "2026-13-01"}).body["errors"][0]["field"] == "from_day"
    )
    assert {"channel": "menu", "channel_class": "inside"} in api.get("/v1/public/view-channels")["channels"]
