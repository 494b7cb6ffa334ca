"""Parcels, tracking, and when an order completes by itself, on a real database."""

from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import commands
from services.orders.model.states import Known
from services.orders.queries import tracking
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House

BUYER = Known("buyer", making.BUYER)
MERCHANT = Known("merchant", "acc_1", "shop_1")
ADMIN = Known("admin", "staff_1")


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def paid(house, *lines):
    """The id of a paid order of three cups and one pot, or of other lines."""
    lines = lines or (making.reserved(quantity=3), making.reserved(sku="s2", quantity=1))
    placed = house.place(catalog=Catalog(*lines))
    house.pay(placed)
    return placed.checkout["shares"][0]["order_id"]


def ship(house, order_id, track_no="SF1234567", *lines, key="", sandbox=False, **more):
    asked = {"delivery_company": "003shunfeng", "delivery_track_no": track_no, "is_others": False, **more}
    asked["lines"] = [{"line": line, "quantity": quantity} for line, quantity in lines]
    return commands.ship(
        house.store, Cause(f"cmd:s{key or track_no}"), MERCHANT, order_id, asked, sandbox=sandbox
    ).answer


def told(house, track_no, *events, key="t", actor=ADMIN, script=""):
    now = clock.business()
    rows = [
        {"event_id": event_id, "status": status, "occurred_at": now - timedelta(hours=ago), "place": "", "text": ""}
        for event_id, status, ago in events
    ]
    asked = {"delivery_company": "003shunfeng", "delivery_track_no": track_no, "events": rows, "script": script}
    return commands.track(house.store, Cause(f"cmd:{key}"), actor, asked).answer["order_ids"]


def refusal(attempt):
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value


def test_an_order_is_shipped_when_everything_is_and_cannot_be_cancelled_in_between(house):
    order_id = paid(house)
    first = ship(house, order_id, "SF1111", (1, 2))
    assert (first["state"], first["parcel"], "shipped_at" in first) == ("paid", 1, False)
    assert ship(house, order_id, "SF1111", (1, 2)) == first
    for actor in (BUYER, MERCHANT):
        cancel = Cause(f"cmd:c{actor.kind}")
        found = refusal(lambda by=actor, under=cancel: commands.cancel(house.store, under, by, order_id, "缺货"))
        assert (found.reason, found.info["state"]) == ("WRONG_STATE", "partly shipped")
    assert refusal(lambda: ship(house, order_id, "SF1111", key="x")).violations[0].field == "delivery_track_no"
    assert refusal(lambda: ship(house, order_id, "SF2222", (1, 2))).violations[0].field == "lines[0].quantity"
    assert refusal(lambda: ship(house, order_id, "SF2222", (3, 1))).violations[0].field == "lines[0].line"
    last = ship(house, order_id, "SF2222")
    assert (last["state"], last["parcel"]) == ("shipped", 2)
    order = house.store.order(order_id)
    assert [parcel["lines"] for parcel in order["parcels"]] == [
        [{"line": 1, "quantity": 2}],
        [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}],
    ]
    assert house.told(order) == ["paid", "shipped"]
    assert [line["action"] for line in order["timeline"]] == ["placed", "paid", "sent", "shipped"]
    assert order["delivery"]["track_no"] == "SF1111"


