"""The category tree through HTTP: everybody reads it, admins edit it, nobody else does."""

import secrets

from services.cli.demo.catalog import product
from tests.backends.processes import wait_until

COLOUR = {"name": "颜色", "values": ["黑色", "白色"]}


def named(prefix="类目"):
    return f"{prefix}{secrets.token_hex(4)}"


def everywhere(check, what):
    """Both copies of the server answer so: they take turns, and each may be a moment behind."""
    wait_until(lambda: all(check() for _ in range(6)), what, seconds=5)


def make(admin, **more):
    body = {"parent_id": 1, "name": named(), "leaf": True, "sku_attributes": [COLOUR], "reason": "新业务", **more}
    return admin.post("/v1/categories", body)["category"]


def put(admin, category, **more):
    kept = {"name": category["name"], "sku_attributes": [COLOUR], "properties": [], "etag": category["etag"]}
    return admin.ask("PUT", f"/v1/categories/{category['id']}", {**kept, "reason": "调整", **more})


def test_categories_are_for_anybody(api):
    found, token = {}, ""
    while True:
        page = api.get("/v1/categories", page_size=150, page_token=token)
        assert len(page["categories"]) <= 150
        found |= {category["path"]: category for category in page["categories"]}
        token = page["next_page_token"]
        if not token:
            break
    assert len(found) > 500
    assert found["未分类"]["leaf"]
    assert found["女装/连衣裙"]["parent_id"] == found["女装"]["id"]
    assert found["食品/茶叶"]["sku_attributes"] == []
    whole = api.get("/v1/categories", parent_id=found["食品"]["id"], with_attributes="true")["categories"]
    assert {each["name"] for each in whole} >= {"茶叶", "休闲零食"}
    assert all(each["sku_attributes"] for each in whole)
    tea = api.get(f"/v1/categories/{found['食品/茶叶']['id']}")["category"]
    assert [attribute["name"] for attribute in tea["sku_attributes"]] == ["净含量", "规格"]
    assert api.ask("GET", "/v1/categories", params={"page_token": "x"}).reason == "INVALID_PAGE_TOKEN"
    assert api.ask("GET", "/v1/categories/7").status == 404


def test_the_tree_is_walked_from_its_root_as_the_old_api_does(api):
    tops = api.get("/v1/categories/1/children")["categories"]
    assert len(tops) >= 20
    waiting, leaves = list(tops), 0
    waiting = waiting[:4]
    while waiting:
        category = waiting.pop()
        if not category["leaf"]:
            waiting += api.get(f"/v1/categories/{category['id']}/children")["categories"]
            continue
        leaves += 1
        axes = api.get(f"/v1/categories/{category['id']}/sku-attributes")["sku_attributes"]
        assert any(len(axis["values"]) >= 2 for axis in axes)
        names = [each["name"] for each in api.get(f"/v1/categories/{category['id']}/properties")["properties"]]
        assert "品牌" in names
    assert leaves > 20
    for tail in ("/children", "/sku-attributes", "/properties"):
        assert api.ask("GET", f"/v1/categories/7{tail}").status == 404


