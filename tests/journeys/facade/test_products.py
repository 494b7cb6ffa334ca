"""Products through the 2014 shop API: what its manual promises, what its clients really send, seen again through /v1."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.backends.processes import wait_until
from tests.journeys.facade.asking import RETRIED, create, info
from tests.journeys.old_shop import BLACK, COLOUR, LEAF, RED, SIZE, M, body
from tests.journeys.test_catalog import ended
from tests.journeys.test_imports import send


def test_a_product_lives_as_in_the_manual(old, shop):
    made = old.post("/merchant/create", body())
    assert list(made) == ["errcode", "errmsg", "product_id"]
    identity = made["product_id"]
    assert (len(identity), identity[0], made["errmsg"]) == (28, "p", "success")
    assert info(old, identity) == old.get("/merchant/get", product_id=identity)["product_info"]
    done = old.post("/merchant/modproductstatus", {"product_id": identity, "status": 1})
    assert done == {"errcode": 0, "errmsg": "success"}, "two keys on a bare success, as EasyWeChat 2 wants it"
    (listed,) = old.post("/merchant/getbystatus", {"status": 1})["products_info"]
    assert (listed["product_id"], listed["status"]) == (identity, 1)
    assert old.post("/merchant/getbystatus", {"status": 2})["products_info"] == []
    assert shop.api.get(f"/v1/products/{identity}")["product"]["state"] == "listed"
    old.post("/merchant/modproductstatus", {"product_id": identity, "status": 0})
    old.post("/merchant/del", {"product_id": identity})
    assert old.post("/merchant/getbystatus", {"status": 0}) == {"errcode": 0, "errmsg": "success", "products_info": []}
    for path, more in (
        ("get", {}),
        ("update", body()),
        ("del", {}),
        ("modproductstatus", {"status": 1}),
        ("stock/add", {"sku_info": f"{COLOUR}:{RED}", "quantity": 1}),
    ):
        assert old.code(f"/merchant/{path}", {"product_id": identity, **more}) not in {0, *RETRIED}, path


def test_what_get_shows_has_the_shapes_of_the_manual(old):
    shown = info(old, create(old))
    base = shown["product_base"]
    assert set(shown) == {"product_id", "product_base", "sku_list", "attrext", "delivery_info"}
    assert (base["category_id"], base["sku_info"]) == ([str(LEAF)], [{"id": COLOUR, "vid": [RED, BLACK]}])
    assert base["detail_html"].startswith('<p style="')
    assert '<div class="item_pic_wrp"' in base["detail_html"]
    assert [sku["sku_id"] for sku in shown["sku_list"]] == [f"{COLOUR}:{RED}", f"{COLOUR}:{BLACK}"]
    assert {name: shown["sku_list"][0][name] for name in ("price", "ori_price", "quantity")} == {
        "price": 30,
        "ori_price": 9000,
        "quantity": 800,
    }
    sent = body()
    assert shown["attrext"] == sent["attrext"]
    assert shown["delivery_info"] == sent["delivery_info"]


def test_custom_names_come_back_as_they_were_sent(old, shop):
    sent = body(sku_info=[{"id": "$颜色", "vid": ["$红", "$100%棉"]}, {"id": "$款:式", "vid": ["$a;b"]}])
    sent["sku_list"] = [
        {"sku_id": f"$颜色:${value};$款%3A式:$a%3Bb", "price": 1, "ori_price": 2, "quantity": 3}
        for value in ("红", "100%棉")
    ]
    sent["product_base"]["sku_info"][1] = {"id": "$款%3A式", "vid": ["$a%3Bb"]}
    identity = create(old, sent)
    shown = info(old, identity)
    assert [sku["sku_id"] for sku in shown["sku_list"]] == [sku["sku_id"] for sku in sent["sku_list"]]
    assert shown["product_base"]["sku_info"] == sent["product_base"]["sku_info"]
    product = shop.api.get(f"/v1/products/{identity}")["product"]
    assert (product["axes"], product["skus"][1]["values"]) == (["颜色", "款:式"], ["100%棉", "a;b"])
    old.post("/merchant/stock/add", {"product_id": identity, "sku_info": "$款%3A式:$a%3Bb;$颜色:$红", "quantity": 4})
    assert [sku["quantity"] for sku in info(old, identity)["sku_list"]] == [7, 3]


def test_offered_and_custom_values_stand_beside_each_other(old):
    sent = body(sku_info=[{"id": COLOUR, "vid": [RED, "$雾霾蓝"]}, {"id": int(SIZE), "vid": [int(M)]}])
    sent["sku_list"] = [
        {"sku_id": f"{SIZE}:{M};{COLOUR}:{colour}", "price": 1, "ori_price": 2} for colour in (RED, "$雾霾蓝")
    ]
    shown = info(old, create(old, sent))
    assert [sku["sku_id"] for sku in shown["sku_list"]] == [
        f"{COLOUR}:{RED};{SIZE}:{M}",
        f"{COLOUR}:$雾霾蓝;{SIZE}:{M}",
    ]


def test_a_product_of_one_kind_has_an_empty_sku_id_and_needs_no_properties(old):
    sent = body()
    for name in ("property", "sku_info", "detail", "img"):
        del sent["product_base"][name]
    sent["sku_list"] = [{"sku_id": "", "price": "9", "ori_price": 30.0, "quantity": "12"}]
    sent["attrext"] = {"isPostFree": 1}
    del sent["delivery_info"]
    identity = create(old, sent)
    shown = info(old, identity)
    assert (shown["sku_list"][0]["sku_id"], shown["product_base"]["sku_info"]) == ("", [])
    assert (shown["sku_list"][0]["price"], shown["sku_list"][0]["quantity"]) == (9, 12)
    assert (shown["attrext"]["isPostFree"], shown["delivery_info"]["express"]) == (1, [])
    old.post("/merchant/stock/reduce", {"product_id": identity, "sku_info": "", "quantity": 2})
    assert old.code("/merchant/stock/reduce", {"product_id": identity, "quantity": 11}) == 9400430
    assert info(old, identity)["sku_list"][0]["quantity"] == 10


def test_properties_go_in_by_number_and_come_out_by_name(old):
    offered = old.post("/merchant/category/getproperty", {"cate_id": LEAF})["properties"]
    first = next(found for found in offered if found["property_value"])
    value = first["property_value"][0]
    given = [{"id": first["id"], "vid": value["id"]}, {"id": "$产地", "vid": "$杭州"}]
    identity = create(old, body(property=given))
    shown = info(old, identity)["product_base"]["property"]
    assert shown == [{"id": first["name"], "vid": value["name"]}, {"id": "产地", "vid": "杭州"}]
    told = old.ask("/merchant/create", body(property=[{"id": "1", "vid": "2"}]))
    assert told["errcode"] == 40035
    assert told["errmsg"].startswith("product_base.property[0].id: ")


def test_who_sends_back_what_get_shows_changes_nothing(old, shop):
    identity = create(old, body(property=[{"id": "$产地", "vid": "$2014"}]))
    old.post("/merchant/modproductstatus", {"product_id": identity, "status": 1})
    before, product = info(old, identity), shop.api.get(f"/v1/products/{identity}")["product"]
    old.post("/merchant/update", before)
    assert info(old, identity) == before
    assert shop.api.get(f"/v1/products/{identity}")["product"] == product


def test_what_was_on_sale_stays_as_it_was_also_where_an_undo_made_it_a_draft_again(old, shop):
    line = {"external_id": "tea", "name": "茶", "skus": [{"price": 500, "quantity": 3}]}
    for listed in (False, True):
        content = json.dumps({**line, "listed": listed}) + "\n"
        sold = ended(shop.api, send(shop.api, content, "p.jsonl", format="jsonl").body["import_id"])
    (product,) = shop.api.get("/v1/products")["products"]
    assert (product["state"], product["was_listed"]) == ("listed", True)
    shop.api.post(f"/v1/imports/{sold['import_id']}:undo", {})
    wait_until(lambda: shop.api.get("/v1/products")["products"][0]["state"] == "draft", "the undo")
    identity = product["product_id"]
    told = old.ask("/merchant/update", {"product_id": identity, "product_base": {"name": "别的茶"}})
    assert told["errcode"] != 0
    assert "product_base.name: the product was on sale" in told["errmsg"]
    assert shop.api.get(f"/v1/products/{identity}")["product"]["name"] == "茶"


def test_an_update_changes_what_it_says_and_sets_the_stock(old, shop):
    identity = create(old)
    old.post("/merchant/stock/add", {"product_id": identity, "sku_info": f"{COLOUR}:{RED}", "quantity": 5})
    sent = {
        "product_id": identity,
        "product_base": {"name": "新名"},
        "sku_list": [{"sku_id": f"{COLOUR}:{RED}", "quantity": 800}],
    }
    old.post("/merchant/update", sent)
    shown = info(old, identity)
    assert (shown["product_base"]["name"], shown["product_base"]["category_id"]) == ("新名", [str(LEAF)])
    assert [(sku["sku_id"], sku["price"], sku["quantity"]) for sku in shown["sku_list"]] == [
        (f"{COLOUR}:{RED}", 30, 800)
    ]
    assert "test first" in shown["product_base"]["detail_html"]
    sent = {**body(code="A"), "product_id": identity}
    assert old.post("/merchant/create", sent) == {"errcode": 0, "errmsg": "success"}, "EasyWeChat 2 updates there"
    assert len(shop.api.get("/v1/products")["products"]) == 1


def test_updates_that_meet_are_all_made(old):
    identity = create(old)
    sent = [{"product_id": identity, "product_base": {"buy_limit": limit}} for limit in range(1, 13)]
    with ThreadPoolExecutor(6) as clients:
        codes = list(clients.map(lambda one: old.code("/merchant/update", one), sent))
    assert codes == [0] * len(sent)
    assert info(old, identity)["product_base"]["buy_limit"] in range(1, 13)


def test_what_was_on_sale_keeps_its_name_category_and_properties(old):
    identity = create(old)
    for status in (1, 0):
        old.post("/merchant/modproductstatus", {"product_id": identity, "status": status})
    for changed, field in (
        (body("另名"), "product_base.name"),
        (body(category_id=[LEAF + 1]), "product_base.category_id"),
        (body(property=[{"id": "$产地", "vid": "$杭州"}]), "product_base.property"),
    ):
        told = old.ask("/merchant/update", {**changed, "product_id": identity})
        assert (told["errcode"], field in told["errmsg"]) == (9400410, True), told
    cheaper = body()
    cheaper["sku_list"][0]["price"] = 20
    old.post("/merchant/update", {**cheaper, "product_id": identity})
    assert info(old, identity)["sku_list"][0]["price"] == 20


def test_a_create_sent_again_makes_no_second_product_where_it_has_codes(old, shop):
    first, again = create(old, body(code="A")), create(old, body(code="A"))
    assert first == again
    told = old.ask("/merchant/create", body("别的商品", code="A"))
    assert (told["errcode"], "sku_list[0].product_code" in told["errmsg"]) == (9400409, True)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: create(old, body(code="B")), range(4)))
    assert len(made) == 1
    assert len(shop.api.get("/v1/products")["products"]) == 2
    assert create(old) != create(old), "without codes nothing tells them apart"


def test_many_products_are_told_at_once(old, shop):
    items = [{"external_id": f"p{n}", "name": f"商品{n}", "skus": [{"price": 100}]} for n in range(450)]
    for start in range(0, len(items), 150):
        shop.api.post("/v1/products:bulkUpsert", {"items": items[start : start + 150]})
    found = old.post("/merchant/getbystatus", {"status": 0})["products_info"]
    assert len({product["product_id"] for product in found}) == 450
    assert {product["status"] for product in found} == {2}
    assert found[0]["sku_list"][0] == {
        "sku_id": "",
        "ori_price": 100,
        "price": 100,
        "icon_url": "",
        "quantity": 0,
        "product_code": "",
    }
    old.post("/merchant/update", found[0])


def test_a_product_on_sale_is_deleted_and_one_never_on_sale_is_off_it_already(old):
    identity = create(old)
    old.post("/merchant/modproductstatus", {"product_id": identity, "status": 0})
    old.post("/merchant/modproductstatus", {"product_id": identity, "status": 1})
    old.post("/merchant/del", {"product_id": identity})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("product_base", None, "product_base"),
        ("product_base.name", "", "product_base.name"),
        ("product_base.name", [], "product_base.name"),
        ("product_base.category_id", ["1"], "product_base.category_id"),
        ("product_base.category_id", ["abc"], "product_base.category_id"),
        ("product_base.category_id", None, "product_base.category_id"),
        ("product_base.main_img", "no url", "product_base.main_img"),
        ("product_base.img.0", "no url", "product_base.img[0]"),
        ("product_base.detail.0", {"text": "a", "img": "b"}, "product_base.detail[0]"),
        ("product_base.detail.1.img", "no url", "product_base.detail[1].img"),
        ("product_base.buy_limit", -1, "product_base.buy_limit"),
        ("product_base.sku_info.0.id", "7", "product_base.sku_info[0].id"),
        ("product_base.sku_info.0.vid.1", "7", "product_base.sku_info[0].vid[1]"),
        ("sku_list", [], "sku_list"),
        ("sku_list.0.sku_id", "", "sku_list[0].sku_id"),
        ("sku_list.1.sku_id", f"{COLOUR}:{RED}", "sku_list[1].sku_id"),
        ("sku_list.1.sku_id", f"{COLOUR}:$蓝", "sku_list[1].sku_id"),
        ("sku_list.0.price", 9000, "sku_list[0].ori_price"),
        ("sku_list.0.price", 0, "sku_list[0].price"),
        ("sku_list.0.price", 1.5, "sku_list[0].price"),
        ("sku_list.0.quantity", -1, "sku_list[0].quantity"),
        ("sku_list.0.icon_url", "no url", "sku_list[0].icon_url"),
        ("attrext.isPostFree", 2, "attrext.isPostFree"),
        ("attrext.location.city", "a\u0000", "attrext.location.city"),
        ("delivery_info", None, "delivery_info"),
        ("delivery_info.delivery_type", 5, "delivery_info.delivery_type"),
        ("delivery_info.express", [], "delivery_info.express"),
        ("delivery_info.express.0.id", 5, "delivery_info.express[0].id"),
        ("delivery_info.express.1.price", -5, "delivery_info.express[1].price"),
    ],
)
def test_a_bad_product_is_refused_by_its_field(old, path, value, field):
    sent = copy.deepcopy(body())
    *way, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    target = sent
    for part in way:
        target = target[part]
    target[last] = value
    told = old.ask("/merchant/create", sent)
    assert (told["errcode"], field in told["errmsg"].replace("; ", ": ").split(": ")) == (40035, True), told
