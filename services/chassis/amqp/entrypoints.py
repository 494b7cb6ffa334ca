"""nameko's extension points: our event entrypoint and the loops that run beside it (with ``runner``, all that knows nameko).

nameko's own event handler acks, and so loses, the event of a handler that raised. Ours acks when the delivery is applied or recorded,
and keeps the message while the database is away.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from amqp.exceptions import AMQPError
from kombu import Connection, Queue
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, ProviderCollector
from nameko.messaging import Consumer, QueueConsumer, QueueConsumerStopped

from services.chassis.amqp import broker
from services.chassis.logs import get
from services.chassis.presence import Presence
from services.chassis.settings import Settings

CONFIG_SETTINGS: Final = "JISHI_SETTINGS"
STOP_LOOKS_EVERY_S: Final = 0.3
RECONNECT: Final = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
_log = get(__name__)


class EventQueues(QueueConsumer):
    """The consumers of one service on one connection; bodies are handed on undecoded.

    nameko's cannot be stopped while the broker is away, and looks for it ever more seldom.
    """

    _over = False
    _pending_remove_providers: dict[Any, Any]
    _consumers: dict[Any, Any]

    def run(self) -> None:
        """Consume until stopped, also when the broker cannot be reached."""
        try:
            super().run(safety_interval=STOP_LOOKS_EVERY_S)
        except QueueConsumerStopped:
            _log.info("stopped while the broker was away")
        self._over = True
        pending, self._pending_remove_providers = self._pending_remove_providers, {}
        for removed in pending.values():
            removed.send()

    def unregister_provider(self, provider: "EventConsumer") -> None:
        """Called by nameko for each queue when the container stops."""
        if self._over:
            ProviderCollector.unregister_provider(self, provider)
        else:
            super().unregister_provider(provider)

    def _cancel_consumers_if_requested(self) -> None:
        """Called by nameko at each turn. What cannot be cancelled because the connection is gone stays asked for, as nameko's would not."""
        for provider in list(self._pending_remove_providers):
            consumer = self._consumers.pop(provider, None)
            if consumer is not None:
                consumer.cancel()
            self._pending_remove_providers.pop(provider).send()

    @contextmanager
    def establish_connection(self) -> Iterator[Connection]:
        """Called by kombu for every connection: tried again every few seconds until the broker answers."""
        with self.create_connection() as connection:
            connection.ensure_connection(self.on_connection_error, **RECONNECT)
            yield connection

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        """Called between two tries."""
        if self._pending_remove_providers:
            raise QueueConsumerStopped
        super().on_connection_error(exc, interval)

    @property
    def connection(self) -> Connection:
        """How to connect; kombu connects again by itself."""
        settings: Settings = self.container.config[CONFIG_SETTINGS]
        return broker.connect(settings, heartbeat=broker.HEARTBEAT_S)

    def get_consumers(self, consumer_cls: Callable[..., Any], _channel: Any) -> list[Any]:
        """One consumer a queue; called after every connection."""
        self._consumers = {
            provider: consumer_cls(
                queues=[provider.queue],
                on_message=partial(self.take, provider),
                prefetch_count=self.prefetch_count,
            )
            for provider in self._providers
        }
        return list(self._consumers.values())

    def take(self, provider: "EventConsumer", message: Any) -> None:
        """A message has come: it counts as work from now on."""
        provider.presence.begin()
        self.container.spawn_managed_thread(partial(provider.handle_message, message), identifier=provider.method_name)

    def ack_message(self, message: Any) -> None:
        """Ack; when the connection is gone the broker has taken the message back already, and the delivery is harmless twice."""
        try:
            if message.channel.connection:
                message.ack()
        except (AMQPError, OSError):
            _log.info("message could not be acked: connection lost")


class EventConsumer(Consumer):
    """Runs the decorated method for each message of a queue: ``method(self, message) -> None``; acks when it returns.

    A method that raises leaves its message unacked: the broker hands it out again when this process lets go of it.
    """

    queue_consumer = EventQueues()

    def __init__(self, queue: Queue, presence: Presence) -> None:
        """``presence`` counts what runs."""
        self.presence = presence
        super().__init__(queue)

    def handle_message(self, message: Any) -> None:
        """Run it in the pool of the container; waits here while the pool is full."""
        try:
            self.container.spawn_worker(self, (message,), {}, handle_result=partial(self.handle_result, message))
        except ContainerBeingKilled:
            self.presence.end()

    def handle_result(
        self, message: Any, _worker_ctx: Any, result: Any = None, exc_info: Any = None
    ) -> tuple[Any, Any]:
        """Called by nameko when the method has returned or raised."""
        if exc_info is None:
            self.queue_consumer.ack_message(message)
        self.presence.end()
        return result, exc_info


class Loop(DependencyProvider):
    """``run(stopping)`` in a green thread from the start of the container until its handlers have finished."""

    def __init__(self, run: Callable[[threading.Event], None]) -> None:
        """``run`` returns soon after ``stopping`` is set."""
        self._run = run
        self._stopping = threading.Event()
        self._thread: Any = None

    def start(self) -> None:
        """nameko: the container starts."""
        self._thread = self.container.spawn_managed_thread(
            partial(self._run, self._stopping), identifier=self.attr_name
        )

    def stop(self) -> None:
        """nameko: the container stops, its handlers have finished."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.wait()