def test_an_admin_makes_changes_and_retires_a_category(admin, api, shop, auditor):
    body = {"parent_id": 1, "name": named(), "leaf": True, "sku_attributes": [COLOUR], "reason": "新业务"}
    first, again = (admin.ask("POST", "/v1/categories", body, key="make") for _ in range(2))
    assert (first.status, again.replayed, again.body) == (201, True, first.body)
    assert admin.ask("POST", "/v1/categories", {**body, "leaf": False}, key="make").reason == "IDEMPOTENCY_KEY_REUSED"
    assert admin.ask("POST", "/v1/categories", body).body["errors"][0]["field"] == "name"
    category = first.body["category"]
    path = f"/v1/categories/{category['id']}"
    everywhere(lambda: api.ask("GET", path).status == 200, "every copy to see it")

    closed = {"name": "甜度", "values": ["全糖", "无糖"], "closed": True}
    changed = put(admin, category, name=f"{category['name']}改", properties=[closed])
    assert (changed.status, changed.body["category"]["etag"]) == (200, "2")
    assert put(admin, category).status == 412
    assert put(admin, category, etag="").body["errors"][0]["field"] == "etag"

    def upserted(identity, **more):
        item = {**product(identity, "茶", 100, 1), "category_id": category["id"], **more}
        return shop.api.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]

    half = [{"name": "甜度", "value": "半糖"}]
    everywhere(lambda: upserted("a", properties=half)["outcome"] == "failed", "every copy to close it")
    (problem,) = upserted("b", properties=half)["problems"]
    assert (problem["field"], problem["reason"]) == ("properties[0].value", "PROPERTY_NOT_OFFERED")
    assert "全糖, 无糖" in problem["message"]
    assert (
        upserted("a", properties=[{"name": "甜度", "value": "无糖"}, {"name": "自己的", "value": "可以"}])["outcome"]
        != "failed"
    )

    assert admin.ask("POST", f"{path}:retire", {"reason": "停办"}, key="gone").body["category"]["retired"]
    assert admin.ask("POST", f"{path}:retire", {"reason": "停办"}, key="gone").replayed
    everywhere(lambda: upserted(named("p"))["outcome"] == "failed", "every copy to retire it")
    assert upserted("a", name="改名")["outcome"] == "updated"
    assert category["id"] not in {each["id"] for each in api.get("/v1/categories/1/children")["categories"]}
    admin.post(f"{path}:restore", {"reason": "恢复"})
    everywhere(lambda: upserted(named("p"))["outcome"] == "created", "every copy to open it again")

    told = auditor.get("/v1/category-changes", category_id=category["id"], page_size=3)
    assert [(row["action"], row["reason"]) for row in told["changes"]] == [
        ("restore", "恢复"),
        ("retire", "停办"),
        ("update", "调整"),
    ]
    assert told["changes"][0]["actor"].startswith("admin:")
    rest = auditor.get(
        "/v1/category-changes", category_id=category["id"], page_size=3, page_token=told["next_page_token"]
    )
    assert [row["action"] for row in rest["changes"]] == ["create"]
    assert "before" not in rest["changes"][0]
    (_, _, update) = told["changes"]
    whole = auditor.get(f"/v1/category-changes/{update['revision']}")["change"]
    assert ([row["name"] for row in whole["after"]["properties"]], whole["before"]["properties"]) == (["甜度"], [])
    assert auditor.ask("GET", "/v1/category-changes/999999999").status == 404


def test_bad_edits_name_the_field(admin):
    for more, field in (
        ({"name": "a/b"}, "name"),
        ({"parent_id": 7}, "parent_id"),
        ({"sku_attributes": []}, "sku_attributes"),
        ({"properties": [{"name": "x", "closed": True}]}, "properties[0].values"),
        ({"reason": ""}, "reason"),
        ({"colour": 1}, "colour"),
    ):
        body = {"parent_id": 1, "name": named(), "leaf": True, "sku_attributes": [COLOUR], "reason": "x", **more}
        answer = admin.ask("POST", "/v1/categories", body)
        assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (400, [field])
    branch = make(admin, leaf=False, sku_attributes=[])
    assert admin.ask("POST", f"/v1/categories/{branch['id']}:retire", {"reason": "x"}).reason == "CONDITION_UNMET"
    assert admin.ask("POST", "/v1/categories/7:retire", {"reason": "x"}).status == 404


def test_nobody_else_edits_the_tree(shop, api, buyer, arbitrator):
    body = {"parent_id": 1, "name": named(), "leaf": True, "sku_attributes": [COLOUR], "reason": "x"}
    for caller, status in ((api, 401), (buyer.api, 403), (shop.api, 403), (arbitrator, 403)):
        assert caller.ask("POST", "/v1/categories", body).status == status
        assert caller.ask("PUT", "/v1/categories/538010001", {"name": "x"}).status == status
        assert caller.ask("POST", "/v1/categories/538010001:retire", {"reason": "x"}).status == status
        assert caller.ask("POST", "/v1/categories/538010001:restore", {"reason": "x"}).status == status
        assert caller.ask("GET", "/v1/category-changes").status == status
        assert caller.ask("GET", "/v1/category-changes/1").status == status
