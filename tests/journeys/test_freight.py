"""Freight through HTTP: regions, templates, products that use them, quotes, and what a checkout takes."""

import json
import re

import pytest

from services.catalog.model.freight import cost
from services.cli.demo.catalog import product
from tests.journeys import guides
from tests.journeys.test_catalog import done

RULE = {"start_units": 1, "start_fee": 1000, "step_units": 1, "step_fee": 300}
NEAR = {**RULE, "start_fee": 600}
EXPRESS = {
    "carrier_class": "express",
    "default_rule": RULE,
    "destinations": [{"province": "浙江省", "rule": NEAR}],
}
BODY = {"name": "标准", "valuation": "piece", "carriers": [EXPRESS]}
HANGZHOU = {"province": "浙江省", "city": "杭州市"}


def make(shop, **more):
    return shop.api.post("/v1/freight-templates", {**BODY, **more})["template"]


def path_of(template):
    return f"/v1/freight-templates/{template['template_id']}"


def uses(template, name="p", **more):
    freight = {"kind": "template", "template_id": template["template_id"]}
    return {**product(name, "商品", 1000, 20), "freight": freight, **more}


def put(shop, *items):
    results = shop.api.post("/v1/products:bulkUpsert", {"items": list(items)})["results"]
    return [line(shop, result["product_id"]) for result in results]


def line(shop, product_id, quantity=1):
    found = shop.api.get(f"/v1/products/{product_id}")["product"]
    return {"product_id": product_id, "sku_id": found["skus"][0]["sku_id"], "quantity": quantity}


def quote(api, *lines, to=HANGZHOU):
    return api.ask("POST", "/v1/public/freight:quote", {"lines": list(lines), "destination": to})


def fields(answer):
    return [error["field"] for error in answer.body["errors"]]


def test_anybody_reads_the_regions_and_keeps_them(api, buyer):
    answer = api.ask("GET", "/v1/public/regions")
    assert (answer.status, answer.body["country"], len(answer.body["provinces"])) == (200, "中国", 31)
    assert sum(len(province["cities"]) for province in answer.body["provinces"]) == 339
    assert buyer.api.get("/v1/public/regions") == answer.body
    again = api.ask("GET", "/v1/public/regions", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304


def test_a_template_lives_through_http_once_and_again(shop):
    first = shop.api.ask("POST", "/v1/freight-templates", BODY, key="make")
    again = shop.api.ask("POST", "/v1/freight-templates", BODY, key="make")
    assert (first.status, again.status, again.replayed) == (201, 201, True)
    assert again.body == first.body
    made = first.body["template"]
    assert (made["payer"], made["valuation"], made["etag"], made["shop_id"]) == ("buyer", "piece", "1", shop.shop_id)
    assert made["carriers"][0]["destinations"][0] == {"country": "中国", "province": "浙江省", "city": "", "rule": NEAR}
    other = {**BODY, "name": "别的"}
    assert shop.api.ask("POST", "/v1/freight-templates", other, key="make").reason == "IDEMPOTENCY_KEY_REUSED"
    path = path_of(made)
    assert shop.api.get(path)["template"] == made
    changed = shop.api.ask("PUT", path, {**other, "etag": "1"}, key="change")
    repeated = shop.api.ask("PUT", path, {**other, "etag": "1"}, key="change")
    assert (changed.body["template"]["name"], changed.body["template"]["etag"]) == ("别的", "2")
    assert (repeated.body, repeated.replayed) == (changed.body, True)
    stale = shop.api.ask("PUT", path, {**other, "etag": "1"})
    assert (stale.status, stale.reason, fields(stale)) == (412, "ETAG_MISMATCH", ["etag"])
    assert fields(shop.api.ask("PUT", path, other)) == ["etag"]
    assert shop.api.ask("DELETE", path, params={"etag": "1"}).status == 412
    assert shop.api.ask("DELETE", path, params={"etag": "2"}, key="delete").status == 200
    assert shop.api.ask("DELETE", path, params={"etag": "2"}, key="delete").replayed
    assert shop.api.ask("DELETE", path).status == shop.api.ask("GET", path).status == 404
    assert shop.api.ask("POST", "/v1/freight-templates", BODY, key="make").body == first.body


def test_templates_are_listed_page_by_page(shop):
    names = [make(shop, name=f"模板{number}")["name"] for number in range(5)]
    seen, token = [], ""
    while True:
        page = shop.api.get("/v1/freight-templates", page_size=2, page_token=token or None)
        seen += [found["name"] for found in page["templates"]]
        token = page["next_page_token"]
        if not token:
            break
    assert seen == names[::-1]
    assert shop.api.ask("GET", "/v1/freight-templates", params={"page_token": "x"}).reason == "INVALID_PAGE_TOKEN"
    assert fields(shop.api.ask("GET", "/v1/freight-templates", params={"page_size": -1})) == ["page_size"]


def test_templates_are_their_merchants_and_nobody_elses(shop, open_shop, api, buyer, admin):
    made = make(shop)
    other, path = open_shop("别家"), path_of(made)
    assert other.api.ask("GET", path).status == other.api.ask("DELETE", path).status == 404
    assert other.api.ask("PUT", path, {**BODY, "etag": "1"}).status == 404
    assert other.api.get("/v1/freight-templates")["templates"] == []
    result = other.api.post("/v1/products:bulkUpsert", {"items": [uses(made)]})["results"][0]
    assert [found["reason"] for found in result["problems"]] == ["FREIGHT_TEMPLATE_UNKNOWN"]
    assert other.api.ask("GET", "/v1/freight-templates", params={"shop_id": shop.shop_id}).status in (403, 404)
    for method, asked, body in (
        ("GET", path, None),
        ("GET", "/v1/freight-templates", None),
        ("POST", "/v1/freight-templates", BODY),
        ("PUT", path, {**BODY, "etag": "1"}),
        ("DELETE", path, None),
    ):
        assert api.ask(method, asked, body).status == 401
        assert api.as_caller("wrong").ask(method, asked, body).status == 401
        assert buyer.api.ask(method, asked, body).status == admin.ask(method, asked, body).status == 403
    assert shop.api.get(path)["template"] == made


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({**BODY, "carriers": []}, "carriers"),
        ({**BODY, "payer": "nobody"}, "payer"),
        ({**BODY, "carriers": [{**EXPRESS, "carrier_class": "pigeon"}]}, "carriers[0].carrier_class"),
        ({**BODY, "carriers": [{"carrier_class": "ems"}]}, "carriers[0].default_rule"),
        (
            {**BODY, "carriers": [{**EXPRESS, "default_rule": {**RULE, "step_fee": 1.5}}]},
            "carriers[0].default_rule.step_fee",
        ),
        (
            {**BODY, "carriers": [{**EXPRESS, "default_rule": {**RULE, "step_units": 0}}]},
            "carriers[0].default_rule.step_units",
        ),
        ({**BODY, "carriers": [EXPRESS, EXPRESS]}, "carriers[1].carrier_class"),
        ({**BODY, "colour": "red"}, "colour"),
    ],
)
def test_bad_templates_are_refused_by_field(shop, body, field):
    answer = shop.api.ask("POST", "/v1/freight-templates", body)
    assert (answer.status, field in fields(answer)) == (400, True), answer.body


