"""wechatpy 1.8.18, as it is published, before a running stack: each flat method and each sub-API that concerns the catalog."""

import base64
import io
import json
import re
import time

import pytest
import requests
from requests.adapters import HTTPAdapter
from wechatpy import WeChatClient
from wechatpy.exceptions import WeChatClientException

from services.chassis.settings import Settings
from services.chassis.tokens import Signer
from tests.journeys import guides
from tests.journeys.old_shop import COLOUR, LEAF, RED, body, picture, sell, template

ORIGINAL = "https://api.weixin.qq.com/"
SKU = f"{COLOUR}:{RED}"


class Elsewhere(HTTPAdapter):
    """Sends what is meant for the original to another base URL: the override of docs/facade.md."""

    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url.rstrip("/") + "/"

    def send(self, request, **how):
        request.url = request.url.replace(ORIGINAL, self.base_url, 1)
        return super().send(request, **how)


@pytest.fixture
def client(stack, shop):
    made = WeChatClient(shop.merchant.appid, shop.merchant.secret)
    made._http.mount(ORIGINAL, Elsewhere(stack.url))
    return made


def test_the_client_gets_a_token_and_another_one_leaves_it_good(client, stack, shop):
    first = client.fetch_access_token()
    assert (set(first), first["expires_in"]) == ({"access_token", "expires_in"}, 7200)
    second = client.fetch_access_token()
    for token in (first, second):
        made = WeChatClient(shop.merchant.appid, shop.merchant.secret, access_token=token["access_token"])
        made._http.mount(ORIGINAL, Elsewhere(stack.url))
        assert made.merchant.get_by_status(0)["products_info"] == []


def test_an_expired_token_is_told_apart_from_an_unknown_one_and_the_client_gets_another(client, stack):
    """Both make it get a token and ask again; left alone, it tells 42001 of the one and 40001 of the other."""
    given = client.fetch_access_token()["access_token"]
    claims = json.loads(base64.urlsafe_b64decode(given.split(".")[1] + "=="))
    ago = int(time.time()) - 7_300
    expired = Signer(Settings(data_dir=stack.data), "accounts").mint(
        claims["kind"], claims["sub"], lifetime_s=7_200, scopes=claims["scopes"], shop_id=claims["shop_id"],
        account_id=claims["account_id"], issued_at=ago,
    ).text  # fmt: skip
    for token, code in ((expired, 42001), (given[:-4], 40001)):
        client.auto_retry = False
        client.session.set(client.access_token_key, token, 7_200)
        client.expires_at = int(time.time()) + 7_200
        with pytest.raises(WeChatClientException) as refused:
            client.merchant.get_by_status(0)
        assert refused.value.errcode == code
        client.auto_retry = True
        assert client.merchant.get_by_status(0)["products_info"] == []
        assert client.access_token not in (expired, given[:-4])


def test_the_flat_methods_keep_a_shop(client, shop):
    merchant = client.merchant
    assert len(merchant.get_subcategories(1)["cate_list"]) >= 20
    assert merchant.get_category_sku(LEAF)["sku_table"][0]["name"] == "颜色"
    assert merchant.get_category_property(LEAF)["properties"]
    url = merchant.upload_image(io.BytesIO(picture()))
    assert requests.get(url, timeout=10).headers["content-type"] == "image/png"

    identity = merchant.create(body(main_img=url))["product_id"]
    merchant.update(identity, body("改名", main_img=url))
    assert merchant.get(identity)["product_info"]["product_base"]["name"] == "改名"
    merchant.update_product_status(identity, 1)
    (listed,) = merchant.get_by_status(1)["products_info"]
    assert (listed["product_id"], listed["status"]) == (identity, 1)
    merchant.add_stock(identity, SKU, 7)
    merchant.reduce_stock(identity, SKU, 2)
    assert shop.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["on_hand"] == 805

    freight = merchant.add_express({"delivery_template": template()})["template_id"]
    merchant.update_express(freight, {"delivery_template": template("改名")})
    assert merchant.get_express(freight)["template_info"]["Name"] == "改名"
    merchant.update_express(freight, template("再改"))
    assert [found["Name"] for found in merchant.get_all_express()["templates_info"]] == ["再改"]

    group = merchant.add_group({"group_detail": {"group_name": "新", "product_list": [identity]}})["group_id"]
    merchant.update_group_property(group, {"group_name": "热卖"})
    merchant.update_group_product(group, {"product": [{"product_id": identity, "mod_action": 0}]})
    assert merchant.get_group(group)["group_detail"] == {"group_id": group, "group_name": "热卖", "product_list": []}
    assert merchant.get_all_groups()["groups_detail"] == [{"group_id": group, "group_name": "热卖"}]

    module = {"eid": 1, "group_info": {"group_id": group, "filter": {"count": 2}}}
    data = {"shelf_data": {"module_infos": [module]}, "shelf_banner": url, "shelf_name": "货架"}
    shelf = merchant.add_shelf(dict(data))["shelf_id"]
    merchant.update_shelf(shelf, {**data, "shelf_name": "新货架"})
    got = merchant.get_shelf(shelf)
    assert (got["shelf_name"], got["shelf_info"]["module_infos"]) == ("新货架", [module])
    assert [found["shelf_id"] for found in merchant.get_all_shelves()["shelves"]] == [shelf]
    assert shop.api.get("/v1/shelves")["shelves"][0]["name"] == "新货架"

    merchant.del_shelf(shelf)
    merchant.del_group(group)
    merchant.del_express(freight)
    merchant.update_product_status(identity, 0)
    merchant.delete(identity)
    with pytest.raises(WeChatClientException) as refused:
        merchant.get(identity)
    assert refused.value.errcode == 9400404
    assert shop.api.get("/v1/products")["products"] == []