def test_seven_days_after_the_last_parcel_came_the_order_completes(house):
    order_id = paid(house)
    ship(house, order_id, "SF1111", (1, 3))
    ship(house, order_id, "SF2222")
    told(house, "SF1111", ("a", "delivered", 0), key="t1")
    ten_days = house.store.order(order_id)["auto_confirm_at"]
    house.later(days=1)
    told(house, "SF2222", ("b", "delivered", 3), key="t2")
    seven_days = house.store.order(order_id)["auto_confirm_at"]
    assert ten_days - seven_days > timedelta(days=1, hours=23)
    extended = commands.extend(house.store, Cause("cmd:e"), BUYER, order_id)
    assert extended.answer["auto_confirm_at"] - seven_days == timedelta(days=3)
    assert refusal(lambda: commands.extend(house.store, Cause("cmd:e2"), BUYER, order_id)).reason == "CONDITION_UNMET"
    assert house.later(days=9) == 0
    assert house.later(days=1, minutes=1) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_news_that_comes_twice_or_late_does_not_undo_newer(house):
    order_id = paid(house)
    ship(house, order_id)
    assert told(house, "SF1234567", ("b", "returned", 1), ("a", "in_transit", 5), key="t1") == [order_id]
    told(house, "SF1234567", ("c", "collected", 9), ("b", "returned", 1), key="t2")
    (parcel,) = tracking.tracking(house.store, BUYER, order_id)["parcels"]
    assert [event["event_id"] for event in parcel["events"]] == ["c", "a", "b"]
    assert parcel["parcel"]["status"] == "returned"
    order = house.store.order(order_id)
    assert order["timeline"][-1]["note"] == "顺丰速运 SF1234567: returned"
    stranger = Known("merchant", "acc_2", "shop_2")
    assert refusal(lambda: told(house, "SF1234567", ("d", "lost", 0), key="t3", actor=stranger)).reason == "NOT_FOUND"
    assert refusal(lambda: tracking.tracking(house.store, stranger, order_id)).reason == "NOT_FOUND"
    found = refusal(lambda: told(house, "SF1234567", ("", "lost", 0), ("e", "?", -1), key="t4"))
    assert [each.field for each in found.violations] == [
        "events[0].event_id",
        "events[1].status",
        "events[1].occurred_at",
    ]


@pytest.mark.parametrize(("end", "status", "days"), [("NORMAL", "delivered", 9), ("LOST", "lost", 40)])
def test_the_mock_carrier_tells_what_the_number_asks_for(house, end, status, days):
    order_id = paid(house)
    ship(house, order_id, f"SF777-{end}", sandbox=True)
    assert house.later(hours=1) == 0
    assert house.later(hours=2) == 1
    assert house.store.order(order_id)["parcels"][0]["status"] == "collected"
    house.later(days=5)
    order = house.store.order(order_id)
    assert order["parcels"][0]["status"] == status
    assert order["auto_confirm_at"] - order["shipped_at"] == timedelta(days=days)
    assert house.later(days=days - 6, hours=20) == 0
    house.later(hours=2)
    order = house.store.order(order_id)
    assert order["state"] == {"delivered": "completed", "lost": "closed"}[status]


@pytest.mark.parametrize("status", ["lost", "returned"])
def test_of_what_got_lost_or_was_returned_the_shop_gets_nothing_by_silence(house, status):
    order_id = paid(house)
    ship(house, order_id)
    house.later(days=9)
    told(house, "SF1234567", ("a", status, 0))
    assert house.later(days=2) == 0, "ten days after shipping nothing is confirmed"
    house.later(days=30)
    order = house.store.order(order_id)
    assert (order["state"], order["close_reason"]) == ("closed", "undelivered")
    assert house.told(order) == ["paid", "shipped", "closed"]
    last = house.events(order)[-1]["data"]
    assert (last["amount"], last.get("lines", [])) == (str(order["paid"]), [])


def test_of_an_order_that_arrived_in_part_the_buyer_has_a_month_more_to_say_so(house):
    order_id = paid(house)
    ship(house, order_id, "SF1111", (1, 3))
    ship(house, order_id, "SF2222")
    told(house, "SF1111", ("a", "delivered", 0), key="t1")
    told(house, "SF2222", ("b", "lost", 0), key="t2")
    assert house.later(days=39) == 0
    assert house.later(days=1, minutes=1) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_the_buyer_of_a_lost_parcel_may_still_confirm_and_a_dispute_stops_its_end(house):
    order_id = paid(house)
    ship(house, order_id)
    told(house, "SF1234567", ("a", "lost", 0))
    case = {"case_id": "c1", "order_id": order_id, "checkout_id": house.store.order(order_id)["checkout_id"]}
    house.hear("jishi.disputes.case.opened.v1", {**case, "kind": "refund_only"})
    assert house.later(days=100) == 0
    house.hear("jishi.disputes.case.closed.v1", {**case, "outcome": "withdrawn"})
    assert commands.confirm(house.store, Cause("cmd:ok"), BUYER, order_id).answer["state"] == "completed"