def test_a_misspelt_city_is_told_with_the_one_that_was_meant(shop):
    place = {"province": "浙江省", "city": "杭州", "rule": NEAR}
    carriers = [{**EXPRESS, "carrier_class": "post"}, {**EXPRESS, "destinations": [place]}]
    answer = shop.api.ask("POST", "/v1/freight-templates", {**BODY, "carriers": carriers})
    (error,) = answer.body["errors"]
    assert error["field"] == "carriers[1].destinations[0].city"
    assert '"杭州" is not in the list, did you mean 杭州市?' in str(error)


def test_a_template_in_use_stays_and_says_by_whom(shop):
    made = make(shop)
    (used,) = put(shop, uses(made))
    answer = shop.api.ask("DELETE", path_of(made))
    assert (answer.status, answer.reason) == (409, "CONDITION_UNMET")
    assert used["product_id"] in answer.body["detail"]
    counting = shop.api.ask("PUT", path_of(made), {**BODY, "valuation": "weight", "etag": "1"})
    assert (counting.reason, fields(counting)) == ("CONDITION_UNMET", ["valuation"])
    put(shop, {**uses(made), "freight": {"kind": "flat", "fee": 5}})
    assert shop.api.ask("DELETE", path_of(made)).status == 200


def test_a_quote_is_for_anybody_and_by_shop_and_class(shop, open_shop, api, buyer):
    by_class = [{"carrier_class": "express", "fee": 900}, {"carrier_class": "post", "fee": 300}]
    ours = put(
        shop,
        uses(make(shop), "a"),
        {**product("b", "商品", 1000, 20), "freight": {"kind": "carriers", "carrier_fees": by_class}},
    )
    other = open_shop("别家")
    (theirs,) = put(other, product("c", "商品", 1000, 20))
    for caller in (api, buyer.api, shop.api):
        answer = quote(caller, {**ours[0], "quantity": 3}, theirs, ours[1])
        assert answer.status == 200, answer.body
    first, second = answer.body["shops"]
    (express,) = first["carriers"]
    assert (first["shop_id"], first["currency"], express["carrier_class"], express["fee"]) == (
        shop.shop_id,
        "CNY",
        "express",
        600 + 2 * 300 + 900,
    )
    assert [(part["basis"], part["lines"], part["reach"], part["units"]) for part in express["parts"]] == [
        ("template", [0], "province", 3),
        ("carrier_fee", [2], "", 0),
    ]
    assert (second["shop_id"], [offer["fee"] for offer in second["carriers"]]) == (other.shop_id, [0, 0, 0])
    far = quote(api, ours[0], to={"province": "西藏自治区"}).body["shops"][0]["carriers"][0]
    assert (far["fee"], far["parts"][0]["reach"]) == (1000, "default")


