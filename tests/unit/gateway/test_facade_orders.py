"""Orders as the old API shows them, and the push of a paid one, from values alone."""

from datetime import UTC, datetime

from wechatpy import parse_message

from services.chassis import order_push
from services.gateway.facade.categories import Attributes, sku_info
from services.gateway.facade.orders import shown

COLOURS = Attributes(
    {
        "sku_attributes": [{"id": 7, "name": "颜色", "values": [{"id": 70, "name": "红色"}]}],
        "properties": [],
    }
)
LINES = [
    {
        "product_id": "p1",
        "name": "连衣裙",
        "price": 1,
        "quantity": 1,
        "image": "http://a.example/1.jpg",
        "category_id": 5,
        "options": [{"name": "颜色", "value": "红色"}, {"name": "尺码", "value": "M;L"}],
    },
    {"product_id": "p2", "name": "茶", "price": 2, "quantity": 3, "image": "", "category_id": 0, "options": []},
]
ORDER = {
    "order_id": "7197417460812533543",
    "order_status": 2,
    "amount": 12,
    "freight": 5,
    "created_at": datetime(2014, 5, 29, 8, 0, tzinfo=UTC),
    "paid_at": datetime(2014, 5, 29, 8, 1, tzinfo=UTC),
    "openid": "oDF3iY17NsDAW4UP2qzJXPsz1S9Q",
    "transaction_id": "1900000109201404103172199813",
    "lines": LINES,
    "address": {
        "receiver_name": "张三",
        "province": "广东省",
        "city": "广州市",
        "zone": "天河区",
        "address": "华景路一号南方通信大厦5楼",
        "mobile": "12345678",
    },
    "parcels": [
        {"need_delivery": True, "company": "003shunfeng", "track_no": "SF1111"},
        {"need_delivery": True, "company": "059Yunda", "track_no": "1900659372473"},
        {"need_delivery": False, "company": "", "track_no": ""},
    ],
}


def test_an_order_has_exactly_the_fields_of_the_manual_and_all_its_lines():
    told = shown(ORDER, {5: COLOURS})
    first = {
        "product_id": "p1",
        "product_name": "连衣裙",
        "product_price": 1,
        "product_sku": "7:70;$尺码:$M%3BL",
        "product_count": 1,
        "product_img": "http://a.example/1.jpg",
    }
    second = {
        "product_id": "p2",
        "product_name": "茶",
        "product_price": 2,
        "product_sku": "",
        "product_count": 3,
        "product_img": "",
    }
    assert told == {
        "order_id": "7197417460812533543",
        "order_status": 2,
        "order_total_price": 12,
        "order_create_time": 1401350400,
        "order_express_price": 5,
        "buyer_openid": "oDF3iY17NsDAW4UP2qzJXPsz1S9Q",
        "buyer_nick": "",
        "receiver_name": "张三",
        "receiver_province": "广东省",
        "receiver_city": "广州市",
        "receiver_zone": "天河区",
        "receiver_address": "华景路一号南方通信大厦5楼",
        "receiver_mobile": "12345678",
        "receiver_phone": "",
        **first,
        "delivery_id": "1900659372473",
        "delivery_company": "059Yunda",
        "trans_id": "1900000109201404103172199813",
        "products": [first, second],
    }


def test_an_order_without_parcel_address_or_known_category_is_shown_all_the_same():
    bare = {name: value for name, value in ORDER.items() if name not in ("address", "parcels")}
    told = shown(bare, {5: None})
    assert (told["receiver_name"], told["delivery_company"], told["product_sku"]) == (
        "",
        "",
        "$颜色:$红色;$尺码:$M%3BL",
    )


def test_the_push_of_a_paid_order_is_read_by_the_sdk():
    elements = order_push.merchant_order(ORDER, "gh_0123456789ab", sku_info(LINES[0]["options"], COLOURS))
    read = parse_message(order_push.xml(elements))
    assert type(read).__name__ == "MerchantOrderEvent"
    assert (read.target, read.source, read.event) == ("gh_0123456789ab", ORDER["openid"], "merchant_order")
    assert (read.order_id, read.order_status, read.product_id) == (ORDER["order_id"], 2, "p1")
    assert read.sku_info == "7:70;$尺码:$M%3BL"
    assert read.create_time.timestamp() == ORDER["paid_at"].timestamp()


def test_the_push_has_the_elements_of_the_manual_and_nothing_breaks_out_of_them():
    elements = order_push.merchant_order({**ORDER, "openid": "o]]>&<x>"}, "gh_<&>", "")
    assert list(elements) == [
        "ToUserName",
        "FromUserName",
        "CreateTime",
        "MsgType",
        "Event",
        "OrderId",
        "OrderStatus",
        "ProductId",
        "SkuInfo",
    ]
    written = order_push.xml(elements)
    assert "<CreateTime>1401350460</CreateTime>" in written
    assert "<SkuInfo><![CDATA[]]></SkuInfo>" in written
    read = parse_message(written)
    assert (read.source, read.target, read.sku_info) == ("o]]>&<x>", "gh_<&>", None)
