"""Orders through the 2014 shop API."""

from services.cli.demo.trade import place
from tests.backends.processes import wait_until
from tests.journeys.old_shop import COLOUR, RED, sell


def test_orders_live_as_in_the_manual(old, others, buyer):
    product, (sent, ended, disputed) = sell(old, buyer, 1, 1, 1)
    line = buyer.api.get(f"/v1/orders/{sent}")["order"]["lines"][0]
    unpaid = place(buyer.api, [{"product_id": product, "sku_id": line["sku_id"], "quantity": 1}])["orders"][0][
        "order_id"
    ]
    claim = {"order_id": disputed, "kind": "refund_only", "amount": 1, "reason": "破损"}
    buyer.api.post("/v1/disputes", claim)

    def listed(**asked):
        return [found["order_id"] for found in old.post("/merchant/order/getbyfilter", asked)["order_list"]]

    wait_until(lambda: listed(status=8) == [disputed], "the order to be in dispute")
    shown = old.post("/merchant/order/getbyid", {"order_id": sent})["order"]
    placed = shown["order_create_time"]
    assert (shown["product_sku"], shown["order_status"], shown["product_count"]) == (f"{COLOUR}:{RED}", 2, 1)
    assert (shown["order_total_price"], shown["order_express_price"]) == (130, 100)
    assert old.get("/merchant/order/getbyfilter")["order_list"][-1] == shown
    for all_of in ({}, {"status": 0}, {"status": None, "begintime": None, "endtime": 0}, {"begintime": placed}):
        assert listed(**all_of) == [disputed, ended, sent], all_of
    assert listed(begintime=placed, endtime=placed)[-1] == sent
    assert listed(endtime=placed - 1) == []
    assert listed(status="2") == [ended, sent]

    wanted = {"order_id": sent, "delivery_company": "059Yunda", "delivery_track_no": "1900659372473"}
    told = old.ask("/merchant/order/setdelivery", {**wanted, "delivery_company": "059yunda"})
    assert (told["errcode"], told["errmsg"].startswith("delivery_company: ")) == (40035, True)
    for _ in range(2):
        assert old.post("/merchant/order/setdelivery", wanted) == {"errcode": 0, "errmsg": "success"}
    assert old.code("/merchant/order/setdelivery", {**wanted, "delivery_track_no": "1900659372474"}) == 9400410
    for _ in range(2):
        assert old.post("/merchant/order/close", {"order_id": ended}) == {"errcode": 0, "errmsg": "success"}
    assert [old.code("/merchant/order/close", {"order_id": each}) for each in (sent, disputed)] == [9400410] * 2
    buyer.api.post(f"/v1/orders/{sent}:confirm")
    assert (listed(status=2), listed(status=3), listed(status=5), listed(status=8)) == ([], [], [sent], [disputed])
    statuses = [
        old.post("/merchant/order/getbyid", {"order_id": each})["order"]["order_status"]
        for each in (unpaid, ended, sent)
    ]
    assert statuses == [1, 4, 5]
    for path in ("getbyid", "setdelivery", "close"):
        assert others.code(f"/merchant/order/{path}", {**wanted, "order_id": disputed}) == 9400404
    assert others.get("/merchant/order/getbyfilter")["order_list"] == []


def test_the_rest_of_an_order_is_sent_by_the_old_call_as_often_as_it_is_repeated(old, shop, buyer):
    _, (order,) = sell(old, buyer, 2)
    first = {"delivery_company": "003shunfeng", "delivery_track_no": "SF1111"}
    shop.api.post(f"/v1/orders/{order}:ship", {**first, "lines": [{"line": 1, "quantity": 1}]})
    rest = {"order_id": order, "delivery_company": "059Yunda", "delivery_track_no": "1900659372473"}
    for _ in range(2):
        assert old.post("/merchant/order/setdelivery", rest) == {"errcode": 0, "errmsg": "success"}
    shown = old.post("/merchant/order/getbyid", {"order_id": order})["order"]
    assert (shown["delivery_id"], shown["delivery_company"]) == ("1900659372473", "059Yunda")
    assert old.code("/merchant/order/setdelivery", {**rest, "delivery_track_no": "1900659372474"}) == 9400410


def test_what_is_wrong_with_a_call_on_orders_is_named(old):
    for path, sent, field in (
        ("getbyid", {"order_id": ""}, "order_id"),
        ("getbyfilter", {"status": 4}, "status"),
        ("getbyfilter", {"begintime": 9, "endtime": 8}, "endtime"),
        ("getbyfilter", {"begintime": 10**18}, "begintime"),
        ("setdelivery", {"order_id": "1", "need_delivery": 2}, "need_delivery"),
    ):
        told = old.ask(f"/merchant/order/{path}", sent)
        assert (told["errcode"], told["errmsg"].partition(":")[0]) == (40035, field), told
