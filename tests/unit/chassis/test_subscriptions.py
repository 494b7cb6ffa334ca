"""The one table of who listens to what, and the broker's topology made from it."""

from dataclasses import replace

import pytest

from services.chassis import subscriptions
from services.chassis.amqp.topology import Topology
from services.chassis.decisions import DONE
from services.chassis.reacting import Handler, Worker
from services.chassis.settings import SERVICES, Settings
from services.chassis.subscriptions import complete, table

PAID = "jishi.orders.order.paid.v1"


def handler(name: str = "paid", event_type: str = PAID) -> Handler:
    return Handler(event_type, name, lambda *_: None, lambda *_: DONE, lambda *_: None)


def worker(*handlers: Handler, service: str = "catalog") -> Worker:
    return Worker(service, (), handlers)


def test_every_service_listens_to_revoked_tokens():
    assert {found.handler.event_type for found in table([complete(worker())])} == {"jishi.accounts.token.revoked.v1"}
    assert {found.service for found in subscriptions.workers()} <= set(SERVICES)
    for found in subscriptions.workers():
        assert "token_revoked" in {one.name for one in found.handlers}


def test_a_subscription_knows_its_queue_and_its_publisher():
    (found,) = table([worker(handler())])
    assert (found.name, found.publisher) == ("catalog.paid", "orders")


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ([worker(handler(), handler())], "two handlers are called catalog.paid"),
        ([worker(handler(event_type="jishi.orders.nothing.v1"))], "no proto declares"),
    ],
)
def test_a_wrong_table_is_refused(workers, said):
    with pytest.raises(ValueError, match=said):
        table(workers)


def test_the_real_table_has_no_handler_without_a_decision():
    for found in table(subscriptions.workers()):
        assert callable(found.handler.decide), found.name


@pytest.fixture
def rabbit() -> Topology:
    return Topology(Settings(amqp_uri="amqp://broker//", db_prefix="w_"), table([complete(worker(handler()))]))


def test_queues_are_durable_quorum_queues_with_a_way_out(rabbit):
    queue = rabbit.queue(rabbit.subscriptions[0])
    assert (queue.name, queue.routing_key, queue.durable) == ("w_catalog.paid", PAID, True)
    assert queue.exchange.name == "w_orders.events"
    assert queue.exchange.arguments == {"alternate-exchange": "w_jishi.unrouted"}
    arguments = queue.queue_arguments
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-dead-letter-routing-key"] == "w_catalog.paid"
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert arguments["x-overflow"] == "reject-publish", "at-least-once dead letters need it"
    assert arguments["x-delivery-limit"] == 20


def test_dead_letters_of_a_service_come_together_under_the_name_of_their_handler(rabbit):
    dead = rabbit.dead("catalog")
    assert dead.name == "w_catalog.dead"
    assert {bound.routing_key for bound in dead.bindings} == {"w_catalog.paid", "w_catalog.token_revoked"}


def test_memory_has_none_of_what_it_does_not_know(rabbit):
    memory = replace(rabbit, settings=Settings(amqp_uri="memory://"))
    assert memory.queue(memory.subscriptions[0]).queue_arguments is None
    assert memory.exchange("orders").arguments is None
    assert {queue.name for queue in memory.queues()} == {"catalog.paid", "catalog.token_revoked"}
