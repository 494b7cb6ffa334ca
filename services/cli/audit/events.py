"""Events: every logged event has had its effect on everybody who listens, and nothing is still on its way.

For each event of each log every subscribed handler is asked again what it would do (``load``, ``decide``). *done* and *stale* are
right. A handler may answer apply or early although it was applied, where its effect is remembered only under the id of the cause:
that is looked up and counted as *recorded* (or *dropped*, where a person gave the delivery up). Everything else was lost.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from services.chassis import clock, events, subscriptions
from services.chassis.decisions import Verdict
from services.chassis.events import Event, UndecodableError
from services.chassis.mongo import LETTERS, Collection, Database, Document
from services.chassis.reacting import Worker
from services.chassis.relay import logged_in
from services.chassis.settings import SERVICES
from services.chassis.subscriptions import Subscription
from services.cli.audit.report import Finding, Pair, Wrong, compared, wrong_unless
from services.cli.audit.world import FAR_MS, Check, World, scan

FINISHED: Final = frozenset({"done", "stale", "recorded", "dropped"})
NOBODY: Final = "(nobody)"


class Log:
    """Asks every handler about every logged event; ``pairs`` counts what they say."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        """``workers``: complete (``subscriptions.workers``)."""
        self._workers = {worker.service: worker for worker in workers}
        self._listeners: dict[str, list[Subscription]] = defaultdict(list)
        for worker in self._workers.values():
            for handler in worker.handlers:
                self._listeners[handler.event_type].append(Subscription(worker.service, handler))
        self._pairs: dict[tuple[str, str], Pair] = {}

    @property
    def pairs(self) -> list[Pair]:
        """What each handler said, by event type and name."""
        return [self._pairs[key] for key in sorted(self._pairs)]

    def decidable(self, _world: World) -> Iterator[Finding]:
        """Every handler has a decide (and a load) that can be asked again."""
        for listeners in self._listeners.values():
            for one in listeners:
                yield compared(one.name, "a decide and a load", _ability(one))

    def decided(self, world: World) -> Iterator[Finding]:
        """Every logged event is done or stale for every handler that listens to its type, and somebody listens."""
        for service in SERVICES:
            sent = {"sent_at": {"$exists": True}}
            for row in scan(world.database(service), "event_log", ("envelope", "outbox"), sent):
                for envelope in logged_in(row):
                    yield from self._ask(world, envelope)

    def _ask(self, world: World, envelope: events.Envelope) -> Iterator[Finding]:
        try:
            event = events.unpack(envelope)
        except UndecodableError as error:
            yield Wrong(f"event {envelope.get('id')}", "an event we know", error)
            return
        listeners = self._listeners.get(event.type, ())
        if not listeners:
            self._count(event.type, NOBODY, "lost")
            yield Wrong(f"event {event.id}", f"somebody who listens to {event.type}", "nobody")
        for one in listeners:
            verdict, why = self._verdict(world.database(one.service), one, event)
            self._count(event.type, one.name, verdict)
            subject, found = f"{one.name}:{event.id}", f"{verdict} {why}".strip()
            yield wrong_unless(verdict in FINISHED, subject, "done or stale", found)

    def _count(self, event_type: str, handler: str, verdict: str) -> None:
        pair = self._pairs.setdefault((event_type, handler), Pair(event_type, handler))
        pair.verdicts[verdict] += 1

    def _verdict(self, database: Database, one: Subscription, event: Event) -> tuple[str, str]:
        """What the handler says: a verdict, recorded, dropped or failed, and a word about it."""
        if _ability(one) != "a decide and a load":
            return "failed", "it cannot be asked"
        try:
            state = one.handler.load(database, event)
            decision = one.handler.decide(state, event)
        except Exception as error:  # noqa: BLE001 - whatever a decide raises is a finding
            return "failed", f"{type(error).__name__}: {error}"
        if decision.verdict in (Verdict.DONE, Verdict.STALE):
            return decision.verdict.value, decision.why
        row_id = f"{one.name}:{event.id}"
        row = database["handled"].find_one({"_id": row_id, "state": "done"}, {"dropped_at": 1})
        if row is not None:
            return ("dropped", "") if "dropped_at" in row else ("recorded", "")
        if is_recorded(database, self._workers[one.service].collections, state, f"evt:{row_id}"):
            return "recorded", ""
        return decision.verdict.value, decision.why


def _ability(one: Subscription) -> str:
    missing = [name for name in ("decide", "load") if not callable(getattr(one.handler, name, None))]
    return f"no {' and no '.join(missing)}" if missing else "a decide and a load"


def is_recorded(database: Database, collections: Iterable[Collection], state: Any, cause_id: str) -> bool:
    """Whether a document of the handler's state says that ``cause_id`` was applied to it or made it."""
    names = [collection.name for collection in collections]
    for document in _documents(state):
        known = {entry["id"] for entry in document.get("applied", ())} | {document.get("created_by")}
        if cause_id in known:
            return True
        archived = [f"{name}:{document.get('_id')}:{cause_id}" for name in names]
        if document.get("archived") and database["applied_archive"].count_documents(
            {"_id": {"$in": archived}}, limit=1
        ):
            return True
    return False


