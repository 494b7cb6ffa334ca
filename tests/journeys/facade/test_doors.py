"""How the 2014 shop API reads requests, and that what is another shop's is not there on any of its paths."""

from tests.journeys.facade.asking import create, info
from tests.journeys.old_shop import COLOUR, RED, body, template


def test_bodies_are_json_whatever_they_are_called(old):
    path, params = "/merchant/category/getsub", {"access_token": old.token}
    text = b'{"cate_id": 1}'
    wanted = old.post(path, {"cate_id": 1})
    for kind in ("application/x-www-form-urlencoded", "text/xml", "application/json; charset=gbk"):
        answer = old.client.post(path, params=params, content=b"\xef\xbb\xbf" + text, headers={"Content-Type": kind})
        assert answer.json() == wanted
    assert old.client.request("GET", path, params=params, content=text).json() == wanted
    assert old.get(path, cate_id="1", unknown="x") == wanted
    assert old.client.get(path, params=params).json()["errcode"] == 44002
    assert old.client.post(path, params=params, content=b"{").json()["errcode"] == 47001
    assert old.client.post(path, params=params, content=b"[1]").json()["errcode"] == 47001
    assert old.client.put(path, params=params, content=text).json()["errcode"] == 43002
    assert old.code("/merchant/no/such", {}) == old.code("/cgi-bin/no/such", {}) == 40066
    assert old.client.post(path, params=params, content=b" " * (5 * 2**20)).json()["errcode"] == 45002


def test_what_is_another_shops_is_not_there(old, others):
    """On every path that names a thing."""
    product = create(old, body(code="A"))
    old.post("/merchant/modproductstatus", {"product_id": product, "status": 1})
    freight = old.post("/merchant/express/add", {"delivery_template": template()})["template_id"]
    group = old.post("/merchant/group/add", {"group_detail": {"group_name": "组", "product_list": [product]}})[
        "group_id"
    ]
    data = {"module_infos": [{"eid": 2, "group_infos": {"groups": [{"group_id": group}]}}]}
    sent = {"shelf_data": data, "shelf_banner": "http://a.example/b.png", "shelf_name": "货架"}
    shelf = old.post("/merchant/shelf/add", sent)["shelf_id"]
    mine = [
        info(old, product),
        old.get("/merchant/express/getall"),
        old.post("/merchant/group/getbyid", {"group_id": group}),
        old.get("/merchant/shelf/getall"),
    ]
    asked = [
        ("/merchant/get", {"product_id": product}),
        ("/merchant/update", {**body("偷"), "product_id": product}),
        ("/merchant/create", {**body("偷"), "product_id": product}),
        ("/merchant/del", {"product_id": product}),
        ("/merchant/modproductstatus", {"product_id": product, "status": 0}),
        ("/merchant/stock/add", {"product_id": product, "sku_info": f"{COLOUR}:{RED}", "quantity": 1}),
        ("/merchant/stock/reduce", {"product_id": product, "sku_info": f"{COLOUR}:{RED}", "quantity": 1}),
        ("/merchant/express/getbyid", {"template_id": freight}),
        ("/merchant/express/update", {"template_id": freight, "delivery_template": template("偷")}),
        ("/merchant/express/del", {"template_id": freight, "delivery_template": template("偷")}),
        ("/merchant/express/del", {"template_id": freight}),
        ("/merchant/group/getbyid", {"group_id": group}),
        ("/merchant/group/propertymod", {"group_id": group, "group_name": "偷"}),
        ("/merchant/group/productmod", {"group_id": group, "product": [{"product_id": product, "mod_action": 0}]}),
        ("/merchant/group/del", {"group_id": group}),
        ("/merchant/shelf/getbyid", {"shelf_id": shelf}),
        ("/merchant/shelf/mod", {**sent, "shelf_id": shelf}),
        ("/merchant/shelf/add", {**sent, "shelf_id": shelf}),
        ("/merchant/shelf/updatestatus", {"shelf_id": shelf, "status": 0}),
        ("/merchant/shelf/del", {"shelf_id": shelf}),
    ]
    for path, named in asked:
        told = others.ask(path, named)
        assert told["errcode"] == 9400404, (path, told)
        assert told["errmsg"].partition(":")[0] in {"product_id", "template_id", "group_id", "shelf_id"}, (path, told)
        assert "shop_" not in told["errmsg"], "keys of the database are nobody's business"
    with_theirs = body("偷")
    with_theirs["delivery_info"] = {"delivery_type": 1, "template_id": freight}
    assert others.code("/merchant/create", with_theirs) == 40035
    assert others.code("/merchant/group/add", {"group_detail": {"group_name": "偷", "product_list": [product]}}) != 0
    assert others.code("/merchant/shelf/add", sent) != 0
    for path, key in (("express", "templates_info"), ("group", "groups_detail"), ("shelf", "shelves")):
        assert others.get(f"/merchant/{path}/getall")[key] == []
    assert others.post("/merchant/getbystatus", {"status": 0})["products_info"] == []
    assert mine == [
        info(old, product),
        old.get("/merchant/express/getall"),
        old.post("/merchant/group/getbyid", {"group_id": group}),
        old.get("/merchant/shelf/getall"),
    ]