def test_the_sub_apis_keep_a_shop(client, shop):
    merchant = client.merchant
    assert len(merchant.category.get_sub_categories(1)) >= 20
    assert merchant.category.get_sku_list(LEAF)[0]["value_list"]
    assert merchant.category.get_properties(LEAF)[0]["property_value"]
    url = merchant.common.upload_image("test.png", picture())
    identity = merchant.create(body(main_img=url))["product_id"]
    merchant.stock.add(identity, 5, SKU)
    merchant.stock.reduce(identity, 1, SKU)
    assert shop.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["on_hand"] == 804

    assert merchant.express.get_all() == []
    freight = merchant.express.add(template())["template_id"]
    merchant.express.update(freight, template("改名"))
    assert merchant.express.get(freight)["Name"] == "改名"
    assert [found["Id"] for found in merchant.express.get_all()] == [freight]
    merchant.express.delete(freight)
    assert merchant.express.get_all() == []

    group = merchant.group.add("新", [identity])["group_id"]
    merchant.group.update(group, "热卖")
    merchant.group.update_product(group, [{"product_id": identity, "mod_action": 0}])
    assert merchant.group.get(group)["product_list"] == []
    assert merchant.group.get_all() == [{"group_id": group, "group_name": "热卖"}]

    data = {"module_infos": [{"eid": 2, "group_infos": {"groups": [{"group_id": group}]}}]}
    shelf = merchant.shelf.add("货架", url, data)["shelf_id"]
    merchant.shelf.update(shelf, "新货架", url, data)
    assert merchant.shelf.get(shelf)["shelf_name"] == "新货架"
    assert [found["shelf_id"] for found in merchant.shelf.get_all()] == [shelf]
    assert [found["shelf_id"] for found in shop.api.get("/v1/shelves")["shelves"]] == [shelf]
    merchant.shelf.delete(shelf)
    merchant.group.delete(group)
    assert merchant.shelf.get_all() == merchant.group.get_all() == []


def test_the_orders_of_a_shop_are_read_sent_and_ended(client, shop, old, buyer):
    product, (first, second, third) = sell(old, buyer, 2, 1, 1)
    flat, order = client.merchant, client.merchant.order
    assert [found["order_id"] for found in order.get_by_filter()] == [third, second, first]
    assert [found["order_id"] for found in flat.query_order()["order_list"]] == [third, second, first]
    assert order.get_by_filter(status=2, begin_time=1, end_time=2) == []
    assert order.get(first) == flat.get_order(first)["order"]
    assert order.get(first)["products"][0]["product_count"] == 2

    order.set_delivery(first, "003shunfeng", "SF1234567890")
    flat.set_delivery(
        second, {"delivery_company": "某某速运", "delivery_track_no": "A-0001", "is_others": 1, "need_delivery": 1}
    )
    assert {found["order_id"]: found["delivery_company"] for found in order.get_by_filter(status=3)} == {
        first: "003shunfeng",
        second: "某某速运",
    }
    order.close(third)
    assert (order.get(third)["order_status"], order.get_by_filter(status=2)) == (4, [])
    with pytest.raises(WeChatClientException) as refused:
        order.close(first)
    assert refused.value.errcode == 9400410
    assert shop.api.get(f"/v1/orders/{third}")["order"]["close_reason"] == "merchant"
    assert product == order.get(third)["product_id"]


def test_the_base_url_of_each_class_may_be_set_instead(stack, shop, monkeypatch):
    """The other override of docs/facade.md; the token is handed in, because where to get it is written into the SDK."""
    from wechatpy.client.api import merchant as apis

    for name in (
        "WeChatMerchant",
        "MerchantCategory",
        "MerchantStock",
        "MerchantExpress",
        "MerchantGroup",
        "MerchantShelf",
        "MerchantOrder",
        "MerchantCommon",
    ):
        monkeypatch.setattr(getattr(apis, name), "API_BASE_URL", f"{stack.url}/")
    client = WeChatClient(shop.merchant.appid, shop.merchant.secret, access_token=shop.merchant.token)
    assert client.merchant.get_by_status(0)["products_info"] == []
    assert len(client.merchant.category.get_sub_categories(1)) >= 20


def test_the_override_of_the_guide_is_the_one_that_works(stack, shop):
    (block,) = re.findall(r"```python\n(.*?)```", guides.text("docs/facade.md"), re.DOTALL)
    names = {"BASE": stack.url, "APPID": shop.merchant.appid, "SECRET": shop.merchant.secret}
    exec(compile(block, "docs/facade.md", "exec"), names)  # noqa: S102 - our own page
    assert names["client"].merchant.get_by_status(0)["errmsg"] == "success"