def test_a_parcel_found_again_or_sent_again_begins_the_buyers_time_anew(house):
    order_id = paid(house)
    ship(house, order_id)
    told(house, "SF1234567", ("a", "lost", 0), key="t1")
    house.later(days=20)
    told(house, "SF1234567", ("b", "in_transit", 0), key="t2")
    found = house.store.order(order_id)
    assert abs(found["auto_confirm_at"] - clock.business() - timedelta(days=10)) < timedelta(minutes=1)
    told(house, "SF1234567", ("c", "returned", 0), key="t3")
    house.later(days=12)
    asked = {"parcel": 1, "delivery_company": "066zhongtong", "delivery_track_no": "ZT99999", "is_others": False}
    answer = commands.correct(house.store, Cause("cmd:c1"), MERCHANT, order_id, asked).answer
    assert answer["parcel"]["sent_at"] > found["shipped_at"] + timedelta(days=31), (
        "sent again, long after the first day"
    )
    assert house.later(days=9) == 0
    assert house.later(days=1, minutes=1) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_a_wrong_number_is_corrected_within_a_day(house):
    order_id = paid(house)
    ship(house, order_id)
    told(house, "SF1234567", ("a", "delivered", 0), key="t1")
    asked = {
        "parcel": 1,
        "delivery_company": "066zhongtong",
        "delivery_track_no": "ZT99999",
        "is_others": False,
    }
    wrong = refusal(lambda: commands.correct(house.store, Cause("cmd:c0"), MERCHANT, order_id, {**asked, "parcel": 2}))
    assert wrong.violations[0].field == "parcel"
    answer = commands.correct(house.store, Cause("cmd:c1"), MERCHANT, order_id, asked).answer
    assert (answer["parcel"]["track_no"], answer["parcel"]["status"]) == ("ZT99999", "")
    order = house.store.order(order_id)
    assert (order["delivery"]["company_name"], order["parcels"][0]["events"]) == ("中通速递", [])
    assert order["auto_confirm_at"] - order["shipped_at"] == timedelta(days=10)
    house.later(days=1, minutes=1)
    late = refusal(lambda: commands.correct(house.store, Cause("cmd:c2"), MERCHANT, order_id, asked))
    assert (late.reason, late.info["condition"]) == ("CONDITION_UNMET", "correction")


def test_virtual_goods_need_no_parcel_and_complete_after_two_days(house):
    order_id = paid(house, {**making.reserved(freight=0), "fulfilment": "virtual"})
    ship(house, order_id, "", key="v", need_delivery=False)
    assert house.later(days=1, hours=23) == 0
    assert house.later(hours=2) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_a_refund_of_everything_closes_a_partly_shipped_order_and_returns_what_was_not_sent(house):
    order_id = paid(house)
    ship(house, order_id, "SF1111", (1, 1))
    order = house.store.order(order_id)
    data = {"refund_id": "r1", "order_id": order_id, "checkout_id": order["checkout_id"], "amount": order["paid"]}
    house.hear("jishi.payments.refund.succeeded.v1", {**data, "cause": "dispute", "case_id": "c1"})
    closed = house.store.order(order_id)
    assert (closed["state"], house.told(closed), "due_at" in closed) == ("closed", ["paid", "closed"], False)
    told = house.events(closed)[1]["data"]
    assert [line["quantity"] for line in told["lines"]] == [2, 1]


@pytest.mark.parametrize(
    ("actor", "code", "text", "field"),
    [
        (BUYER, "out_of_stock", "", "reason_code"),
        (MERCHANT, "other", " ", "reason"),
        (MERCHANT, "", "", "reason"),
        (BUYER, "", "x" * 201, "reason"),
        (BUYER, "changed_mind", "", ""),
        (MERCHANT, "out_of_stock", "", ""),
    ],
)
def test_why_an_order_is_cancelled(house, actor, code, text, field):
    order_id = paid(house)

    def attempt():
        return commands.cancel(house.store, Cause("cmd:c"), actor, order_id, text, code)

    if field:
        assert refusal(attempt).violations[0].field == field
        return
    attempt()
    order = house.store.order(order_id)
    assert (order["cancel_reason"], order["close_reason"], order["timeline"][-1]["note"]) == (code, actor.kind, code)
