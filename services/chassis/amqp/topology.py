"""Exchanges, queues and bindings: all of them, from the subscription table.

``<service>.events`` (topic) takes a service's events; each handler has one durable quorum queue ``<service>.<handler>``. What no queue
is bound to goes to ``jishi.unrouted``. What the broker hands out too often without an answer goes to ``jishi.dead`` and from there to the
queue ``<service>.dead`` of the service it was meant for. Names carry the prefix of the databases, so that several worlds share a broker.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kombu import Exchange, Queue, binding

from services.chassis import clock, policy
from services.chassis.settings import SERVICES, Settings
from services.chassis.subscriptions import Subscription


@dataclass(frozen=True)
class Topology:
    """Everything declared on the broker of one world."""

    settings: Settings
    subscriptions: tuple[Subscription, ...]

    def exchange(self, service: str) -> Exchange:
        """Where the events of ``service`` are published."""
        arguments = None if self._memory else {"alternate-exchange": self.name("jishi.unrouted")}
        return Exchange(self.name(f"{service}.events"), type="topic", durable=True, arguments=arguments)

    def queue(self, subscription: Subscription) -> Queue:
        """The queue of one handler, bound to the one event type it listens to."""
        return Queue(
            self.name(subscription.name),
            exchange=self.exchange(subscription.publisher),
            routing_key=subscription.handler.event_type,
            durable=True,
            queue_arguments=self._arguments(subscription.name),
        )

    def dead(self, service: str) -> Queue:
        """The dead letters of a service: one queue, bound by the name of each of its handlers."""
        names = [self.name(found.name) for found in self.subscriptions if found.service == service]
        bindings = [binding(self._dead_exchange, routing_key=name) for name in names]
        return Queue(self.name(f"{service}.dead"), bindings=bindings, durable=True, queue_arguments=self._quorum)

    def name(self, plain: str) -> str:
        """A name in this world."""
        return self.settings.db_prefix + plain

    def plain(self, name: str) -> str:
        """The name without the world's prefix."""
        return name.removeprefix(self.settings.db_prefix)

    def declare(self, channel: Any) -> None:
        """Declare all of it. Safe to repeat, by any process; raises what the connection raises."""
        for service in SERVICES:
            self.exchange(service)(channel).declare()
        for queue in self.queues():
            queue(channel).declare()

    def queues(self) -> Iterable[Queue]:
        """Every queue of this world."""
        yield from (self.queue(found) for found in self.subscriptions)
        if self._memory:
            return
        unrouted = Exchange(self.name("jishi.unrouted"), type="fanout", durable=True)
        yield Queue(self.name("jishi.unrouted"), exchange=unrouted, durable=True, queue_arguments=self._quorum)
        for service in {found.service for found in self.subscriptions}:
            yield self.dead(service)

    @cached_property
    def _dead_exchange(self) -> Exchange:
        return Exchange(self.name("jishi.dead"), type="direct", durable=True)

    @property
    def _memory(self) -> bool:
        return self.settings.memory_broker

    @property
    def _quorum(self) -> dict[str, Any] | None:
        return None if self._memory else {"x-queue-type": "quorum"}

    def _arguments(self, name: str) -> dict[str, Any] | None:
        """A quorum queue that gives a message up after the delivery limit, and never loses it on the way to the dead letters."""
        if self._memory:
            return None
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": policy.load("chassis").value("delivery_limit", clock.wall()),
            "x-dead-letter-exchange": self.name("jishi.dead"),
            "x-dead-letter-routing-key": self.name(name),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
