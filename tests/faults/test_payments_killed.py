"""kill -9 between any two steps of collecting and refunding: whoever comes after finishes it, and no fen moves twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis import clock, commit, ids
from services.chassis.once import Result
from services.payments import commands, jobs
from services.payments.model.payable import Success
from services.payments.provider import Channel
from services.payments.store import Store
from services.payments.store.posting import collected
from tests.backends.processes import wait_until
from tests.contract.channel.conftest import Channel as ChannelProcess
from tests.contract.payments.house import BUYER, Door, House

ROOT = Path(__file__).resolve().parents[2]


def die(*_):
    """End this process as kill -9 does: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(function):
    """``function``, and the end."""
    return lambda *arguments, **named: (function(*arguments, **named), die())


def child(step, *arguments):
    """What the process that is killed does; the world stands in its environment."""
    from services.chassis import mongo
    from services.chassis.settings import Settings

    settings = Settings()
    store = Store(mongo.database(mongo.connect(settings), settings, "payments"))
    channel = Channel(settings)
    if step == "placed, not written down":
        channel.place = then_die(channel.place)
        checkout = told_in(store, arguments[0])
        asked = {"checkout_id": arguments[0], "method": "native"}
        commands.create_payment(store, checkout, channel, commit.Cause(arguments[1], "body"), BUYER, asked)
    elif step == "collecting, not committed":
        commit.Transaction.commit = die
        collected(store, Success(arguments[0], arguments[1], 700, "CNY"))
    elif step == "collected, not answered":
        commit.Transaction.commit = then_die(commit.Transaction.commit)
        collected(store, Success(arguments[0], arguments[1], 700, "CNY"))
    elif step == "refunded, not written down":
        channel.refund = then_die(channel.refund)
        jobs.post_refund(store, channel, store.refund(arguments[0]))


class told_in:  # noqa: N801 - reads as what it is
    """Orders as the test wrote it down for the child."""

    def __init__(self, store, checkout_id):
        self.told = store.database["orders_told"].find_one({"_id": checkout_id})

    def payable(self, _checkout_id):
        return self.told


@pytest.fixture
def house(memory_world, mongo_uri, database_is_embedded, tmp_path):
    """Payments that goes on after the kill."""
    clock.reset()
    process = ChannelProcess(tmp_path / "channel", mongo_uri, embedded=database_is_embedded)
    process.start()
    found = House(memory_world, process, Door())
    found.environment = {
        **memory_world.environment,
        "JISHI_DATA_DIR": str(process.data),
        "JISHI_CHANNEL_URL": process.url,
        "JISHI_BASE_URL": found.door.url,
    }
    yield found
    found.close()
    process.stop()


def killed(house, *arguments):
    """Run ``child(*arguments)`` in a process of its own and see it killed."""
    environment = {**os.environ, **house.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_payment_that_the_channel_knows_and_we_forgot_goes_on(house):
    checkout_id, key = house.checkout(700), ids.secret()
    told = house.orders.checkouts[checkout_id]
    house.database["orders_told"].insert_one({"_id": checkout_id, **told})
    killed(house, "placed, not written down", checkout_id, f"cmd:{key}")
    assert house.store.payable(checkout_id) is None
    payment = house.create(checkout_id, key=key)
    assert (payment["state"], len(house.store.payable(checkout_id)["payments"])) == ("open", 1)
    house.pay(payment)
    house.until(checkout_id, "paid")


@pytest.mark.parametrize(
    ("step", "state"), [("collecting, not committed", "open"), ("collected, not answered", "paid")]
)
def test_a_notification_told_again_collects_once(house, step, state):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    transaction = house.pay(payment, notify={"copies": 1, "hold": True}).json()["transaction_id"]
    killed(house, step, payment["out_trade_no"], transaction)
    assert house.store.payable(checkout_id)["state"] == state
    house.http.post(payment["cashier_url"] + "/release")
    wait_until(lambda: house.door.arrived, "the notification")
    house.until(checkout_id, "paid")
    house.inquire(checkout_id)
    assert house.store.entries.count_documents({}) == 1
    assert len(house.outbox(house.store.payable(checkout_id))) == 1
    house.check()


def test_a_refund_that_the_channel_made_and_we_forgot_is_made_once(house):
    checkout_id = house.paid(700)
    (order_id,) = house.order_ids(checkout_id)
    closed = {"order_id": order_id, "was_paid": True, "amount": 700}
    assert house.hear("jishi.orders.order.closed.v1", checkout_id, **closed) is Result.APPLIED
    house.door.open_to = lambda *_: (503, b"")
    killed(house, "refunded, not written down", f"rf-{order_id}")
    assert house.store.refund(f"rf-{order_id}")["state"] == "pending"
    house.send_refunds()
    assert house.store.refund(f"rf-{order_id}")["state"] == "succeeded"
    trade = house.channel.trade(house.store.payable(checkout_id)["trade_nos"][0])
    assert trade["trade_state"] == "REFUND"
    assert len(house.outbox(house.store.refund(f"rf-{order_id}"))) == 1
    house.check()


if __name__ == "__main__":
    child(*sys.argv[1:])
