"""What only RabbitMQ has: confirms, the alternate exchange, delivery limit and dead letters, and its restart."""

import contextlib
import json
import signal
import time

import amqp
import pytest

from services.chassis import commit, events, parking
from services.chassis.amqp import broker as broker_module
from services.chassis.amqp.broker import ConfirmedPublisher, Depths
from services.chassis.amqp.topology import Topology
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.relay import BrokerAwayError, Outgoing
from services.chassis.subscriptions import table
from tests.backends.processes import PATIENCE_S, wait_until
from tests.contract import worker_toy as toy
from tests.contract.worker_stage import Stage

pytestmark = pytest.mark.needs_rabbitmq


@pytest.fixture
def topology(world) -> Topology:
    return Topology(world.settings, table(toy.WORKERS))


@pytest.fixture
def stage(world, tmp_path):
    stage = Stage(world, tmp_path)
    yield stage
    stage.end()


@pytest.fixture
def channel(world, topology):
    """A connection of our own, to look and to meddle; the topology is declared."""
    publisher = ConfirmedPublisher(world.settings, topology)
    publisher.declare()
    publisher.close()
    with broker_module.connect(world.settings) as connection:
        yield connection.channel()


def envelope(event_type: str, data, subject: str = "1"):
    fact = Fact(event_type, data)
    return events.pack(fact, entity="orders.things:1", subject=subject, sequence=1, causation="", traceparent="")


def depth(channel, name: str) -> int:
    return channel.queue_declare(name, passive=True).message_count


def test_a_batch_is_confirmed_before_publish_returns(world, topology, channel):
    publisher = ConfirmedPublisher(world.settings, topology)
    message = envelope(toy.REJECTED, {"order_id": "1"})
    publisher.publish([Outgoing(message) for _ in range(300)])
    assert publisher._unconfirmed == set()
    publisher.publish([Outgoing(message, queue="payments.book")])
    publisher.close()
    wait_until(lambda: depth(channel, topology.name("payments.count")) == 300, "messages in the first queue")
    assert depth(channel, topology.name("payments.book")) == 301
    depths = Depths(world.settings, topology)
    assert depths.waiting([found for found in topology.subscriptions if found.service == "payments"]) == 601
    depths._connection.release()


def test_what_nothing_is_bound_to_is_kept_aside(world, topology, channel):
    publisher = ConfirmedPublisher(world.settings, topology)
    publisher.publish([Outgoing(envelope("jishi.orders.order.paid.v1", {"order_id": "1"}))])
    publisher.close()
    wait_until(lambda: depth(channel, topology.name("jishi.unrouted")) == 1, "the unrouted event")


def test_without_a_broker_publish_says_so_and_works_again_after(world, topology):
    silent = world.settings.model_copy(update={"amqp_uri": "amqp://guest:guest@127.0.0.1:9//"})
    publisher = ConfirmedPublisher(silent, topology)
    with pytest.raises(BrokerAwayError):
        publisher.declare()
    with pytest.raises(BrokerAwayError):
        Depths(silent, topology).waiting(topology.subscriptions)
    publisher._settings = world.settings
    publisher.publish([Outgoing(envelope(toy.REJECTED, {"order_id": "1"}))])
    publisher.close()


def test_a_refused_message_is_no_success(world, topology, monkeypatch):
    publisher = ConfirmedPublisher(world.settings, topology)
    publisher.declare()
    monkeypatch.setattr(publisher, "_wait_confirmed", lambda: publisher._on_nack(1, False) or wait(publisher))
    wait = ConfirmedPublisher._wait_confirmed
    with pytest.raises(BrokerAwayError, match="refused"):
        publisher.publish([Outgoing(envelope(toy.REJECTED, {"order_id": "1"}))])


def test_a_message_handed_out_too_often_ends_as_a_parked_row_and_can_be_retried(stage, topology, channel):
    stage.open("1")
    commit.create(stage.orders["things"], {"_id": "1", "refunded": 0}, Cause("cmd:1"))
    message = json.dumps(envelope(toy.REJECTED, {"order_id": "1", "amount": 4})).encode()
    name = topology.name("payments.count")
    channel.basic_publish(amqp_message(channel, message), exchange="", routing_key=name)
    wait_until(lambda: exhausted(channel, name, topology.name("payments.dead")), "the delivery limit")
    stage.worker()
    wait_until(lambda: parking.parked(stage.payments) != [], "the parked row")
    (row,) = parking.parked(stage.payments)
    assert row["_id"] == "payments.count:orders.things:1:1"
    assert "dead letter" in row["error"]
    assert stage.payments["sums"].find_one({"_id": "1"})["sum"] == 0
    assert parking.retry(stage.payments) == 1
    stage.until_quiet()
    assert stage.payments["sums"].find_one({"_id": "1"})["sum"] == 4
    assert parking.parked(stage.payments) == []


def amqp_message(channel, body: bytes):
    return channel.prepare_message(body, content_type="application/json", content_encoding="utf-8")


def exhausted(channel, name: str, dead: str) -> bool:
    """Take and give back once, as a worker that crashes does; True when the broker has given up."""
    message = channel.basic_get(name)
    if message is not None:
        channel.basic_reject(message.delivery_tag, requeue=True)
    return depth(channel, dead) == 1


def test_a_restart_of_the_broker_loses_nothing(stage, broker, topology):
    stage.worker()
    stage.until_quiet()
    names = [queue.name for queue in topology.queues()]
    if hasattr(broker, "has_saved"):  # of a queue that it has not, it remembers the name and gives no consumer anything
        wait_until(lambda: all(broker.has_saved(name) for name in names), "queues saved")
    for number in range(10):
        stage.open(str(number))
        stage.tell(str(number))
    broker.kill()
    try:
        for number in range(10, 20):
            stage.open(str(number))
            stage.tell(str(number))
        wait_until(
            lambda: any("broker away" in problem for problem in stage.quiet(0)), "the outage is told", seconds=60
        )
    finally:
        broker.start()
    stage.until_quiet()
    assert stage.refunded() == {str(number): 1 for number in range(20)}
    assert stage.total() == 20
    assert parking.parked(stage.payments) == []


def test_a_stop_while_the_broker_is_away_ends_too(stage, broker):
    worker = stage.worker()
    stage.until_quiet()
    broker.kill()
    try:
        began = time.monotonic()
        worker.signal_group(signal.SIGTERM, seconds=PATIENCE_S)
        assert "stopped" in worker.tail(2), f"in order, not given up after {time.monotonic() - began:.0f} s"
    finally:
        broker.start()


def test_a_world_leaves_no_message_behind_for_another(world, topology, channel):
    """Names carry the prefix of the world."""
    for found in topology.subscriptions:
        assert topology.queue(found).name.startswith(world.prefix)
        assert topology.plain(topology.queue(found).name) == found.name
    with contextlib.suppress(amqp.exceptions.NotFound):
        channel.queue_declare("payments.count", passive=True)
        pytest.fail("a queue without prefix")
