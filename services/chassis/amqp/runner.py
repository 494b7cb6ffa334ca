"""The worker process: for each of its services a nameko container with the event handlers, the relay, the timers and the retries."""

import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import eventlet
from nameko.runners import ServiceRunner
from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from services.chassis import bell, clock, logs, metrics, mongo, presence, subscriptions, tracing
from services.chassis.amqp.broker import RESENT, ConfirmedPublisher, Depths
from services.chassis.amqp.entrypoints import CONFIG_SETTINGS, EventConsumer, Loop
from services.chassis.amqp.topology import Topology
from services.chassis.mongo import Client, Database
from services.chassis.once import Intake, is_away
from services.chassis.presence import Presence, Reporter
from services.chassis.reacting import Worker
from services.chassis.relay import BrokerAwayError, Relay
from services.chassis.settings import Settings
from services.chassis.subscriptions import Subscription
from services.chassis.timers import Timers

RETRIES_EVERY_S: Final = 1.0
ASK_AGAIN_S: Final = 0.5
STOP_WITHIN_S: Final = 20.0
_log = logs.get(__name__)


class Desk:
    """Everything the worker does for one service."""

    def __init__(self, worker: Worker, process: "Process") -> None:
        """Connects to nothing."""
        self.worker, self._process = worker, process
        self.database = mongo.database(process.client, process.settings, worker.service)
        self.presence = Presence(worker.service, process.name, "worker")
        if process.settings.memory_broker:
            self.presence.leads, self.presence.settle_ms = True, presence.SETTLE_MEMORY_MS
        self.intake = Intake(worker.service, self.database, worker.handlers, self.presence)
        self.publisher = ConfirmedPublisher(process.settings, process.topology)
        emitting = [found.name for found in worker.collections if found.emits]
        self.relay = Relay(self.database, emitting, self.publisher, self.presence)
        self.timers = Timers(worker.service, self.database, worker.timers, self.presence)
        self.subscriptions = tuple(found for found in process.topology.subscriptions if found.service == worker.service)

    def service_class(self) -> type:
        """The nameko service."""
        topology = self._process.topology
        members: dict[str, Any] = {
            "name": self.worker.service,
            "relay": Loop(self._relay),
            "timers": Loop(self.timers.run),
            "retries": Loop(self._retries),
        }
        for found in self.subscriptions:
            consume = EventConsumer.decorator(topology.queue(found), self.presence)
            members[found.handler.name] = consume(self._method(found))
        if not self._process.settings.memory_broker:
            consume = EventConsumer.decorator(topology.dead(self.worker.service), self.presence)
            members["dead_letters"] = consume(self._dead_method())
        return type(self.worker.service.title(), (), members)

    def _method(self, subscription: Subscription) -> Callable[[Any, Any], None]:
        name = subscription.handler.name

        def handle(_service: Any, message: Any) -> None:
            body, resent = _body(message), int(message.headers.get(RESENT, 0))
            self._process.patiently(lambda: self.intake.receive(name, body, resent))

        handle.__name__ = name
        return handle

    def _dead_method(self) -> Callable[[Any, Any], None]:
        topology = self._process.topology

        def dead_letters(_service: Any, message: Any) -> None:
            name = topology.plain(message.delivery_info["routing_key"]).partition(".")[2]
            body = _body(message)
            self._process.patiently(
                lambda: self.intake.park_body(name, body, "dead letter: handed out too often without an answer")
            )

        return dead_letters

    def _relay(self, stopping: threading.Event) -> None:
        """Topology, what a broker in memory may have lost; then the relay for ever."""
        for step in (self._acquaint, self._resend):
            while not stopping.is_set() and not self._tried(step):
                stopping.wait(ASK_AGAIN_S)
        self.relay.run(stopping)
        self.publisher.close()

    def _acquaint(self) -> None:
        self.publisher.declare()
        own = [found for found in self._process.topology.subscriptions if found.publisher == self.worker.service]
        self.relay.acquaint((found.name, found.handler.event_type) for found in own)

    def _resend(self) -> None:
        """After memory:// ran, whatever was logged since its queues were last seen empty is sent again, then forgotten."""
        row = self._process.shared["drained"].find_one({"_id": self.worker.service})
        if row is None and not self._process.settings.memory_broker:
            return
        sent = self.relay.resend(row["at"] if row else 0)
        if sent:
            _log.info("sent again after the start", service=self.worker.service, events=sent)
        self._process.resent.add(self.worker.service)
        if not self._process.settings.memory_broker:
            self._process.shared["drained"].delete_one({"_id": self.worker.service})

    def _tried(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except (BrokerAwayError, PyMongoError) as error:
            _log.warning("cannot start yet", service=self.worker.service, step=step.__name__, error=str(error)[:200])
            return False
        return True

    def _retries(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self.intake.wake.clear()
            try:
                self.intake.sweep()
            except Exception as error:  # noqa: BLE001 - a loop must go on
                self.presence.stuck("retries", type(error).__name__)
                if not is_away(error):
                    _log.exception("retries failed", service=self.worker.service)
            self.intake.wake.wait(RETRIES_EVERY_S)


class Process:
    """The worker process of one service, or of all of them."""

    def __init__(self, settings: Settings, workers: Sequence[Worker], everyone: Sequence[Worker]) -> None:
        """``everyone``: the workers of all services; the whole topology is theirs."""
        self.settings, self.name = settings, presence.process_name()
        self.topology = Topology(settings, subscriptions.table(everyone))
        concurrency = settings.worker_concurrency
        self.client: Client = mongo.connect(settings, pool=len(workers) * (concurrency + 6) + 4)
        self.shared: Database = mongo.database(self.client, settings, "jishi")
        self.desks = [Desk(worker, self) for worker in workers]
        looks = [look for desk in self.desks for look in (desk.relay.look, desk.timers.look, desk.intake.wake.set)]
        self._reporter = Reporter(self.client, self.shared, [desk.presence for desk in self.desks], looks)
        self.resent: set[str] = set()
        self._stopping = threading.Event()
        self._started = False
        self._depths = Depths(settings, self.topology)
        self._drained_at = self._drained_told = 0
        config = {CONFIG_SETTINGS: settings, "AMQP_URI": settings.amqp_uri, "max_workers": concurrency}
        self._runner = ServiceRunner(config)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then stop taking messages, finish the handlers and return."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: eventlet.spawn_n(self.stop))
        metrics.serve(self.settings, "worker", ready=lambda: self._reporter.fresh)
        for desk in self.desks:
            self._runner.add_service(desk.service_class())
            bell.on_ring(desk.relay.ring)
        for address in self.settings.bells(desk.worker.service for desk in self.desks):
            eventlet.spawn_n(bell.listen, address, self._stopping.is_set)
        self._prepare_database()
        self._runner.start()
        self._started = True
        told = eventlet.spawn(self._reporter.run, self._stopping, self._look)
        _log.info("working", services=[desk.worker.service for desk in self.desks], broker=_scheme(self.settings))
        self._runner.wait()
        self._stopping.set()
        told.wait()
        self.client.close()
        _log.info("stopped")

    def _prepare_database(self) -> None:
        """Wait for the database; no handler runs before the unique indexes that its idempotence stands on are there."""
        clock.follow(self.shared, self.name, "worker")
        while True:
            try:
                mongo.release_abandoned(self.client, self.settings)
                for desk in self.desks:
                    mongo.declare(desk.database, desk.worker.collections)
                return
            except mongo.AWAY:
                eventlet.sleep(ASK_AGAIN_S)

    def stop(self) -> None:
        """Stop in order; hard after a while, for what cannot be stopped while the broker is away (nothing is lost by that)."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if not self._started:  # it waits for the database or the broker, and has nothing to finish
            _give_up()
        eventlet.spawn_after(STOP_WITHIN_S, _give_up)
        self._runner.stop()

    def patiently(self, deliver: Callable[[], Any]) -> None:
        """Run a delivery; while the database is away keep it, and run it again when the database answers.

        Raises what it met last when the process stops meanwhile: the message stays unacked and the broker keeps it.
        """
        while True:
            try:
                deliver()
                return
            except Exception as error:
                if not is_away(error):
                    _log.exception("delivery could not be recorded")
                if self._stopping.is_set():
                    raise
            self._wait_for_database()

    def _wait_for_database(self) -> None:
        while not self._stopping.is_set():
            try:
                self.client.admin.command("ping")
                return
            except PyMongoError:
                self._stopping.wait(ASK_AGAIN_S)

    def _look(self) -> list[UpdateOne]:
        """Before each report: the queues; on memory:// also the moment when all of them were last seen empty."""
        self._look_at_queues()
        return self._drained()

    def _look_at_queues(self) -> None:
        began, offset, all_empty = clock.wall_ms(), clock.offset_ms(), True
        for desk in self.desks:
            try:
                waiting = self._depths.waiting(desk.subscriptions)
            except BrokerAwayError as error:
                desk.presence.stuck("queues", f"broker away: {error}"[:200])
                all_empty = False
                continue
            if waiting:
                desk.presence.active()
                desk.presence.stuck("queues", f"{waiting} messages wait")
            elif not desk.presence.busy:
                desk.presence.clean("queues", began, offset)
            all_empty = all_empty and not waiting and not desk.presence.busy
        if all_empty and len(self.resent) == len(self.desks):
            self._drained_at = began

    def _drained(self) -> list[UpdateOne]:
        """Only what memory:// needs, and only after something was done: nothing was sent since then otherwise."""
        active_at = max(desk.presence.active_at for desk in self.desks)
        if not self.settings.memory_broker or not self._drained_at or self._drained_told > active_at:
            return []
        self._drained_told = self._drained_at
        namespace, at = f"{self.shared.name}.drained", {"$max": {"at": self._drained_at}}
        return [UpdateOne({"_id": desk.worker.service}, at, upsert=True, namespace=namespace) for desk in self.desks]


def run(
    settings: Settings, workers: Sequence[Worker], everyone: Sequence[Worker] | None = None, name: str = ""
) -> None:
    """Run the worker process of ``workers`` (complete ones, see ``subscriptions``) until it is told to stop."""
    logs.configure(settings, name, "worker")
    tracing.configure(settings, name, "worker")
    Process(settings, workers, everyone or subscriptions.workers()).run()


def _body(message: Any) -> bytes:
    return message.body if isinstance(message.body, bytes) else str(message.body).encode()


def _scheme(settings: Settings) -> str:
    return settings.amqp_uri.partition(":")[0]


def _give_up() -> None:
    import os

    _log.warning("could not stop in order; nothing is lost")
    os._exit(0)
