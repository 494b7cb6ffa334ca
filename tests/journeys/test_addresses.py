"""The address book through HTTP, and an order that is placed with it: its freight is what the quote said."""

import json

from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.demo.trade import order as order_of
from tests.journeys import guides

NEAR = {"start_units": 1, "start_fee": 500, "step_units": 1, "step_fee": 100}
FAR = {"start_units": 1, "start_fee": 2500, "step_units": 1, "step_fee": 900}
SLOW = {"start_units": 1, "start_fee": 300, "step_units": 1, "step_fee": 50}


def test_from_the_book_to_the_freight_of_the_quote(stack, buyer, new_buyer, shop):
    classes = [
        {"carrier_class": "express", "default_rule": FAR, "destinations": [{"province": "浙江省", "rule": NEAR}]},
        {"carrier_class": "post", "default_rule": SLOW},
    ]
    template = shop.api.post("/v1/freight-templates", {"name": "标准", "valuation": "piece", "carriers": classes})
    freight = {"kind": "template", "template_id": template["template"]["template_id"]}
    result = shop.api.post(
        "/v1/products:bulkUpsert", {"items": [{**product("tea", "茶", 900, 50), "freight": freight}]}
    )
    product_id = result["results"][0]["product_id"]
    sku_id = shop.api.get(f"/v1/products/{product_id}")["product"]["skus"][0]["sku_id"]
    line = {"product_id": product_id, "sku_id": sku_id, "quantity": 3}
    given = {"BUYER": buyer.api.token, "PRODUCT": product_id, "SKU": sku_id}
    told = guides.run(guides.sessions("docs/orders.md")[2], stack, **given)
    saved, default, placed = map(json.loads, told.strip().split("\n"))
    order_id = placed["checkout"]["orders"][0]["order_id"]
    assert (saved["etag"], default["default_address_id"]) == ("1", saved["address_id"])
    order = order_of(buyer.api, order_id)
    assert (order["freight"], order["lines"][0]["carrier_class"]) == (500 + 2 * 100, "express")
    assert (order["invoice"]["kind"], order["address"]["city"]) == ("company", "杭州市")
    place = {"province": "浙江省", "city": "杭州市"}
    quote = buyer.api.post("/v1/public/freight:quote", {"destination": place, "lines": [line]})["shops"][0]
    fees = {each["carrier_class"]: each["fee"] for each in quote["carriers"]}
    assert fees["express"] == order["freight"]
    whole = buyer.api.post("/v1/quotes", {"lines": [line], "address_id": saved["address_id"]})
    assert (whole["freight"], whole["amount"]) == (order["freight"], order["amount"])
    chosen = {"carriers": [{"shop_id": shop.shop_id, "carrier_class": "post"}]}
    asked = {"lines": [line], "address_id": saved["address_id"], **chosen}
    assert buyer.api.post("/v1/checkouts", asked)["checkout"]["freight"] == fees["post"] == 300 + 2 * 50
    far = {**ADDRESS, "province": "广东省", "city": "广州市"}
    assert buyer.api.post("/v1/checkouts", {"lines": [line], "address": far})["checkout"]["freight"] == 2500 + 2 * 900
    stranger = new_buyer("别人").api
    assert stranger.ask("GET", f"/v1/addresses/{saved['address_id']}").status == 404
    assert stranger.ask("POST", "/v1/checkouts", asked).body["errors"][0]["field"] == "address_id"
    wrong = buyer.api.ask("POST", "/v1/checkouts", {"lines": [line], "address": {**ADDRESS, "province": "浙江"}})
    assert wrong.body["errors"] == [
        {"field": "address.province", "message": '"浙江" is not in the list, did you mean 浙江省?'}
    ]
    body = {"address": {**ADDRESS, "zone": "上城区"}, "etag": "1"}
    path = f"/v1/addresses/{saved['address_id']}"
    assert buyer.api.ask("PUT", path, body).body["etag"] == "2"
    assert buyer.api.ask("PUT", path, body).reason == "ETAG_MISMATCH"
    assert buyer.api.ask("DELETE", path).status == 200
    assert buyer.api.get("/v1/addresses")["addresses"] == []
    assert order_of(buyer.api, order_id)["address"]["zone"] == "西湖区"
