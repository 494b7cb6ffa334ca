"""A POST and an event that come again after 10,000 other writes to the same order: the same answer, no second effect."""

import time

import pytest
from pymongo import UpdateOne

from services.chassis import commit
from services.chassis.commit import Cause
from services.chassis.commit.documents import render, spill
from services.chassis.decisions import Change
from services.chassis.once import Result
from services.orders.commands import ship
from services.orders.model.states import Known
from tests.unit.orders.house import House

WRITES = 10_000
AT_ONCE = 100
PARCEL = {"need_delivery": False, "delivery_company": "", "delivery_track_no": "", "is_others": False}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def house(memory_world):
    """The orders service on a database of its own."""
    found = House(memory_world.settings)
    yield found
    found.close()


def counted(order):
    """A change that adds up: nothing in the order's state tells that it was made before."""
    return Change(inc={"counted": 1}, answer={"counted": order.get("counted", 0) + 1})


def others(rows, order, numbers):
    """What ``commit.change`` writes for so many commands, each on the version that the one before left, sent in one batch."""
    operations = []
    for number in numbers:
        spill(rows, order)
        condition, update = render(rows, order, Change(inc={"others": 1}), Cause(f"cmd:other:{number}"))
        operations.append(UpdateOne(condition, update))
        pushed = update["$push"]["applied"]
        known = [*order["applied"], *pushed["$each"]]
        order = {**order, **update["$set"], "applied": known[pushed.get("$slice", 0) :]}
    assert rows.bulk_write(operations).modified_count == len(operations)


def test_a_command_and_an_event_again_after_ten_thousand_other_writes(house):
    placed = house.place("k")
    assert house.pay(placed) is Result.APPLIED
    order = house.order(placed)
    rows, merchant = house.store.orders, Known("merchant", order["shop_id"], order["shop_id"])
    first = ship(house.store, Cause("cmd:ship", "body"), merchant, order["_id"], PARCEL)
    adding = commit.change(rows, order["_id"], Cause("cmd:add", "body"), counted)
    assert adding.answer == {"counted": 1}

    began = time.monotonic()
    for start in range(0, WRITES, AT_ONCE):
        others(rows, house.order(placed), range(start, start + AT_ONCE))
    print(f"{WRITES / (time.monotonic() - began):.0f} writes a second to one order")
    before = house.order(placed)
    assert before["others"] == WRITES
    assert len(before["applied"]) < 100, "an order does not grow with what was done to it"

    again = ship(house.store, Cause("cmd:ship", "body"), merchant, order["_id"], PARCEL)
    assert (again.replayed, again.answer) == (True, first.answer)
    added = commit.change(rows, order["_id"], Cause("cmd:add", "body"), counted)
    assert (added.replayed, added.answer) == (True, {"counted": 1})
    assert house.pay(placed) is Result.DONE
    for number in (0, WRITES // 2, WRITES - 1):
        assert commit.change(rows, order["_id"], Cause(f"cmd:other:{number}"), counted).replayed
    assert house.order(placed) == before
    assert len(house.told(before)) == 2, "paid and shipped were told once"
