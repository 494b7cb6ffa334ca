"""Writes of one document: create, change, and the ids of causes that were applied.

``create`` inserts a document that carries its events. ``change`` is read → decide → one conditional update of one document that
changes the state, bumps the version, appends the promised events and remembers the cause. Every update has ``applied.id ≠ this id``
in its filter, so a retry by a driver or a client never adds twice. ``applied`` keeps the last 64 to 96 ids in the document; older
ones move to ``applied_archive``, so a cause is recognised for ever.
"""

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.chassis import bell, clock, events
from services.chassis.decisions import Change, Fact, Keep
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Database, Document

APPLIED_KEPT: Final = 64
APPLIED_SPILL: Final = 32
OUTBOX_LIMIT: Final = 256
PATIENCE_S: Final = 5.0
TIMER_SLOTS: Final = 64
DUPLICATE_KEY: Final = 11000
TICK_ATTEMPTS: Final = 2

Rows = Collection[Document]
Decide = Callable[[Document], "Change | None"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a write happens, and the id under which it happens once.

    ``id``: ``cmd:…`` (caller, rpc, request id), ``evt:handler:event id`` or ``tmr:name:document:version``; ``hash``: of the
    request body, so that the same key with another body is told apart; ``causation``/``traceparent`` go into the events.
    """

    id: str
    hash: str = ""
    causation: str = ""
    traceparent: str = ""

    @property
    def is_command(self) -> bool:
        """Whether somebody asked for it, and may ask again under the same key."""
        return self.id.startswith("cmd:")

    def part(self, name: str) -> "Cause":
        """The cause of one of several writes that one command makes."""
        return Cause(f"{self.id}/{name}", self.hash, self.causation, self.traceparent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write came to: the document as it now is, the remembered answer, and whether the cause had been applied before."""

    document: Document
    answer: Any = None
    replayed: bool = False
    changed: bool = True


class Taken(Exception):
    """A unique key of a new document belongs to another one. ``key``: the fields of the index, where the database tells."""

    def __init__(self, key: tuple[str, ...]) -> None:
        """Keep the fields that collided."""
        super().__init__(f"taken: {key}")
        self.key = key


# ------------------------------------------------------------------------------------------------------------- one document


def create(
    rows: Rows,
    document: Mapping[str, Any],
    cause: Cause,
    *,
    facts: tuple[Fact, ...] = (),
    due: datetime | None = None,
    natural: bool = False,
) -> Outcome:
    """Insert ``document`` (with ``_id``) for ``cause``; a replay answers with the document that is there.

    The collection is declared ``keyed``, or the ``_id`` is ``natural``: no drawn one but what the command names, so that a replay
    finds it there and the collection needs no index for it. Raises Refusal IDEMPOTENCY_KEY_REUSED for the same key with another
    body, Taken when another unique key collides.
    """
    prepared = prepare(rows, document, cause, facts=facts, due=due)
    try:
        rows.insert_one(prepared)
    except DuplicateKeyError as error:
        found = rows.find_one({"_id": document["_id"]} if natural else {"created_by": cause.id})
        if found is None or found.get("created_by") != cause.id:
            raise Taken(tuple((error.details or {}).get("keyPattern", {}))) from error
        return created_before(found, cause)
    if facts:
        bell.ring(rows)
    return Outcome(prepared)


def created(rows: Rows, cause: Cause) -> Outcome | None:
    """The outcome of this very create if it ran before; for commands that ask others before they insert."""
    found = rows.find_one({"created_by": cause.id})
    return created_before(found, cause) if found is not None else None


def created_before(found: Document, cause: Cause) -> Outcome:
    """The outcome of a create whose document exists. Raises Refusal when the body differs."""
    _same_body(found.get("created_hash", ""), cause)
    return Outcome(found, replayed=True, changed=False)


def prepare(
    rows: Rows, document: Mapping[str, Any], cause: Cause, *, facts: tuple[Fact, ...] = (), due: datetime | None = None
) -> Document:
    """``document`` as it is inserted: version, times, key, timer and the promised events. For bulk inserts in a Transaction."""
    now = clock.business()
    prepared: Document = {
        **document,
        "version": max(1, len(facts)),
        "created_at": now,
        "updated_at": now,
        "created_by": cause.id,
        "created_hash": cause.hash,
        "applied": [],
    }
    if due is not None:
        prepared.update(_timer(document["_id"], due))
    if facts:
        prepared["outbox"] = envelopes(rows, document["_id"], facts, 0, cause)
        prepared["outbox_at"] = clock.wall_ms()
    return prepared


def change(
    rows: Rows,
    identity: Any,
    cause: Cause,
    decide: Decide,
    *,
    kind: str = "",
    patience_s: float = PATIENCE_S,
    fetch: bool = True,
) -> Outcome:
    """Change one document for ``cause``: read, ``decide(document)``, one conditional update.

    With ``fetch`` the outcome holds the document read again after the write; without, as it was before (one round trip less).

    ``decide`` is pure and may run several times; it raises Refusal, or answers None when there is nothing to do (a command is remembered even so). When another
    writer was faster it is asked again with the newer document, at most for ``patience_s``. Raises Refusal NOT_FOUND (``kind``
    names it), IDEMPOTENCY_KEY_REUSED, BACKLOG_FULL, or VERSION_CONFLICT when the guard of the change stays unmet.
    """
    until = time.monotonic() + patience_s
    document = rows.find_one({"_id": identity})
    while True:
        if document is None:
            raise not_found(kind or rows.name, str(identity))
        before = applied(rows, document, cause)
        if before is not None:
            return before
        wanted = decide(document)
        if wanted is None and not cause.is_command:
            return Outcome(document, changed=False)
        wanted = (
            wanted or Change()
        )  # a command that found nothing to do must do nothing either when it is repeated later
        if write(rows, document, wanted, cause):
            after = rows.find_one({"_id": identity}) if fetch else None
            return Outcome(after or document, wanted.answer)
        version, document = document["version"], rows.find_one({"_id": identity})
        unmoved = document is not None and document["version"] == version and not _is_applied(document, cause)
        if unmoved or time.monotonic() > until:
            raise Refusal(
                "VERSION_CONFLICT", f"{kind or rows.name} {identity} kept changing; try again", retry_after_s=1
            )
        time.sleep(random.uniform(0, 0.005))  # noqa: S311 - spreads writers, no secret


def answered(database: Database, cause: Cause) -> Any:
    """What a command over several documents answered the first time; None when it did not run. See ``Transaction.answer``."""
    row = database["answers"].find_one({"_id": cause.id})
    if row is None:
        return None
    _same_body(row["hash"], cause)
    return row["answer"]


def copy(rows: Rows, identity: Any, sequence: int, values: Mapping[str, Any]) -> None:
    """Keep our copy of another service's fact: taken only if its ``sequence`` is higher than the one we have."""
    with contextlib.suppress(DuplicateKeyError):  # a newer copy is there
        rows.update_one(
            {"_id": identity, "sequence": {"$lt": sequence}}, {"$set": {**values, "sequence": sequence}}, upsert=True
        )


def tick(rows: Rows, identity: Any) -> None:
    """Count one more of something, for those who ask whether it is as it was. A retry may count twice, which does no harm there."""
    for _ in range(TICK_ATTEMPTS):
        with contextlib.suppress(DuplicateKeyError):  # another one began to count
            rows.update_one({"_id": identity}, {"$inc": {"count": 1}}, upsert=True)
            return


def applied(rows: Rows, document: Document, cause: Cause) -> Outcome | None:
    """The first outcome, if ``cause`` was applied to ``document`` before; else None. Raises Refusal when the body differs."""
    for entry in document.get("applied", ()):
        if entry["id"] == cause.id:
            _same_body(entry.get("hash", ""), cause)
            return Outcome(document, entry.get("answer"), replayed=True, changed=False)
    if document.get("archived"):
        entry = rows.database["applied_archive"].find_one({"_id": _archive_id(rows, document, cause.id)})
        if entry is not None:
            _same_body(entry.get("hash", ""), cause)
            return Outcome(document, entry.get("answer"), replayed=True, changed=False)
    return None


def recognised(rows: Rows, document: Document, cause: Cause) -> Outcome | None:
    """The first outcome, if ``cause`` created or changed ``document`` before; else None. Raises Refusal when the body differs."""
    if document.get("created_by") == cause.id:
        return created_before(document, cause)
    return applied(rows, document, cause)


def write(rows: Rows, document: Document, wanted: Change, cause: Cause) -> bool:
    """Write ``wanted`` onto exactly this version of ``document``; False when it had moved or a guard is unmet."""
    spill(rows, document)
    condition, update = render(rows, document, wanted, cause)
    written = rows.update_one(condition, update).matched_count == 1
    if written and wanted.facts:
        bell.ring(rows)
    return written


def render(
    rows: Rows, document: Document, wanted: Change, cause: Cause, *, carrying: bool = True
) -> tuple[Document, Document]:
    """The filter and the update of one conditional write on this version of ``document``, which carries its events or does not."""
    version = document["version"]
    step = max(1, len(wanted.facts))
    condition: Document = {"_id": document["_id"], "version": version, "applied.id": {"$ne": cause.id}, **wanted.guard}
    entry: Document = {"id": cause.id}
    if cause.hash:
        entry["hash"] = cause.hash
    if wanted.answer is not None:
        entry["answer"] = wanted.answer
    fields: Document = {**wanted.set, "version": version + step, "updated_at": clock.business()}
    removed = dict.fromkeys(wanted.unset, "")
    if wanted.due is None:
        removed.update({"due_at": "", "slot": ""})
    elif not isinstance(wanted.due, Keep):
        fields.update(_timer(document["_id"], wanted.due))
    pushed: Document = {name: {"$each": items} for name, items in wanted.push.items()}
    full = len(document.get("applied", ())) >= APPLIED_KEPT + APPLIED_SPILL
    pushed["applied"] = {"$each": [entry], "$slice": -APPLIED_KEPT} if full else {"$each": [entry]}
    if full:
        fields["archived"] = True
    update: Document = {"$set": fields, "$push": pushed}
    if wanted.facts and carrying:
        if len(document.get("outbox", ())) + len(wanted.facts) > OUTBOX_LIMIT:
            raise Refusal(
                "BACKLOG_FULL", "too many events of this document wait to be sent; try again", retry_after_s=1
            )
        pushed["outbox"] = {"$each": envelopes(rows, document["_id"], wanted.facts, version, cause)}
        update["$min"] = {"outbox_at": clock.wall_ms()}
    for operator, values in (("$inc", dict(wanted.inc)), ("$unset", removed), ("$pull", dict(wanted.pull))):
        if values:
            update[operator] = values
    return condition, update


def spill(rows: Rows, document: Document) -> None:
    """Before ``applied`` is cut, copy what will be cut to the archive. Copying twice is harmless: ids are derived."""
    entries = document.get("applied", ())
    if len(entries) < APPLIED_KEPT + APPLIED_SPILL:
        return
    old = [{**entry, "_id": _archive_id(rows, document, entry["id"])} for entry in entries[: APPLIED_SPILL + 1]]
    try:
        rows.database["applied_archive"].insert_many(old, ordered=False)
    except BulkWriteError as error:
        if any(problem["code"] != DUPLICATE_KEY for problem in error.details["writeErrors"]):
            raise


def _archive_id(rows: Rows, document: Document, cause_id: str) -> str:
    return f"{rows.name}:{document['_id']}:{cause_id}"


def _is_applied(document: Document, cause: Cause) -> bool:
    return any(entry["id"] == cause.id for entry in document.get("applied", ()))


def _same_body(known: str, cause: Cause) -> None:
    if known and cause.hash and known != cause.hash:
        raise Refusal(
            "IDEMPOTENCY_KEY_REUSED",
            "this idempotency key was used with another request; use a new key for a new request",
        )


def _timer(identity: Any, due: datetime) -> Document:
    return {"due_at": clock.ms(due), "slot": sum(str(identity).encode()) % TIMER_SLOTS}


def envelopes(rows: Rows, identity: Any, facts: tuple[Fact, ...], version: int, cause: Cause) -> list[events.Envelope]:
    """The events of one change of a document at ``version``; the same change made again promises the same events."""
    entity = f"{rows.database.name}.{rows.name}:{identity}"
    return [
        events.pack(
            fact,
            entity=entity,
            subject=str(identity),
            sequence=version + number,
            causation=cause.causation or cause.id,
            traceparent=cause.traceparent,
        )
        for number, fact in enumerate(facts, start=1)
    ]
