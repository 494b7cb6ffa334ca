"""The carriers' door: who is believed, what is heard once, and what nobody knows."""

import json
from datetime import timedelta

import pytest

from services.chassis import clock, webhook_signing
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import commands
from services.orders.commands import carriers
from services.orders.model import carriers as model
from services.orders.model.states import Known
from tests.unit.orders.house import House

SF, MERCHANT = "003shunfeng", Known("merchant", "acc_1", "shop_1")


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def secret(house, key="s", given=""):
    return carriers.set_secret(house.store, Cause(f"cmd:{key}", f"body {given}"), SF, given)[0]


def sent(house, track_no="SF1234567"):
    placed = house.place(f"k{track_no}")
    house.pay(placed, f"pay_{track_no}", number=len(track_no))
    order_id = placed.checkout["shares"][0]["order_id"]
    asked = {"delivery_company": SF, "delivery_track_no": track_no, "is_others": False}
    commands.ship(house.store, Cause(f"cmd:ship{track_no}"), MERCHANT, order_id, asked)
    return order_id


def event(event_id="e1", status="delivered", **more):
    at = clock.business() - timedelta(minutes=1)
    return {"event_id": event_id, "status": status, "occurred_at": at, "place": "", "text": "", **more}


def says(house, signed_with, *parcels, message_id="m1", carrier=SF):
    """A message as it comes through the door."""
    body = json.dumps(parcels, default=str).encode()
    headers = webhook_signing.signed(signed_with, message_id, body, now_s=clock.wall_ms() // 1000)
    cause = carriers.verified(house.store, carrier, headers, body)
    return carriers.told(house.store, cause, carrier, parcels)


def refusal(attempt):
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value


def test_only_what_a_carrier_signed_is_believed(house):
    order_id, parcel = sent(house), {"track_no": "SF1234567", "events": [event()]}
    stranger = webhook_signing.new_secret()
    assert refusal(lambda: says(house, stranger, parcel)).reason == "UNAUTHENTICATED", "no door yet"
    mine = secret(house)["secret"]
    assert refusal(lambda: says(house, stranger, parcel)).reason == "UNAUTHENTICATED"
    assert refusal(lambda: says(house, mine, parcel, carrier="059Yunda")).reason == "UNAUTHENTICATED"
    assert house.store.order(order_id)["parcels"][0]["events"] == []
    assert says(house, mine, parcel) == ({"accepted": ["SF1234567"], "unknown": [], "refused": []}, False)
    order = house.store.order(order_id)
    assert (order["parcels"][0]["status"], order["timeline"][-1]["actor"]) == ("delivered", "carrier")


def test_a_message_that_comes_again_changes_nothing(house):
    order_id, mine = sent(house), secret(house)["secret"]
    parcel = {"track_no": "SF1234567", "events": [event()]}
    first, again = says(house, mine, parcel), says(house, mine, parcel)
    assert (first[0], first[1], again[1]) == (again[0], False, True)
    before = house.store.order(order_id)
    says(house, mine, parcel, message_id="m2")
    assert house.store.order(order_id)["parcels"] == before["parcels"], "the same event in another message"
    other = {"track_no": "SF1234567", "events": [event("e2", "lost")]}
    assert refusal(lambda: says(house, mine, other)).reason == "IDEMPOTENCY_KEY_REUSED"


def test_each_parcel_of_a_message_is_heard_for_itself(house):
    sent(house)
    mine = secret(house)["secret"]
    known, nobodys = ({"track_no": number, "events": [event()]} for number in ("SF1234567", "SF7654321"))
    wrong = {"track_no": "SF1234567", "events": [event(status="eaten")]}
    answer, _ = says(house, mine, known, nobodys, wrong)
    assert (answer["accepted"], answer["unknown"]) == (["SF1234567"], ["SF7654321"])
    (refused,) = answer["refused"]
    assert "events[0].status" in refused["message"]
    assert refusal(lambda: says(house, mine, message_id="m2")).violations[0].field == "parcels"
    assert refusal(lambda: says(house, mine, *[nobodys] * 101, message_id="m3")).violations[0].field == "parcels"


def test_a_new_secret_is_told_once_and_the_one_before_is_believed_for_a_day(house):
    first, again = secret(house), secret(house)
    assert first == again
    second = secret(house, "t", webhook_signing.new_secret())
    assert (second["number"], "previous_until" in first, "previous_until" in second) == (2, False, True)
    row = house.store.carrier(SF)
    assert model.believed(row, clock.wall()) == [first["secret"], second["secret"]]
    assert model.believed(row, clock.wall() + timedelta(days=1, minutes=1)) == [second["secret"]]
    applied = json.dumps(row["applied"], default=str)
    assert first["secret"] not in applied
    third = secret(house, "u")
    assert len(house.store.carrier(SF)["secrets"]) == 2, third
    assert refusal(lambda: secret(house, "v", "whsec_x")).violations[0].field == "secret"
    carriers.close_door(house.store, Cause("cmd:c"), SF)
    parcel = {"track_no": "SF1234567", "events": [event()]}
    assert refusal(lambda: says(house, third["secret"], parcel)).reason == "UNAUTHENTICATED"
    assert refusal(lambda: carriers.close_door(house.store, Cause("cmd:d"), "nobody")).reason == "NOT_FOUND"