def _documents(state: Any) -> Iterator[Mapping[str, Any]]:
    """The documents in what a handler loads: it may be one, or hold some in a mapping, a sequence or a dataclass."""
    if isinstance(state, Mapping):
        if "_id" in state:
            yield state
        else:
            yield from (found for value in state.values() for found in _documents(value))
    elif isinstance(state, (list, tuple)):
        yield from (found for value in state for found in _documents(value))
    elif is_dataclass(state):
        yield from (found for field in fields(state) for found in _documents(getattr(state, field.name)))


# --------------------------------------------------------------------------------------------------------- still on their way


def handled(world: World) -> Iterator[Finding]:
    """No delivery waits to be run again, and none is parked."""
    for service in SERVICES:
        for row in scan(world.database(service), "handled", ("state", "error", "early")):
            subject = f"delivery {row['_id']}"
            why = row.get("error") or ("early" if row.get("early") else "")
            yield wrong_unless(row["state"] == "done", subject, "done", f"{row['state']} ({why})")


def outboxes(world: World) -> Iterator[Finding]:
    """No document holds an event that was not sent."""
    for service, collection in _collections("emits"):
        rows = world.database(service)[collection]
        queries: list[Document] = [{"outbox_at": {"$gt": 0, "$lt": FAR_MS}}]
        if collection != LETTERS.name:  # a letter that was sent keeps its events: it is the log
            queries.append({"outbox.0": {"$exists": True}, "outbox_at": {"$exists": False}})
        for query in queries:
            for document in rows.find(query, {"outbox": 1}):
                found = f"{len(document.get('outbox', ()))} events not sent"
                yield Wrong(f"{service}.{collection} {document['_id']}", "an empty outbox", found)
        yield None


def overdue(world: World) -> Iterator[Finding]:
    """No timer is past its time."""
    for service, collection in _collections("timed"):
        late = {"due_at": {"$gt": 0, "$lt": world.late}}
        for document in world.database(service)[collection].find(late, {"due_at": 1}):
            due = clock.moment(document["due_at"]).isoformat()
            yield Wrong(
                f"{service}.{collection} {document['_id']}", f"run before {world.now.isoformat()}", f"due at {due}"
            )
        yield None


def jobs(world: World) -> Iterator[Finding]:
    """No row waits for the jobs process longer than it takes to be picked up, and no job fails."""
    waits = {"next_at": {"$gt": 0, "$lt": FAR_MS}}
    for service, declared in subscriptions.jobs().items():
        for job in declared:
            for row in world.database(service)[job.collection].find(waits, {"next_at": 1, "job_error": 1}):
                why = row.get("job_error") or ("not worked on" if row["next_at"] < world.late_wall else "")
                yield Wrong(f"{service}.{job.collection} {row['_id']}", "worked on", why) if why else None
            yield None


def _collections(flag: str) -> Iterator[tuple[str, str]]:
    for worker in subscriptions.workers():
        for collection in worker.collections:
            if getattr(collection, flag):
                yield worker.service, collection.name


CHECKS: Final[tuple[Check, ...]] = (handled, outboxes, overdue, jobs)
