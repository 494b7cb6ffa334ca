"""From quote to paid in three calls, through HTTP."""

from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS, Goods, open_payment, pay
from tests.backends.processes import wait_until


def test_what_was_quoted_is_what_is_paid_and_another_price_is_refused(shop, open_shop, buyer):
    rule = {"start_units": 1, "start_fee": 800, "step_units": 1, "step_fee": 200}
    near = {"province": "浙江省", "city": "杭州市", "rule": {**rule, "start_fee": 300}}
    carriers = [
        {"carrier_class": "express", "default_rule": rule, "destinations": [near]},
        {"carrier_class": "post", "default_rule": {**rule, "start_fee": 100}},
    ]
    made = shop.api.post("/v1/freight-templates", {"name": "标准", "carriers": carriers})["template"]
    freight = {"kind": "template", "template_id": made["template_id"]}
    item = {**product("vase", "花瓶", 5000, 9), "freight": freight}
    result = shop.api.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]
    vase = shop.api.get(f"/v1/products/{result['product_id']}")["product"]
    line = {"product_id": vase["product_id"], "sku_id": vase["skus"][0]["sku_id"], "quantity": 2}
    tea = Goods(open_shop("茶").api, "tea", 1000, 5)
    lines = [line, tea.line()]

    quote = buyer.api.post("/v1/quotes", {"lines": lines, "address": ADDRESS})
    assert [order["freight"] for order in quote["orders"]] == [500, 0]
    offered = {each["carrier_class"]: (each["fee"], each["chosen"]) for each in quote["orders"][0]["carriers"]}
    assert offered == {"express": (500, True), "post": (300, False)}
    assert quote["orders"][0]["seller"]["identity"]["registration_number"]
    wanted = {"lines": lines, "address": ADDRESS, "expected_total": quote["amount"]}
    checkout = buyer.api.post("/v1/checkouts", wanted)["checkout"]
    assert checkout["amount"] == quote["amount"] == 2 * 5000 + 500 + 1000
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    path = f"/v1/checkouts/{checkout['checkout_id']}"
    wait_until(lambda: buyer.api.get(path)["checkout"]["state"] == "paid", "the checkout to be paid")

    by_post = [{"shop_id": shop.shop_id, "carrier_class": "post"}]
    refused = buyer.api.ask("POST", "/v1/checkouts", {**wanted, "carriers": by_post})
    assert (refused.status, refused.reason, refused.body["errors"][0]["field"]) == (
        409,
        "PRICE_CHANGED",
        "expected_total",
    )
    cheaper = {"lines": lines, "destination": {"province": "浙江省", "city": "杭州市"}, "carriers": by_post}
    assert buyer.api.post("/v1/quotes", cheaper)["amount"] == quote["amount"] - 200
    assert shop.api.ask("POST", "/v1/quotes", cheaper).status == 403
    too_many = buyer.api.ask("POST", "/v1/quotes", {"lines": [{**line, "quantity": 8}]})
    assert (too_many.status, too_many.reason) == (409, "OUT_OF_STOCK")
