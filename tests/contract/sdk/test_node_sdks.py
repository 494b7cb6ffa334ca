"""npm wechat-api 1.35.1 and co-wechat-api 3.11.0, as they are published, before a running stack."""

import json
import re

import pytest

from tests.journeys import guides
from tests.journeys.old_shop import COLOUR, LEAF, RED, body, picture, sell, template

SDKS = ("wechat-api", "co-wechat-api")
SKU = f"{COLOUR}:{RED}"


@pytest.fixture
def run(node, stack, shop, tmp_path):
    """``run(sdk, clears)``: the answers of the whole flow by name."""
    path = tmp_path / "test.png"
    path.write_bytes(picture())

    def flow(sdk, *, clears):
        sent = {
            "category": LEAF,
            "product": body(),
            "renamed": "改名",
            "sku": SKU,
            "template": template(),
            "clears": clears,
        }
        told = {"BASE": stack.url, "APPID": shop.merchant.appid, "SECRET": shop.merchant.secret}
        return json.loads(node("flow.js", sdk, PICTURE=str(path), SENT=json.dumps(sent), **told))

    return flow


@pytest.mark.parametrize("sdk", SDKS)
def test_the_sdk_keeps_a_shop_and_v1_shows_the_same(run, shop, sdk):
    said = run(sdk, clears=False)
    assert {name: told for name, told in said.items() if "failed" in told}.keys() == {"too few"}, said
    identity = said["created"]["product_id"]
    assert len(said["children"]["cate_list"]) >= 20
    assert said["got"]["product_info"]["product_base"]["name"] == "改名"
    assert [each["product_id"] for each in said["on sale"]["products_info"]] == [identity]

    product = shop.api.get(f"/v1/products/{identity}")["product"]
    assert (product["name"], product["state"]) == ("改名", "listed")
    assert product["images"][0] == said["picture"]["image_url"]
    assert [(sku["values"], sku["on_hand"]) for sku in product["skus"]] == [(["红色"], 805), (["黑色"], 800)]

    (freight,) = shop.api.get("/v1/freight-templates")["templates"]
    assert (freight["template_id"], freight["name"]) == (said["freight"]["template_id"], "改名")
    assert said["all freight"]["templates_info"] == [said["freight got"]["template_info"]]

    (group,) = shop.api.get("/v1/groups")["groups"]
    assert (group["group_id"], group["name"], group["product_count"]) == (said["group"]["group_id"], "全球热卖", 1)
    assert said["group got"]["group_detail"]["product_list"] == [identity]

    (shelf,) = shop.api.get("/v1/shelves")["shelves"]
    assert (shelf["shelf_id"], shelf["modules"][0]["count"]) == (said["shelf"]["shelf_id"], 4)
    assert said["shelf got"]["shelf_info"] == said["all shelves"]["shelves"][0]["shelf_info"]


@pytest.mark.parametrize("sdk", SDKS)
def test_the_sdk_clears_a_shop_away_again(run, shop, sdk):
    said = run(sdk, clears=True)
    assert {name for name, told in said.items() if "failed" in told} == {"too few", "missing"}, said
    assert (said["missing"]["failed"], said["missing"]["code"]) == ("WeChatAPIError", 9400404)
    assert shop.api.get("/v1/products")["products"] == []
    assert shop.api.get("/v1/freight-templates")["templates"] == []
    assert shop.api.get("/v1/groups")["groups"] == []
    assert shop.api.get("/v1/shelves")["shelves"] == []


@pytest.mark.parametrize("sdk", SDKS)
def test_the_sdk_sends_and_ends_paid_orders(node, stack, shop, old, buyer, sdk):
    product, (sent, gone) = sell(old, buyer, 1, 2)
    told = {"BASE": stack.url, "APPID": shop.merchant.appid, "SECRET": shop.merchant.secret}
    said = json.loads(node("orders.js", sdk, SENT=json.dumps({"sent": sent, "gone": gone}), **told))
    assert {name for name, answer in said.items() if "failed" in answer} == {"not closed", "missing"}, said
    assert (said["not closed"]["code"], said["missing"]["code"]) == (9400410, 9400404)
    listed = {
        name: [found["order_id"] for found in answer["order_list"]]
        for name, answer in said.items()
        if "order_list" in answer
    }
    assert listed == {
        "paid": [gone, sent],
        "since": [gone, sent],
        "paid since": [gone, sent],
        "before": [],
        "on their way": [sent],
        "still paid": [],
    }
    assert (said["got"]["order"]["product_id"], said["got"]["order"]["product_sku"]) == (product, SKU)
    assert said["gone"]["order"]["order_status"] == 4
    order = shop.api.get(f"/v1/orders/{sent}")["order"]
    assert (order["state"], order["delivery"]["company_name"]) == ("shipped", "韵达快运")


def test_the_overrides_of_the_guide_are_the_ones_that_work(node, stack, shop, tmp_path):
    blocks = re.findall(r"```js\n(.*?)```", guides.text("docs/facade.md"), re.DOTALL)
    assert len(blocks) == len(SDKS)
    told = {"BASE": stack.url, "APPID": shop.merchant.appid, "SECRET": shop.merchant.secret}
    for block in blocks:
        script = tmp_path / "guide.js"
        script.write_text(f"const {{ BASE, APPID, SECRET }} = process.env;\n{block}", encoding="utf-8")
        assert json.loads(node(script, **told)) == {"errcode": 0, "errmsg": "success", "products_info": []}
