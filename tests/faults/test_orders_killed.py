"""kill -9 between any two steps of placing and of taking a payment: what is repeated afterwards ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.commit import Cause
from services.chassis.once import Result
from services.chassis.settings import Settings
from services.orders.commands import cancel
from services.orders.model.states import Known
from tests.unit.orders.house import Accounts, Catalog, House, two_shops

ROOT = Path(__file__).resolve().parents[2]


def die():
    """End this process as kill -9 does: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingCatalog(Catalog):
    """Dies when it is asked, before anything is held."""

    def reserve(self, *_):
        die()


class DyingAccounts(Accounts):
    """Dies when stock is reserved and no order is written."""

    def describe(self, *_):
        die()


def child(step):
    """What the process that is killed does; the world stands in its environment."""
    from services.chassis import commit
    from services.orders.store import Store

    settings = Settings()
    house = House(settings)
    if step == "before reserving":
        house.place("k", catalog=DyingCatalog())
    elif step == "after reserving":
        house.place("k", accounts=DyingAccounts())
    elif step == "after writing":
        write = Store.place
        Store.place = lambda *arguments: (write(*arguments), die())
        house.place("k")
    elif step == "payment before commit":
        placed = house.place("k", catalog=two_shops())
        commit.Transaction.commit = lambda *_: die()
        house.pay(placed)
    elif step == "payment after commit":
        applied = commit.Transaction.commit
        placed = house.place("k", catalog=two_shops())
        commit.Transaction.commit = lambda self: (applied(self), die())
        house.pay(placed)


@pytest.fixture
def house(memory_world):
    """The orders service that goes on after the kill."""
    found = House(memory_world.settings)
    yield found
    found.close()


def killed(world, step):
    """Run ``child(step)`` in a process of its own and see it killed."""
    environment = {**os.environ, **world.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"}
    command = [sys.executable, str(Path(__file__).resolve()), step]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("step", ["before reserving", "after reserving", "after writing"])
def test_placing_goes_on_after_a_kill(memory_world, house, step):
    killed(memory_world, step)
    placed = house.place("k")
    assert placed.replayed == (step == "after writing")
    assert len(house.checkouts()) == house.store.orders.count_documents({}) == 1
    found = house.store.checkout(placed.checkout["_id"])
    assert (found["state"], "due_at" in found) == ("placed", False)
    assert house.order(placed)["amount"] == found["amount"]


@pytest.mark.parametrize("step", ["before reserving", "after reserving"])
def test_placing_that_nobody_repeats_is_given_up(memory_world, house, step):
    killed(memory_world, step)
    assert house.later(seconds=61) == 1
    (found,) = house.checkouts()
    assert (found["state"], house.told(found)) == ("abandoned", ["closed"])


@pytest.mark.parametrize(
    ("step", "again"), [("payment before commit", Result.APPLIED), ("payment after commit", Result.DONE)]
)
def test_a_payment_of_two_orders_is_taken_whole_and_once(memory_world, house, step, again):
    killed(memory_world, step)
    placed = house.place("k", catalog=two_shops())
    assert house.pay(placed) is again
    orders = house.store.orders_of(placed.checkout["_id"])
    assert [(order["state"], order["paid"]) for order in orders] == [("paid", order["amount"]) for order in orders]
    assert [house.told(house.order(placed, position)) for position in (0, 1)] == [["paid"], ["paid"]]


@pytest.mark.parametrize("number", range(6))
def test_a_cancellation_and_a_payment_at_once_lose_no_money(house, number):
    """Whoever is first: the order is paid and closes with its money, or it is closed and rejects its share."""
    placed = house.place(f"k{number}")
    order_id = placed.checkout["shares"][0]["order_id"]
    buyer = Known("buyer", placed.checkout["buyer_id"])
    house.at_once(
        lambda: cancel(house.store, Cause("cmd:cancel"), buyer, order_id, ""),
        lambda: house.pay(placed),
    )
    order = house.order(placed)
    assert order["state"] == "closed"
    assert house.told(order) in (["paid", "closed"], ["closed", "payment_rejected"])
    assert int(house.events(order)[1]["data"]["amount"]) == order["amount"]


if __name__ == "__main__":
    child(sys.argv[1])
