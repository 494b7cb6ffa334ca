"""What a worker does, as declarations: handlers of events and timers. No broker, no nameko here, so that audits and tests can ask too.

A handler is three functions: ``load`` reads what the decision needs, ``decide`` (pure, in the model) says apply, done, stale or
early, ``apply`` writes. ``jishi audit`` asks ``load`` and ``decide`` again for every event in the logs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.chassis import clock, commit
from services.chassis.commit import Cause
from services.chassis.decisions import DONE, STALE, Change, Decision, Verdict
from services.chassis.decisions import apply as apply_decision
from services.chassis.events import Event
from services.chassis.mongo import Collection, Database, Document


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way through one handler."""

    database: Database
    event: Event
    cause: Cause
    """``evt:<service>.<handler>:<event id>``"""
    row_id: str
    """``<service>.<handler>:<event id>``: the id of its ``handled`` row (for ``Transaction.handled``)."""
    waited: bool
    """Whether that row exists already (the delivery waited or was parked before)."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One event type, one effect. ``name`` is unique in the service and names the queue ``<service>.<name>``.

    ``load(database, event)`` → state (None when nothing is there); ``decide(state, event)`` → Decision, pure;
    ``apply(delivery, state, decision)`` writes (through ``commit``; several documents: a Transaction whose first write is
    ``handled``). ``entity(event)``: the local thing that early events wait for, by default the subject. ``guess(event)``: the state that
    an event meets which comes for the first time; it is loaded only when that was wrong, which ``apply`` must find out (Taken, Shortfall).
    """

    event_type: str
    name: str
    load: Callable[[Database, Event], Any]
    decide: Callable[[Any, Event], Decision]
    apply: Callable[[Delivery, Any, Decision], None]
    entity: Callable[[Event], str] = field(default=lambda event: event.subject)
    guess: Callable[[Event], Any] | None = None


def on_document(
    event_type: str,
    name: str,
    collection: str,
    decide: Callable[[Document | None, Event], Decision],
    *,
    key: Callable[[Event], Any] = lambda event: event.subject,
) -> Handler:
    """A handler whose whole effect is one document of ``collection``, found by ``key(event)`` as ``_id``.

    ``decide(document or None, event)`` answers APPLY with the Change. A cause applied before counts as done.
    """

    def load(database: Database, event: Event) -> Document | None:
        return database[collection].find_one({"_id": key(event)})

    def apply(delivery: Delivery, _state: Document | None, _decision: Decision) -> None:
        def again(document: Document) -> Change | None:
            decision = decide(document, delivery.event)
            return decision.change if decision.verdict is Verdict.APPLY else None

        commit.change(delivery.database[collection], key(delivery.event), delivery.cause, again, fetch=False)

    return Handler(event_type, name, load, decide, apply, entity=lambda event: str(key(event)))


def keep_copy(event_type: str, name: str, collection: str) -> Handler:
    """A handler that keeps a copy of another service's entity, from events that carry the whole of it, newest sequence wins."""

    def load(database: Database, event: Event) -> Document | None:
        return database[collection].find_one({"_id": event.subject})

    def decide(copied: Document | None, event: Event) -> Decision:
        if copied is None or copied["sequence"] < event.sequence:
            return apply_decision()
        return DONE if copied["sequence"] == event.sequence else STALE

    def apply(delivery: Delivery, _state: Document | None, _decision: Decision) -> None:
        event = delivery.event
        commit.copy(delivery.database[collection], event.subject, event.sequence, event.data)

    return Handler(event_type, name, load, decide, apply)


@dataclass(frozen=True, slots=True)
class Timer:
    """What happens to documents of ``collection`` whose ``due_at`` has come (business time).

    ``fire(database, document, now, cause)`` makes its effect through ``commit`` under ``cause``
    (``tmr:<service>.<collection>:<id>:<version>``), and moves or clears the timer in the same write; the write is the claim.
    """

    collection: str
    fire: Callable[[Database, Document, datetime, Cause], None]


def timer_on_document(collection: str, decide: Callable[[Document, datetime], Change | None]) -> Timer:
    """A timer whose whole effect is one document: ``decide(document, now)`` answers the Change, or None to leave it alone.

    It is asked only while the timer is due: a command that was faster may have moved it.
    """

    def fire(database: Database, document: Document, now: datetime, cause: Cause) -> None:
        def again(found: Document) -> Change | None:
            due = found.get("due_at")
            return decide(found, now) if due is not None and due <= clock.ms(now) else None

        commit.change(database[collection], document["_id"], cause, again, fetch=False)

    return Timer(collection, fire)


@dataclass(frozen=True, slots=True)
class Worker:
    """Everything the worker process of one service does; each service's ``worker.py`` holds one as ``WORKER``."""

    service: str
    collections: tuple[Collection, ...]
    handlers: tuple[Handler, ...] = ()
    timers: tuple[Timer, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """Long work leased from the database by the jobs process; each service's ``jobs.py`` holds its own as ``JOBS``.

    Rows of ``collection`` with an integer ``next_at`` (wall ms, sparse index) wait to be worked on. ``run(run)`` does as much as
    it can, keeps its lease by ``run.keep()`` between steps, and leaves the row without ``next_at`` when all is done.

    ``standing``: the id of a row that is always there, for work that nobody announces. Its run puts it off (``run.later``), it never
    ends, and it counts as nothing that is left to do: a quiet stack has it too.
    """

    collection: str
    name: str
    run: Callable[["JobRun"], None]
    standing: str = ""


class JobRun:
    """One lease on one row; defined by ``services.chassis.jobs``, here for the types."""

    database: Database
    row: Document

    @property
    def guard(self) -> Mapping[str, Any]:
        """Goes into the condition of writes that only the holder of the lease may make: ``Change(guard=run.guard, …)``."""
        raise NotImplementedError

    def keep(self, *, yielding: bool = True) -> None:
        """Prolong the lease, between steps. Raises LeaseLost when another process holds it now, or this one must give it up."""
        raise NotImplementedError

    def later(self, wait_ms: int) -> None:
        """Nothing can be done yet: after this run the row wants to be worked on again in ``wait_ms``."""
        raise NotImplementedError
