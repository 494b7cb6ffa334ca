"""A client of the 2014 shop API, as thin as can be, and what it sends."""

import io
import json

import httpx
from PIL import Image

from services.cli.demo.trade import open_payment, pay, place
from tests.backends.processes import wait_until

LEAF = 538010001
"""女装/连衣裙."""
COLOUR, SIZE = "1075741873", "1075741874"
RED, BLACK, M = "1079742304", "1079742301", "1079742352"


class OldShop:
    """Calls the facade with the token of a shop."""

    def __init__(self, url, merchant, token=""):
        self.url, self.merchant = url, merchant
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.token = token or self.new_token()

    def new_token(self):
        asked = {"grant_type": "client_credential", "appid": self.merchant.appid, "secret": self.merchant.secret}
        return self.client.get("/cgi-bin/token", params=asked).json()["access_token"]

    def ask(self, path, sent=None, /, **query):
        """The envelope, which is always HTTP 200 and JSON."""
        params = {"access_token": self.token, **query}
        content = sent if isinstance(sent, bytes | None) else json.dumps(sent, ensure_ascii=False).encode()
        answer = self.client.request("GET" if sent is None else "POST", path, params=params, content=content)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json; encoding=utf-8"
        return answer.json()

    def post(self, path, sent, **query):
        """The same, gone well."""
        told = self.ask(path, sent, **query)
        assert told["errcode"] == 0, told
        return told

    def get(self, path, **query):
        told = self.ask(path, **query)
        assert told["errcode"] == 0, told
        return told

    def code(self, path, sent=None, **query):
        return self.ask(path, sent, **query)["errcode"]


def body(name="连衣裙", code="", **base):
    """A product as the manual's example has it: two SKUs of one colour axis, a property, a flat fee for each carrier class."""
    skus = [
        {
            "sku_id": f"{COLOUR}:{vid}",
            "price": 30,
            "icon_url": "",
            "product_code": code and f"{code}-{vid}",
            "ori_price": 9000,
            "quantity": 800,
        }
        for vid in (RED, BLACK)
    ]
    return {
        "product_base": {
            "category_id": [str(LEAF)],
            "property": [],
            "name": name,
            "sku_info": [{"id": COLOUR, "vid": [RED, BLACK]}],
            "main_img": "http://mmbiz.qpic.cn/mmbiz/4whpV1VZl2iccsvYbHvnphkyGtnvjD3ulEKogfsiaua49pvLfUS8Ym0GSYjViaLic0FD3vN0V8PILcibEGb2fPfEOmw/0",
            "img": [
                "http://mmbiz.qpic.cn/mmbiz/4whpV1VZl28bJj62XgfHPibY3ORKicN1oJ4CcoIr4BMbfA8LqyyjzOZzqrOGz3f5KWq1QGP3fo6TOTSYD3TBQjuw/0"
            ],
            "detail": [{"text": "test first"}, {"img": "http://mmbiz.qpic.cn/mmbiz/x/0"}],
            "buy_limit": 10,
            **base,
        },
        "sku_list": skus,
        "attrext": {
            "location": {"country": "中国", "province": "广东省", "city": "广州市", "address": "T.I.T创意园"},
            "isPostFree": 0,
            "isHasReceipt": 1,
            "isUnderGuaranty": 0,
            "isSupportReplace": 0,
        },
        "delivery_info": {
            "delivery_type": 0,
            "template_id": 0,
            "express": [{"id": 10000027, "price": 100}, {"id": 10000028, "price": 100}, {"id": 10000029, "price": 100}],
        },
    }


def template(name="testexpress", **more):
    """A freight template as the manual's example has it, counted by the piece."""
    normal = {"StartStandards": 1, "StartFees": 2, "AddStandards": 3, "AddFees": 1}
    custom = {
        "StartStandards": 1,
        "StartFees": 100,
        "AddStandards": 1,
        "AddFees": 3,
        "DestCountry": "中国",
        "DestProvince": "广东省",
        "DestCity": "广州市",
    }
    fees = [{"Type": number, "Normal": normal, "Custom": [custom]} for number in (10000027, 10000028, 10000029)]
    return {"Name": name, "Assumer": 0, "Valuation": 0, "TopFee": fees, **more}


def picture(colour=(200, 30, 30)):
    """The bytes of a PNG."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "PNG")
    return out.getvalue()


def sell(old, buyer, *quantities):
    """A product of two colours put on sale, and a paid order of each of these quantities of the red one; (product_id, order ids)."""
    identity = old.post("/merchant/create", body())["product_id"]
    old.post("/merchant/modproductstatus", {"product_id": identity, "status": 1})
    sku = buyer.api.get(f"/v1/products/{identity}")["product"]["skus"][0]["sku_id"]
    orders = []
    for quantity in quantities:
        checkout = place(buyer.api, [{"product_id": identity, "sku_id": sku, "quantity": quantity}])
        pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
        orders.append(checkout["orders"][0]["order_id"])
    for order_id in orders:
        path = f"/v1/orders/{order_id}"
        wait_until(lambda path=path: buyer.api.get(path)["order"]["state"] == "paid", "the order to be paid")
    return identity, orders
