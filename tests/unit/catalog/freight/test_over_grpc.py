"""ReserveStock as orders calls it: the catalog's own server, over gRPC."""

from datetime import timedelta

import pytest
from jishi.catalog.v1 import freight_pb2, reservations_pb2

from services.catalog.server import SERVER
from services.chassis import clock, codec, rpc
from services.chassis.errors import Refusal
from services.chassis.rpc.contracts import methods_of
from services.chassis.tokens import Signer
from tests.unit.catalog.freight.templates import RULE, carrier, make, to, uses
from tests.unit.catalog.making import SHOP, product
from tests.unit.chassis_rpc.rig import until


@pytest.fixture
def reserve(memory_world):
    """``reserve(checkout_id, lines, **more)``: what orders gets, as plain lines."""
    settings = memory_world.settings.model_copy(update={"listen": {"catalog": "127.0.0.1:0"}})
    servers = rpc.start([SERVER], settings)
    until(lambda: servers.ready, "the catalog is ready")
    address = servers.servers["catalog"].address
    token = Signer(settings, "orders").own
    stub = rpc.Stub(address, token, lambda: methods_of("catalog"), timeout_s=10)

    def ask(checkout_id, lines, **more):
        pay_by = clock.business() + timedelta(minutes=30)
        values = {"checkout_id": checkout_id, "buyer_id": "b1", "pay_by": pay_by, "lines": lines, **more}
        request = codec.from_plain(reservations_pb2.ReserveStockRequest, values)
        answer = stub.call("ReserveStock", request, reservations_pb2.ReserveStockResponse, key=checkout_id)
        return [codec.to_plain(line) for line in answer.lines]

    ask.stub = stub
    yield ask
    stub.close()
    servers.stop(1)


def test_orders_may_say_where_to_and_how_and_need_not(house, reserve):
    made = make(house, carrier("express", RULE, to("浙江省")), carrier("post", {**RULE, "start_fee": 7}))
    house.upsert(uses(made), product("p2"))
    lines = [house.line(2), house.line(1, "p2")]
    place = {"province": "浙江省", "city": "杭州市"}
    by_post = [{"shop_id": SHOP, "carrier_class": "post"}]

    def told(*asked, **more):
        return [
            (found["freight_kind"], found["freight_fee"], found["carrier_class"]) for found in reserve(*asked, **more)
        ]

    assert told("c1", lines) == [("template", 1100, "express"), ("free", 0, "express")]
    assert told("c2", lines, destination=place) == [("template", 600, "express"), ("free", 0, "express")]
    assert told("c3", lines, destination=place, carriers=by_post) == [("template", 107, "post"), ("free", 0, "post")]
    assert told("c3", lines, destination=place, carriers=by_post)[0] == ("template", 107, "post")
    with pytest.raises(Refusal) as caught:
        reserve("c4", lines, destination={**place, "city": "杭州"})
    assert [found.field for found in caught.value.violations] == ["destination.city"]
    assert house.stock() == [(10, 6), (10, 0)]


def test_the_classes_have_the_numbers_of_2014():
    assert codec.enum_names(freight_pb2.CarrierClass.DESCRIPTOR) == {
        "": 0,
        "post": 10000027,
        "express": 10000028,
        "ems": 10000029,
    }


def test_a_quote_is_what_reserving_would_freeze_and_holds_nothing(house, reserve):
    made = make(house, carrier("express", RULE, to("浙江省")), carrier("post", {**RULE, "start_fee": 7}))
    house.upsert(uses(made), product("p2"))
    asked = {"lines": [house.line(2), house.line(1, "p2")], "destination": {"province": "浙江省", "city": "杭州市"}}
    request = codec.from_plain(reservations_pb2.QuoteLinesRequest, asked)
    told = codec.to_plain(reserve.stub.call("QuoteLines", request, reservations_pb2.QuoteLinesResponse))
    (shop,) = told["shops"]
    fees = {each["carrier_class"]: (each["fee"], each["chosen"]) for each in shop["carriers"]}
    assert fees == {"express": (600, True), "post": (107, False)}
    assert house.stock() == [(10, 0), (10, 0)]
    assert told["lines"] == reserve("c1", asked["lines"], destination=asked["destination"])
    too_many = codec.from_plain(reservations_pb2.QuoteLinesRequest, {"lines": [house.line(9)]})
    with pytest.raises(Refusal) as caught:
        reserve.stub.call("QuoteLines", too_many, reservations_pb2.QuoteLinesResponse)
    assert caught.value.reason == "OUT_OF_STOCK"
