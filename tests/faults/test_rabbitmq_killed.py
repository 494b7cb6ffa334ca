"""On RabbitMQ: kill -9 of the broker and of the worker in the middle; the story finishes, the audit is clean, nothing is a dead letter."""

import random
import secrets
from collections.abc import Iterator

import pytest

from services.chassis import subscriptions
from services.chassis.settings import SERVICES
from services.cli.stack import Options
from tests.backends.processes import wait_until
from tests.faults.conftest import MortalStack

pytestmark = [pytest.mark.needs_rabbitmq, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(broker, tmp_path_factory) -> Iterator[MortalStack | None]:
    """The stack of this module: on RabbitMQ, in a virtual host of its own."""
    if broker.uri.startswith("memory:"):
        yield None  # the mark skips or fails the tests
        return
    host = f"f{secrets.token_hex(4)}"
    running = MortalStack(Options(tmp_path_factory.mktemp("mortal"), amqp_uri=broker.open_host(host)))
    running.start()
    yield running
    running.stop()
    broker.close_host(host)


def test_worker_in_the_middle_of_a_handler(round_of, stack, seed):
    """Unacked messages come again from the broker."""
    stack.arm("payments.settle_order.before", "orders.take_payment.after")
    stack.arm("worker.commit", passing=random.Random(seed).randint(2, 8))
    round_of(lambda _: stack.until_dead())


def test_rabbitmq_killed_and_restarted(round_of, stack, broker, seed):
    """Commands go on without the broker; what they promised is told when it is back."""
    table = subscriptions.table(subscriptions.workers())
    queues = ["jishi.unrouted", *(found.name for found in table), *{f"{found.service}.dead" for found in table}]
    wait_until(lambda: all(broker.has_saved(queue) for queue in queues), "the broker to have saved its queues")
    rng = random.Random(seed)

    def trouble(traffic):
        traffic.busy(rng.randint(4, 20))
        broker.kill()
        told = len(traffic.journal.lines)
        try:
            shop = traffic.town.shops[0]
            deposit = traffic.line.as_caller(shop.token)
            answer = deposit.ask("POST", f"/v1/shops/{shop.shop_id}/deposits", {"amount": 1}, key="dark", retry=False)
            assert answer.fine, answer
            traffic.pay_in(deposit, shop.shop_id, answer.body, 1)
            traffic.busy(told + 1)
        finally:
            broker.start()

    round_of(trouble)
    with stack.connect() as client:
        for service in SERVICES:
            assert client[service]["handled"].count_documents({"state": {"$ne": "done"}}) == 0, service
