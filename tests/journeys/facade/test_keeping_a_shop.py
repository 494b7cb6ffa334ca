"""Categories, freight, groups, shelves and pictures through the 2014 shop API."""

import httpx
import pytest

from tests.backends.processes import wait_until
from tests.journeys.facade.asking import RETRIED, create, info
from tests.journeys.old_shop import body, picture, template


def test_every_leaf_from_the_root_offers_an_axis_with_a_choice(old, shop):
    """Walked by getsub down two ways; of all leaves at once by /v1, which is the same tree."""
    top = old.post("/merchant/category/getsub", {"cate_id": 1})["cate_list"]
    assert len(top) >= 20
    for category in (top[0], top[-1]):
        at = category
        while below := old.post("/merchant/category/getsub", {"cate_id": at["id"]})["cate_list"]:
            at = below[0]
        table = old.post("/merchant/category/getsku", {"cate_id": int(at["id"])})["sku_table"]
        assert any(len(axis["value_list"]) >= 2 for axis in table), at
        assert all(axis["id"].isdecimal() and axis["value_list"][0]["id"].isdecimal() for axis in table)
        assert isinstance(old.post("/merchant/category/getproperty", {"cate_id": at["id"]})["properties"], list)
    leaves, token = [], ""
    while True:
        page = shop.api.get("/v1/categories", with_attributes="true", page_size=1000, page_token=token or None)
        leaves += [found for found in page["categories"] if found["leaf"]]
        token = page["next_page_token"]
        if not token:
            break
    assert len(leaves) >= 300
    assert all(any(len(axis["values"]) >= 2 for axis in leaf["sku_attributes"]) for leaf in leaves)
    assert old.code("/merchant/category/getsub", {"cate_id": 12345}) == 9400404


def test_freight_lives_as_in_the_manual_and_is_changed_where_old_sdks_send_it(old, shop):
    made = old.post("/merchant/express/add", {"delivery_template": template()})["template_id"]
    shown = old.post("/merchant/express/getbyid", {"template_id": made})["template_info"]
    assert shown == {"Id": made, **template()}
    old.post("/merchant/express/del", {"template_id": made, "delivery_template": template("改名", Assumer=1)})
    renamed = old.post("/merchant/express/getbyid", {"template_id": str(made)})["template_info"]
    assert (renamed["Name"], renamed["Assumer"]) == ("改名", 1)
    assert old.get("/merchant/express/getall") == {"errcode": 0, "errmsg": "success", "templates_info": [renamed]}
    answer = old.client.get(
        "/merchant/express/getall", params={"access_token": old.token}, headers={"User-Agent": "python-requests/2.5"}
    ).json()
    assert answer["template_info"] == answer["templates_info"] == [renamed]
    sent = body()
    sent["delivery_info"] = {"delivery_type": 1, "template_id": made}
    identity = create(old, sent)
    assert info(old, identity)["delivery_info"] == {"delivery_type": 1, "template_id": made}
    assert old.code("/merchant/express/del", {"template_id": made}) == 9400411
    old.post("/merchant/del", {"product_id": identity})
    old.post("/merchant/express/del", {"template_id": made})
    assert shop.api.get("/v1/freight-templates")["templates"] == []
    told = old.ask("/merchant/create", sent)
    assert (told["errcode"], told["errmsg"].split(":")[0]) == (40035, "delivery_info.template_id")


def test_a_template_that_weighs_wants_the_weight_of_each_piece(old):
    made = old.post("/merchant/express/add", {"delivery_template": template(Valuation=1)})["template_id"]
    assert old.post("/merchant/express/getbyid", {"template_id": made})["template_info"]["Valuation"] == 1
    sent = body()
    sent["delivery_info"] = {"delivery_type": 1, "template_id": made}
    assert "sku_list[0].weight_g" in old.ask("/merchant/create", sent)["errmsg"]
    for sku in sent["sku_list"]:
        sku["weight_g"] = 250
    assert info(old, create(old, sent))["sku_list"][0]["weight_g"] == 250


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"Name": ""}, "delivery_template.Name"),
        ({"Assumer": 9}, "delivery_template.Assumer"),
        ({"Valuation": "x"}, "delivery_template.Valuation"),
        ({"TopFee": []}, "delivery_template.TopFee"),
        ({"TopFee": [{"Type": 1}]}, "delivery_template.TopFee[0].Type"),
        ({"TopFee": [{"Type": 10000027}]}, "delivery_template.TopFee[0].Normal"),
        (
            {"TopFee": [{**template()["TopFee"][0], "Normal": {"StartStandards": 0}}]},
            "delivery_template.TopFee[0].Normal.StartStandards",
        ),
        (
            {
                "TopFee": [
                    {
                        **template()["TopFee"][0],
                        "Custom": [{**template()["TopFee"][0]["Custom"][0], "DestCity": "广州"}],
                    }
                ]
            },
            "delivery_template.TopFee[0].Custom[0].DestCity",
        ),
    ],
)
def test_bad_freight_is_refused_by_its_field(old, change, field):
    told = old.ask("/merchant/express/add", {"delivery_template": template(**change)})
    assert (told["errcode"], f"{field}: " in told["errmsg"]) == (40035, True), told


