"""Deliveries: an event meets a handler, and takes effect once.

What becomes of a delivery stands in the service's ``handled`` collection, where it is not simply done:
``{_id: "<service>.<handler>:<event id>", state: waiting|parked|done, handler, event, attempts, error, next_at, since, entity?}``.
*waiting* is run again when ``next_at`` (wall ms) has come: after a failure with growing pauses, and when it was early also as soon as
another event of its ``entity`` has been applied. *parked* waits for a person (``parking``). A done row is never overwritten.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram
from pymongo.errors import ClientBulkWriteException, DuplicateKeyError

from services.chassis import backoff, clock, events, policy, tracing
from services.chassis.commit import HANDLED_KEPT, Cause, Shortfall, Taken
from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal
from services.chassis.events import Envelope, Event, UndecodableError
from services.chassis.logs import get
from services.chassis.mongo import AWAY, DAY_S, Database, Document
from services.chassis.presence import Presence
from services.chassis.reacting import Delivery, Handler

CONTENTION_TRIES: Final = 6
"""How often a delivery reads and decides again at once when another writer was faster."""
CLAIM_MS: Final = 30_000
"""A waiting row that is being run again is not touched by another worker for so long."""
EARLY_FIRST_MS: Final = 1000
EARLY_MOST_MS: Final = 60_000
SWEEP_LIMIT: Final = 500
_ERROR_CHARACTERS: Final = 1000
_HANDLER: Final = ("service", "handler")
HANDLED: Final = Counter("jishi_events_handled_total", "Deliveries by what became of them", (*_HANDLER, "result"))
AGE: Final = Histogram(
    "jishi_event_age_seconds",
    "From the promise of an event to its effect",
    _HANDLER,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10, 60, 600),
)
WAITING: Final = Gauge("jishi_events_waiting", "Deliveries that wait to be run again", ("service",))
_log = get(__name__)


class Result(StrEnum):
    """What became of one delivery."""

    APPLIED = "applied"
    DONE = "done"
    STALE = "stale"
    EARLY = "early"
    FAILED = "failed"
    PARKED = "parked"


_FINISHED: Final = {Verdict.APPLY: Result.APPLIED, Verdict.DONE: Result.DONE, Verdict.STALE: Result.STALE}


class ContendedError(Exception):
    """Every try met another writer who was faster."""


def is_away(error: BaseException) -> bool:
    """Whether ``error`` says that the database does not answer, however the driver wraps it."""
    return isinstance(error, AWAY) or (isinstance(error, ClientBulkWriteException) and isinstance(error.error, AWAY))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One event on its way through one handler, with what is known of its ``handled`` row."""

    handler: Handler
    envelope: Envelope
    event: Event
    row: Document | None = None
    again: bool = False
    """Whether it was handed out before."""