def test_the_session_of_the_guide(stack, shop):
    """The examples of docs/freight.md run as they stand there, and say what the page says."""
    (session,) = guides.sessions("docs/freight.md")
    (told,) = re.findall(r"```json\n(.*?)```", guides.text("docs/freight.md"), re.DOTALL)
    answer = json.loads(guides.run(session, stack, TOKEN=shop.api.token))
    assert contains(answer, json.loads(told)), answer
    assert answer["shops"][0]["shop_id"] == shop.shop_id


def contains(found, told):
    """Whether everything that the page tells is in what was found; … stands for anything."""
    if isinstance(told, dict):
        return all(name in found and contains(found[name], value) for name, value in told.items())
    if isinstance(told, list):
        return len(found) == len(told) and all(map(contains, found, told))
    return found == told or (isinstance(told, str) and told.endswith("…") and found.startswith(told[:-1]))


def test_the_table_of_the_guide_is_what_the_rule_costs():
    page = guides.text("docs/freight.md")
    rows = re.findall(r"^\| ([\d,]+) g \| (\d+)\.00 \|$", page, re.MULTILINE)
    assert len(rows) == 5
    rule = {"start_units": 1000, "start_fee": 1000, "step_units": 500, "step_fee": 400}
    for grams, yuan in rows:
        assert cost(rule, int(grams.replace(",", ""))) == int(yuan) * 100, grams


def test_the_document_of_the_api_tells_how_to_delete(api):
    described = api.get("/openapi.json")["paths"]["/v1/freight-templates/{template_id}"]["delete"]
    assert {(found["name"], found["in"]) for found in described["parameters"]} == {
        ("template_id", "path"),
        ("etag", "query"),
        ("Idempotency-Key", "header"),
    }
    assert "requestBody" not in described


def test_bad_quotes_are_refused_by_field(shop, api):
    lines = put(shop, product("a", "商品", 1000, 20), product("b", "商品", 1000, 20))
    shop.api.post(f"/v1/products/{lines[1]['product_id']}:delist")
    assert fields(quote(api, lines[0], to={**HANGZHOU, "city": "杭州"})) == ["destination.city"]
    assert fields(quote(api, lines[0], to={})) == ["destination.province"]
    assert fields(quote(api)) == ["lines"]
    assert fields(quote(api, {**lines[0], "quantity": -1})) == ["lines[0].quantity"]
    answer = quote(api, *lines)
    assert (answer.status, answer.reason, fields(answer)) == (409, "NOT_FOR_SALE", ["lines[1].product_id"])


def test_a_checkout_pays_what_the_template_says_of_its_place(shop, buyer):
    (asked,) = put(shop, uses(make(shop)))
    address = {**HANGZHOU, "receiver_name": "张三", "zone": "西湖区", "address": "文三路 1 号", "mobile": "13800138000"}
    body = {"lines": [{**asked, "quantity": 3}], "address": address}
    checkout = buyer.api.post("/v1/checkouts", body)["checkout"]
    assert checkout["amount"] == 3 * 1000 + 600 + 2 * 300
    assert checkout["orders"][0]["freight"] == 1200


def test_a_product_file_names_its_freight(shop, api):
    made = make(shop)
    content = (
        "external_id,title,status,price,stock,freight_express,freight_post,freight_template\n"
        f"a,A,listed,5.00,10,,,{made['template_id']}\nb,B,listed,5.00,10,9.00,3.00,\nc,C,listed,5.00,10,,,12345\n"
    )
    job = done(shop.api, content, format="jishi-csv")
    assert (job["created"], job["failed"]) == (2, 1)
    (failed,) = shop.api.get(f"/v1/imports/{job['import_id']}/results", outcome="failed")["results"]
    assert (failed["row"], failed["field"], failed["reason"]) == (4, "freight_template", "FREIGHT_TEMPLATE_UNKNOWN")
    found = {each["external_id"]: each for each in shop.api.get("/v1/products")["products"]}
    assert found["a"]["freight"] == {
        "kind": "template",
        "fee": 0,
        "carrier_fees": [],
        "template_id": made["template_id"],
    }
    lines = [line(shop, found[name]["product_id"]) for name in "ab"]
    (offer,) = quote(api, *lines).body["shops"][0]["carriers"]
    assert (offer["carrier_class"], offer["fee"]) == ("express", 600 + 900)
    again = done(shop.api, content, format="jishi-csv")
    assert (again["unchanged"], again["failed"]) == (2, 1)
