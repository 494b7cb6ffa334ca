"""A merchant's desk on a real database: how many orders are in which state, and what happened to one."""

from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import commands, queries
from services.orders.model import census
from services.orders.model.states import Known, State
from services.orders.queries import counting, timeline
from services.orders.store import census as store_census
from tests.unit.orders import making
from tests.unit.orders.house import House

BUYER = Known("buyer", making.BUYER)
MERCHANT = Known("merchant", "acc_1", "shop_1")
ADMIN = Known("admin", "stf_1")
SHIPMENT = {"delivery_company": "003shunfeng", "delivery_track_no": "SF1234567", "is_others": False}


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def bought(house, key):
    placed = house.place(key)
    house.pay(placed, f"pay_{key}", hash(key))
    return placed.checkout["shares"][0]["order_id"]


def counted(house):
    """What the question answers; and it must be what there is."""
    found = counting.counts(house.store, MERCHANT, "")
    for state in State:
        assert found[state] == house.store.orders.count_documents({"state": state.value}), state
    return found


def test_counts_are_exact_whatever_is_sealed_and_whatever_changes_afterwards(house, monkeypatch):
    monkeypatch.setattr(store_census, "SEALING_S", 300.0)
    assert set(counted(house).values()) == {0}
    unpaid, stuck, done = house.place("k1"), bought(house, "k2"), bought(house, "k3")
    commands.ship(house.store, Cause("cmd:s"), MERCHANT, done, {**SHIPMENT, "need_delivery": True})
    assert {name: count for name, count in counted(house).items() if count} == {
        "awaiting_payment": 1,
        "paid": 1,
        "shipped": 1,
    }
    house.later(days=3)
    assert unpaid.checkout["shares"][0]["order_id"]
    counted(house)
    row = house.store.database["census"].find_one({"_id": "shop_1"})
    assert (row["sums"], len(row["left"])) == ({"completed": 0, "closed": 0}, 1), "that day has open orders"
    house.place("k4")
    house.later(days=8)
    assert counted(house)["completed"] == 1, "the shipped one completed by itself in its old day"
    commands.cancel(house.store, Cause("cmd:c"), MERCHANT, stuck, "缺货")
    before = counted(house)
    row = house.store.database["census"].find_one({"_id": "shop_1"})
    assert (row["sums"], row["left"]) == ({"completed": 1, "closed": 3}, [])
    house.store.database["census"].delete_one({"_id": "shop_1"})
    assert counted(house) == before, "it is made anew from the orders"
    house.place("k5")
    assert counted(house)["awaiting_payment"] == 1


def test_a_question_that_had_no_time_to_seal_is_answered_all_the_same(house, monkeypatch):
    bought(house, "k1")
    house.later(days=40)
    monkeypatch.setattr(store_census, "SEALING_S", -1.0)
    assert counted(house)["paid"] == 1
    assert house.store.database["census"].count_documents({}) == 0


def test_counts_of_a_house_in_which_other_states_were_final_begin_anew():
    old = {**census.new("shop_1"), "sequence": 7, "sums": {"closed": 9}, "below": 5}
    assert census.trusted(old) == {**census.new("shop_1"), "sequence": 7}


def test_neighbouring_stretches_are_counted_as_one():
    found = census.left(census.left(census.new("shop_1"), 10), 20)
    apart = census.left(census.sealed(found, 20, 30, {}), 40)
    assert census.stretches(apart, 99) == [(0, 20), (30, 99)]
    assert census.stretches(census.sealed(apart, 10, 20, {"closed": 2}), 99) == [(0, 10), (30, 99)]


def test_disputes_are_counted_beside_the_states(house):
    order_id = bought(house, "k1")
    case = {"case_id": "case_1", "order_id": order_id, "checkout_id": "c", "kind": "refund_only"}
    house.hear("jishi.disputes.case.opened.v1", case, 9)
    assert (counted(house)["in_dispute"], counted(house)["paid"]) == (1, 1)
    assert counting.counts(house.store, ADMIN, "shop_1") == counted(house)
    with pytest.raises(Refusal) as caught:
        counting.counts(house.store, ADMIN, "")
    assert caught.value.violations[0].field == "shop_id"
    with pytest.raises(Refusal) as caught:
        counting.counts(house.store, Known("merchant", "acc_9"), "")
    assert caught.value.reason == "PERMISSION_DENIED"


# ------------------------------------------------------------------------------------------------------------------ timeline


def lines(house, actor, order_id, size=2):
    found, token = timeline.page(house.store, actor, order_id, size, "")
    while token:
        more, token = timeline.page(house.store, actor, order_id, size, token)
        found = [*found, *more]
    return found


def test_a_timeline_is_told_page_by_page_without_the_people_of_the_other_side(house):
    order_id = bought(house, "k1")
    commands.ship(house.store, Cause("cmd:s"), MERCHANT, order_id, {**SHIPMENT, "need_delivery": True})
    commands.confirm(house.store, Cause("cmd:c"), BUYER, order_id)
    whole = house.store.order(order_id)["timeline"]
    for size in (1, 2, 3, 50):
        assert lines(house, ADMIN, order_id, size) == whole
    who = {actor: [line["actor_id"] for line in lines(house, actor, order_id)] for actor in (BUYER, MERCHANT)}
    assert who[BUYER] == [making.BUYER, "", "", making.BUYER]
    assert who[MERCHANT] == ["", "", "acc_1", ""]
    assert [line["event"] != "" for line in whole] == [False, True, False, False]
    for stranger in (Known("buyer", "usr_2"), Known("merchant", "acc_2", "shop_2")):
        with pytest.raises(Refusal) as caught:
            lines(house, stranger, order_id)
        assert caught.value.reason == "NOT_FOUND"


def test_entries_of_one_moment_are_told_once_and_so_are_those_after_old_ones_went(house):
    order_id = bought(house, "k1")
    at = clock.business()
    entries = [{**house.store.order(order_id)["timeline"][0], "at": at, "note": str(n)} for n in range(5)]
    later = {**entries[0], "at": at + timedelta(seconds=1), "note": "later"}
    house.store.orders.update_one({"_id": order_id}, {"$set": {"timeline": [*entries, later]}})
    assert [line["note"] for line in lines(house, ADMIN, order_id)] == ["0", "1", "2", "3", "4", "later"]
    _, token = timeline.page(house.store, ADMIN, order_id, 5, "")
    house.store.orders.update_one({"_id": order_id}, {"$set": {"timeline": [entries[0], later]}})
    assert [line["note"] for line in timeline.page(house.store, ADMIN, order_id, 5, token)[0]] == ["later"]
    with pytest.raises(Refusal) as caught:
        queries.page_size(-1)
    assert caught.value.violations[0].field == "page_size"
