"""Connections to the broker, and the publisher with confirms that the relays use."""

import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from kombu import Connection, Producer
from kombu.transport.virtual.base import Channel as VirtualChannel

from services.chassis import events
from services.chassis.amqp.topology import Topology
from services.chassis.logs import get
from services.chassis.relay import BrokerAwayError, Outgoing
from services.chassis.settings import Settings
from services.chassis.subscriptions import Subscription

HEARTBEAT_S: Final = 20
CONNECT_S: Final = 5
CONFIRM_S: Final = 20.0
RESENT: Final = "x-resent"
"""Header: how often the relay sent the event again after a start (memory:// only)."""
_PERSISTENT: Final = 2
_log = get(__name__)


def connect(settings: Settings, *, heartbeat: int = 0) -> Connection:
    """A connection that is made when it is first used."""
    if settings.memory_broker:
        from services.chassis.amqp import memory

        return Connection("memory://localhost", transport=f"{memory.__name__}:Transport")
    return Connection(settings.amqp_uri, heartbeat=heartbeat, connect_timeout=CONNECT_S)


class ConfirmedPublisher:
    """Publishes batches, and returns when the broker has taken responsibility for all of them. One user at a time."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        """Connects at the first ``publish``, which also declares the whole topology."""
        self._settings, self._topology = settings, topology
        self._known = {found.handler.event_type for found in topology.subscriptions}
        self._connection: Connection | None = None
        self._channel: Any = None
        self._published = 0
        self._unconfirmed: set[int] = set()
        self._refused = False

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """Return when all are confirmed. Raises BrokerAwayError; any of them may have been sent then."""
        try:
            channel = self._open()
            producer = Producer(channel, auto_declare=False)
            for outgoing in batch:
                self._send(producer, outgoing)
            if not self._settings.memory_broker:
                self._wait_confirmed()
        except Exception as error:
            self.close()
            if isinstance(error, BrokerAwayError | OSError) or type(error).__module__.startswith(("amqp", "kombu")):
                raise BrokerAwayError(f"{type(error).__name__}: {error}") from error
            raise

    def declare(self) -> None:
        """Connect and declare the topology. Raises BrokerAwayError."""
        self.publish(())

    def close(self) -> None:
        """Hang up; the next ``publish`` connects again."""
        connection, self._connection, self._channel = self._connection, None, None
        _hang_up(connection)

    def _open(self) -> Any:
        if self._channel is not None:
            return self._channel
        self._connection = connect(self._settings)
        self._connection.ensure_connection(max_retries=1, timeout=CONNECT_S)
        channel = self._connection.channel()
        self._topology.declare(channel)
        if not isinstance(channel, VirtualChannel):
            channel.confirm_select()
            channel.events["basic_ack"].add(self._on_ack)
            channel.events["basic_nack"].add(self._on_nack)
        self._published, self._unconfirmed, self._refused = 0, set(), False
        self._channel = channel
        return channel

    def _send(self, producer: Producer, outgoing: Outgoing) -> None:
        envelope = outgoing.envelope
        if envelope["type"] not in self._known:
            _log.error("event without a subscriber", type=envelope["type"], id=envelope["id"])
        headers = {RESENT: outgoing.resent} if outgoing.resent else {}
        if "traceparent" in envelope:
            headers["traceparent"] = envelope["traceparent"]
        publisher = events.exchange(envelope["type"])
        queue = self._topology.name(outgoing.queue) if outgoing.queue else ""
        self._published += 1
        self._unconfirmed.add(self._published)
        producer.publish(
            orjson.dumps(envelope),
            exchange="" if queue else self._topology.name(publisher),
            routing_key=queue or envelope["type"],
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=_PERSISTENT,
            message_id=envelope["id"],
            headers=headers,
        )

    def _wait_confirmed(self) -> None:
        until = time.monotonic() + CONFIRM_S
        while self._unconfirmed and not self._refused:
            left = until - time.monotonic()
            if left <= 0 or self._connection is None:
                raise BrokerAwayError(f"{len(self._unconfirmed)} messages unconfirmed after {CONFIRM_S} s")
            self._connection.drain_events(timeout=left)
        if self._refused:
            raise BrokerAwayError("the broker refused a message (queue full or unavailable)")

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {other for other in self._unconfirmed if other > tag}
        else:
            self._unconfirmed.discard(tag)

    def _on_nack(self, _tag: int, _multiple: bool) -> None:
        self._refused = True


class Depths:
    """How many messages wait in the queues of a service."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        """Connects when first asked."""
        self._settings, self._topology = settings, topology
        self._connection: Connection | None = None
        self._channel: Any = None

    def waiting(self, subscriptions: Sequence[Subscription]) -> int:
        """Messages that no worker has yet. Raises BrokerAwayError."""
        try:
            if self._channel is None:
                self._connection = connect(self._settings)
                self._channel = self._connection.channel()
            names = [self._topology.name(found.name) for found in subscriptions]
            return sum(self._channel.queue_declare(name, passive=True).message_count for name in names)
        except Exception as error:
            _hang_up(self._connection)
            self._connection = self._channel = None
            raise BrokerAwayError(f"{type(error).__name__}: {error}") from error


def _hang_up(connection: Connection | None) -> None:
    if connection is not None:
        try:
            connection.release()
        except Exception as error:  # noqa: BLE001 - it is gone already, in whatever way
            _log.debug("closing a broken connection", error=str(error))
