"""Parcels through HTTP: some of an order, the rest, where they are, more time, and the end that the carrier's word brings."""

import json

from services.cli.clocks import advance
from services.cli.demo.trade import Goods, open_payment, pay, place
from services.cli.demo.trade import order as order_of
from tests.backends.processes import wait_until
from tests.journeys import guides


def test_two_parcels_one_lost_one_delivered(stack, admin, buyer, new_buyer, shop, open_shop):
    cup = Goods(shop.api, "parcel-cup", 1999, 10)
    checkout = place(buyer.api, [cup.line(3)])
    order_id = checkout["orders"][0]["order_id"]
    path = f"/v1/orders/{order_id}"
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    wait_until(lambda: order_of(buyer.api, order_id)["state"] == "paid", "the order to be paid")
    known = {"ORDER": order_id, "TOKEN": shop.api.token, "BUYER": buyer.api.token}
    told = guides.run(guides.sessions("docs/orders.md")[0], stack, **known)
    first, last, mended, reported, tracked, extended = map(json.loads, told.strip().split("\n"))
    assert (first["state"], last["state"], last["parcel"]) == ("paid", "shipped", 2)
    assert (mended["parcel"]["track_no"], reported["order_ids"]) == ("SF20260107", [order_id])
    assert [each["parcel"]["track_no"] for each in tracked["parcels"]] == ["SF20260105-LOST", "SF20260107"]
    assert extended["auto_confirm_at"] > last["auto_confirm_at"] == tracked["auto_confirm_at"]
    script = {"delivery_company": "003shunfeng", "delivery_track_no": "SF20260107", "script": "lost"}
    assert open_shop("别家").api.ask("POST", "/v1/sandbox/tracking", script).status == 404
    assert new_buyer("别人").api.ask("GET", f"{path}/tracking").status == 404
    assert buyer.api.ask("POST", f"{path}:cancel", {"reason_code": "changed_mind"}).reason == "WRONG_STATE"
    assert buyer.api.ask("POST", f"{path}:extendConfirmation").reason == "CONDITION_UNMET"
    advance(admin, 5 * 86_400)

    def statuses():
        return [each["parcel"]["status"] for each in buyer.api.get(f"{path}/tracking")["parcels"]]

    wait_until(lambda: statuses() == ["lost", "delivered"], "the carrier to tell")
    assert [event["status"] for event in shop.api.get(f"{path}/tracking")["parcels"][1]["events"]] == [
        "collected",
        "in_transit",
        "out_for_delivery",
        "delivered",
    ]
    seen = order_of(shop.api, order_id)
    news = "; ".join(line["note"] for line in seen["timeline"] if line["action"] == "tracked")
    assert [told.split(": ")[1] for told in news.split("; ")] == ["lost", "delivered"]
    assert (seen["state"], seen["cancel_reason"], seen["confirmation_extended"]) == ("shipped", "", True)


def test_a_carrier_tells_at_its_own_door_and_nobody_in_its_name(stack, admin, buyer, shop):
    cup = Goods(shop.api, "carried-cup", 1999, 10)
    checkout = place(buyer.api, [cup.line()])
    order_id = checkout["orders"][0]["order_id"]
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    wait_until(lambda: order_of(buyer.api, order_id)["state"] == "paid", "the order to be paid")
    number = f"ZT{order_id}"
    sent = {"delivery_company": "066zhongtong", "delivery_track_no": number}
    shop.api.post(f"/v1/orders/{order_id}:ship", sent)
    door = "/v1/carriers/066zhongtong"
    for caller in (shop.api, buyer.api):
        assert caller.ask("POST", f"{door}:setSecret", {}).status == 403
    event = {"event_id": "9", "status": "delivered", "occurred_at": "2026-01-05T10:00:00+08:00"}
    forged = admin.ask("POST", f"{door}/events", {"parcels": [{"track_no": number, "events": [event]}]})
    assert (forged.status, forged.reason) == (401, "UNAUTHENTICATED")
    known = {"ADMIN": admin.token, "TRACK_NO": number}
    told = json.loads(guides.run(guides.sessions("docs/orders.md")[3], stack, **known))
    assert told == {"accepted": [number], "unknown": [], "refused": []}
    (parcel,) = buyer.api.get(f"/v1/orders/{order_id}/tracking")["parcels"]
    assert (parcel["parcel"]["status"], len(parcel["events"])) == ("collected", 1)
    shop.api.post("/v1/sandbox/tracking", {**sent, "events": [{**event, "status": "in_transit"}]})
    (parcel,) = buyer.api.get(f"/v1/orders/{order_id}/tracking")["parcels"]
    assert [one["status"] for one in parcel["events"]] == ["collected", "in_transit"]
    assert admin.ask("POST", f"{door}:closeDoor").fine