class Intake:
    """All deliveries of one service in this process."""

    def __init__(self, service: str, database: Database, handlers: Iterable[Handler], presence: Presence) -> None:
        """``handlers``: with those that the chassis adds."""
        self.service, self.database, self.presence = service, database, presence
        self.handlers = {handler.name: handler for handler in handlers}
        self._rows = database["handled"]
        self._awaited: frozenset[str] = frozenset()
        self._woken: set[str] = set()
        self.wake = threading.Event()
        """Set when waiting deliveries should be looked at now."""

    # ------------------------------------------------------------------------------------------------------- from the broker

    def receive(self, name: str, body: bytes, deliveries: int = 0) -> Result:
        """Take a message of handler ``name``. When this returns, the message may be acked.

        ``deliveries``: how often it was handed out before without an answer. Raises what ``is_away`` when the database does not answer.
        """
        handler = self.handlers[name]
        try:
            envelope = json.loads(body)
            event = events.unpack(envelope)
        except (UndecodableError, ValueError) as error:
            return self._park_undecodable(handler, body, error)
        attempt = Attempt(handler, envelope, event, again=deliveries > 0)
        if deliveries > policy.load("chassis").value("delivery_limit", clock.wall()):
            return self.park(attempt, f"handed out {deliveries} times without an answer: it seems to crash the worker")
        return self.deliver(attempt)

    def park_body(self, name: str, body: bytes, why: str) -> Result:
        """Park a message that the broker gave up (dead letter)."""
        handler = self.handlers[name]
        try:
            envelope = json.loads(body)
            return self.park(Attempt(handler, envelope, events.unpack(envelope)), why)
        except (UndecodableError, ValueError) as error:
            return self._park_undecodable(handler, body, error)

    def deliver(self, attempt: Attempt) -> Result:
        """Load, decide, apply; record what cannot be finished now. Raises what ``is_away``."""
        result = self._deliver(attempt)
        HANDLED.labels(self.service, attempt.handler.name, result).inc()
        if result is Result.APPLIED:
            age = clock.wall() - attempt.event.time
            AGE.labels(self.service, attempt.handler.name).observe(max(0.0, age.total_seconds()))
        return result

    def _deliver(self, attempt: Attempt) -> Result:
        with tracing.span(self._name(attempt.handler), parent=attempt.event.traceparent, kind="consumer") as span:
            try:
                result = self._run(attempt, span.traceparent)
            except Exception as error:
                if is_away(error):
                    raise
                return self._failed(attempt, error)
        if result is Result.EARLY:
            return self._early(attempt)
        if attempt.row is not None:
            self._settle(attempt.row["_id"])
        if result is Result.APPLIED:
            self._wake(attempt.handler.entity(attempt.event))
        return result

    def _run(self, attempt: Attempt, traceparent: str) -> Result:
        handler, event = attempt.handler, attempt.event
        row_id = self.row_id(attempt)
        cause = Cause(f"evt:{row_id}", causation=event.id, traceparent=traceparent)
        delivery = Delivery(self.database, event, cause, row_id, attempt.row is not None)
        for tried in range(CONTENTION_TRIES):
            is_first = not (tried or attempt.again or attempt.row is not None)
            guess = handler.guess if is_first else None
            state = guess(event) if guess is not None else handler.load(self.database, event)
            decision = handler.decide(state, event)
            if decision.verdict is Verdict.EARLY:
                return Result.EARLY
            if decision.verdict is not Verdict.APPLY:
                return _FINISHED[decision.verdict]
            try:
                handler.apply(delivery, state, decision)
                return Result.APPLIED
            except (Taken, Shortfall):  # another writer was faster, or this very event was handled before
                row = self._rows.find_one({"_id": row_id}, {"state": 1})
                if row is not None and row["state"] == "done":
                    return Result.DONE
                delivery = replace(delivery, waited=row is not None)
                time.sleep(random.uniform(0, 0.005 * 2**tried))  # noqa: S311 - spreads writers, no secret
        raise ContendedError(f"{CONTENTION_TRIES} times another writer was faster")

    # ---------------------------------------------------------------------------------------------------------------- recording

    def _early(self, attempt: Attempt) -> Result:
        """Let it wait. What it waits for may have come while it was written down: decide once more then."""
        now = clock.wall_ms()
        since = attempt.row["since"] if attempt.row else now
        pause = min(max(EARLY_FIRST_MS, (now - since) // 2), EARLY_MOST_MS)
        entity = attempt.handler.entity(attempt.event)
        self._awaited |= {entity}
        row: Document = {"state": "waiting", "early": True, "entity": entity, "next_at": now + pause}
        late = now - since > policy.load("chassis").span("early_alarm", clock.wall()).total_seconds() * 1000
        if late:
            row["alarmed_at"] = clock.wall()
            _log.error("event waits too long", row=self.row_id(attempt), entity=entity, minutes=(now - since) // 60_000)
        if self._record(attempt, row, ()) and attempt.row is None:
            self._decide_once_more(attempt)
        return Result.EARLY

    def _decide_once_more(self, attempt: Attempt) -> None:
        handler, event = attempt.handler, attempt.event
        if handler.decide(handler.load(self.database, event), event).verdict is not Verdict.EARLY:
            waiting = {"_id": self.row_id(attempt), "state": "waiting"}
            self._rows.update_one(waiting, {"$set": {"next_at": clock.wall_ms()}})
            self.wake.set()

    def _failed(self, attempt: Attempt, error: Exception) -> Result:
        told = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
        chassis, wall = policy.load("chassis"), clock.wall()
        row = attempt.row or self._rows.find_one({"_id": self.row_id(attempt)}) or {}
        # A full outbox means that the broker is away: not this event's fault.
        busy = isinstance(error, Refusal) and error.reason == "BACKLOG_FULL"
        attempts = row.get("attempts", 0) + (0 if busy else 1)
        if attempts >= chassis.value("delivery_attempts", wall):
            return self.park(attempt, told, attempts)
        first, most = chassis.value("delivery_backoff_first", wall), chassis.value("delivery_backoff_most", wall)
        pause = backoff.exponential(max(attempts, 1), first, most)
        _log.warning("event failed", row=self.row_id(attempt), attempts=attempts, again_in_ms=pause, exc_info=error)
        waiting = {"state": "waiting", "error": told, "attempts": attempts, "next_at": clock.wall_ms() + pause}
        self._record(attempt, waiting, ("entity", "early"))
        return Result.FAILED

    def park(self, attempt: Attempt, why: str, attempts: int = 0) -> Result:
        """Give it up until a person looks."""
        _log.error("event parked", row=self.row_id(attempt), why=why)
        parked = {"state": "parked", "error": why, "attempts": attempts, "parked_at": clock.wall()}
        self._record(attempt, parked, ("next_at", "entity", "early"))
        return Result.PARKED

    def _record(self, attempt: Attempt, values: Document, removed: tuple[str, ...]) -> bool:
        """Write the row unless it is done; False when it is."""
        named = {"handler": attempt.handler.name, "type": attempt.event.type, "event": attempt.envelope}
        return self._upsert(self.row_id(attempt), {**named, **values}, removed)

    def _upsert(self, row_id: str, values: Document, removed: tuple[str, ...]) -> bool:
        update: Document = {"$set": values, "$setOnInsert": {"since": clock.wall_ms()}}
        if removed:
            update["$unset"] = dict.fromkeys(removed, "")
        try:
            self._rows.update_one({"_id": row_id, "state": {"$ne": "done"}}, update, upsert=True)
        except DuplicateKeyError:  # it is done
            return False
        return True

    def _park_undecodable(self, handler: Handler, body: bytes, error: Exception) -> Result:
        row_id = f"{self._name(handler)}:undecodable:{hashlib.sha256(body).hexdigest()[:32]}"
        _log.error("message parked: undecodable", row=row_id, error=str(error))
        parked = {"handler": handler.name, "state": "parked", "raw": body, "error": str(error)[:_ERROR_CHARACTERS]}
        self._upsert(row_id, {**parked, "attempts": 0, "parked_at": clock.wall()}, ())
        return Result.PARKED

    def _settle(self, row_id: str) -> None:
        done = {"state": "done", "expire_at": clock.wall() + HANDLED_KEPT}
        self._rows.update_one(
            {"_id": row_id, "state": {"$ne": "done"}}, {"$set": done, "$unset": {"next_at": "", "entity": ""}}
        )

    # ------------------------------------------------------------------------------------------------------------ running again

    def sweep(self) -> int:
        """Run the waiting deliveries that are due, or whose entity has moved; answers how many wait still."""
        began, now, offset = clock.wall_ms(), clock.wall_ms(), clock.offset_ms()
        woken, self._woken = self._woken, set()
        query = {"next_at": {"$gt": 0, "$lte": now + DAY_S * 1000}}
        fields = {"entity": 1, "next_at": 1, "error": 1}
        rows = list(self._rows.find(query, fields).sort("next_at", 1).limit(SWEEP_LIMIT))
        WAITING.labels(self.service).set(len(rows))
        for row in rows:
            if row["next_at"] <= now or row.get("entity") in woken:
                self.presence.active()
                self._again(row)
        # Only now: an entity that came to wait during the sweep is awaited by `_early` itself.
        self._awaited = frozenset(row["entity"] for row in rows if "entity" in row)
        if rows:
            first = rows[0]
            self.presence.stuck("retries", f"{len(rows)} wait, as {first['_id']} ({first.get('error') or 'early'})")
        else:
            self.presence.clean("retries", began, offset)
        return len(rows)

    def _again(self, seen: Mapping[str, Any]) -> None:
        claim = {"_id": seen["_id"], "state": "waiting", "next_at": seen["next_at"]}
        if not self._rows.update_one(claim, {"$set": {"next_at": clock.wall_ms() + CLAIM_MS}}).matched_count:
            return  # another worker has it
        row = self._rows.find_one({"_id": seen["_id"]})
        if row is None or row["state"] != "waiting":
            return
        handler = self.handlers.get(row["handler"])
        if handler is None:
            self._upsert(row["_id"], {"state": "parked", "error": "no such handler any more"}, ("next_at", "entity"))
            return
        try:
            envelope = row["event"] if "event" in row else json.loads(row["raw"])
            attempt = Attempt(handler, envelope, events.unpack(envelope), row)
        except (UndecodableError, ValueError) as error:
            self._upsert(
                row["_id"], {"state": "parked", "error": str(error)[:_ERROR_CHARACTERS]}, ("next_at", "entity")
            )
            return
        self.deliver(attempt)

    def _wake(self, entity: str) -> None:
        """An event of ``entity`` was applied: those that were early for it may go now.

        The set of awaited entities is a hint, at most a sweep old: what it misses comes back by its ``next_at``.
        """
        if entity in self._awaited:
            self._woken.add(entity)
            self.wake.set()

    def row_id(self, attempt: Attempt) -> str:
        """``<service>.<handler>:<event id>``."""
        return attempt.row["_id"] if attempt.row else f"{self._name(attempt.handler)}:{attempt.event.id}"

    def _name(self, handler: Handler) -> str:
        return f"{self.service}.{handler.name}"
