"""Vouchers through HTTP: bought, shown, redeemed once, taken back, and settled when all were redeemed."""

import base64
import json

from services.cli.clocks import advance
from services.cli.demo.catalog import product
from services.cli.demo.trade import balance, open_payment, pay, place
from services.cli.demo.trade import order as order_of
from tests.backends.processes import wait_until
from tests.journeys import guides


def test_two_dinners_from_code_to_settlement(stack, admin, buyer, shop, open_shop):
    dinner = {**product("dinner", "双人晚餐", 19_900, 50), "fulfilment": "voucher"}
    result = shop.api.post("/v1/products:bulkUpsert", {"items": [dinner]})["results"][0]
    known = shop.api.get(f"/v1/products/{result['product_id']}")["product"]
    assert known["fulfilment"] == "voucher"
    line = {"product_id": result["product_id"], "sku_id": known["skus"][0]["sku_id"], "quantity": 2}
    checkout = place(buyer.api, [line])
    order_id = checkout["orders"][0]["order_id"]
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    wait_until(lambda: order_of(buyer.api, order_id)["state"] == "paid", "the order to be paid")
    given = {"ORDER": order_id, "TOKEN": shop.api.token, "BUYER": buyer.api.token}
    told = guides.run(guides.sessions("docs/orders.md")[1], stack, **given)
    image, redeemed, twice, reversed_ = told.strip().split("\n")
    assert base64.b64decode(image.partition("base64,")[2]).startswith(b"\x89PNG")
    assert (json.loads(redeemed)["left"], json.loads(reversed_)["voucher"]) == (1, 1)
    assert (json.loads(twice)["reason"], json.loads(twice)["redeemed_by"]) == ("ALREADY_REDEEMED", "till 2")
    codes = [each["code"] for each in buyer.api.get(f"/v1/orders/{order_id}/vouchers")["vouchers"]]
    assert open_shop("别家").api.ask("POST", "/v1/vouchers:redeem", {"code": codes[0]}).status == 404
    assert buyer.api.ask("POST", "/v1/vouchers:redeem", {"code": codes[0]}).status == 403
    for number, code in enumerate(codes):
        once = shop.api.ask("POST", "/v1/vouchers:redeem", {"code": code}, key=f"scan-{number}")
        again = shop.api.ask("POST", "/v1/vouchers:redeem", {"code": code}, key=f"scan-{number}")
        assert (once.status, again.body, again.replayed) == (200, once.body, True)
    advance(admin, 31 * 60)
    wait_until(lambda: order_of(buyer.api, order_id)["state"] == "completed", "the order to complete")
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] > 0, "the dinners to be settled")