def test_groups_live_as_in_the_manual(old):
    first, second = create(old), create(old)
    made = old.post("/merchant/group/add", {"group_detail": {"group_name": "测试分组", "product_list": [first]}})[
        "group_id"
    ]
    old.post("/merchant/group/propertymod", {"group_id": made, "group_name": "改名"})
    changes = [{"product_id": second, "mod_action": 1}, {"product_id": first, "mod_action": "0"}]
    old.post("/merchant/group/productmod", {"group_id": made, "product": changes})
    detail = old.post("/merchant/group/getbyid", {"group_id": made})["group_detail"]
    assert detail == {"group_id": made, "group_name": "改名", "product_list": [second]}
    assert old.get("/merchant/group/getall")["groups_detail"] == [{"group_id": made, "group_name": "改名"}]
    told = old.ask("/merchant/group/productmod", {"group_id": made, "product": [{"product_id": "", "mod_action": 3}]})
    assert "product[0].product_id: " in told["errmsg"]
    assert "product[0].mod_action: " in told["errmsg"]
    old.post("/merchant/group/del", {"group_id": made})
    assert old.code("/merchant/group/getbyid", {"group_id": made}) == 9400404


def test_shelves_take_the_five_controls_however_clients_count_them(old, api):
    group = old.post("/merchant/group/add", {"group_detail": {"group_name": "组"}})["group_id"]
    url = old.post("/merchant/common/upload_img", picture(), filename="a.png")["image_url"]
    modules = [
        {"eid": 1, "group_info": {"group_id": group, "filter": {"count": 2}}},
        {"eid": 2, "group_infos": {"groups": [{"group_id": group}]}},
        {"eid": 3, "group_info": {"group_id": group, "img": url}},
        {"eid": 4, "group_infos": {"groups": [{"group_id": group, "img": url}]}},
    ]
    sent = {"shelf_data": {"module_infos": [*modules, None]}, "shelf_banner": url, "shelf_name": "货架"}
    made = old.post("/merchant/shelf/add", sent)["shelf_id"]
    shown = old.post("/merchant/shelf/getbyid", {"shelf_id": made})
    assert list(shown) == ["errcode", "errmsg", "shelf_info", "shelf_banner", "shelf_name", "shelf_id"]
    assert shown["shelf_info"]["module_infos"] == modules
    background = {"eid": 4, "group_infos": {"groups": [{"group_id": group}], "img_background": url}}
    old.post("/merchant/shelf/add", {**sent, "shelf_id": made, "shelf_data": {"module_infos": [background]}})
    (changed,) = old.get("/merchant/shelf/getall")["shelves"]
    assert changed["shelf_info"]["module_infos"] == [{**background, "eid": 5}]
    there = old.post("/merchant/shelf/updatestatus", {"shelf_id": made, "status": 1})["shelf_url"]
    assert httpx.get(there, trust_env=False).json()["modules"][0]["background"] == url
    old.post("/merchant/shelf/updatestatus", {"shelf_id": made, "status": 0})
    public = there.removeprefix(api.base_url)
    wait_until(lambda: api.ask("GET", public).status == 404, "the shelf is taken down, which may take a second")
    both = {**sent, "shelf_data": {"module_infos": [background, modules[0]]}}
    assert old.code("/merchant/shelf/add", both) == 40035
    old.post("/merchant/shelf/del", {"shelf_id": made})
    assert old.get("/merchant/shelf/getall") == {"errcode": 0, "errmsg": "success", "shelves": []}


def test_a_picture_is_taken_however_clients_send_it(old):
    path, params = "/merchant/common/upload_img", {"access_token": old.token}
    data = picture((1, 2, 3))
    raw = old.post(path, data, filename="test.png")
    assert raw["image_url"] == raw["url"]
    ways = [
        old.client.post(path, params=params, content=data, headers={"Content-Type": "application/json;charset=utf-8"}),
        old.client.post(path, params={**params, "filename": "C:\\Bilder\\a.png"}, content=iter([data[:50], data[50:]])),
        old.client.post(path, params=params, files={"media": ("a.png", data)}),
        old.client.post(path, params=params, files={"file": ("a.png", data, "application/octet-stream")}),
        old.client.post(f"{path}?access_token={old.token}filename=a.png", content=data),
    ]
    assert [way.json() for way in ways] == [raw] * len(ways)
    assert httpx.get(raw["image_url"], trust_env=False).headers["content-type"] == "image/png"
    assert old.code(path, b"") == 44001
    assert old.code(path, b"no picture") not in {0, *RETRIED}
    assert old.code(path, b"\x00" * (3 * 2**20)) == 45002
