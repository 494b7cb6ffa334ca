"""Several documents in one transaction: all of it or nothing.

Matched counts are compared, because an unmatched guard does not abort by itself.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, ClientBulkWriteException, OperationFailure, PyMongoError

from services.chassis import bell, clock, ids
from services.chassis.commit.documents import DUPLICATE_KEY, PATIENCE_S, Cause, Rows, Taken, envelopes, render, spill
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.mongo import WRITE_CONFLICTS, Client, Database, Document, is_conflict

T = TypeVar("T")
HANDLED_KEPT: Final = timedelta(days=30)
_LOSERS: Final = threading.Lock()
"""Transactions of this process that lost against another writer go one at a time, so that they do not lose to each other for ever."""


class Shortfall(Exception):
    """A guard of a transaction was unmet; nothing was written. Read again and classify."""


@dataclass(frozen=True, slots=True)
class _Gathered:
    """Items of one row: its collection, its other fields, the field that holds them, and they."""

    rows: Rows
    fields: Mapping[str, Any]
    name: str
    items: tuple[Any, ...]


@dataclass(slots=True)
class _Move:
    """What is added to the fields of one document, and how much of them must be there before."""

    rows: Rows
    added: Counter[str]
    needed: Counter[str]


@dataclass(slots=True)
class Transaction:
    """Several documents in one ``client.bulk_write`` inside one transaction: all of it or nothing.

    Every update and every delete must match exactly one document; a shortfall aborts. Updates that add up (``$inc``) stand beside a row of their
    own, inserted under an id derived from the cause, so that a second run meets DuplicateKey.
    """

    client: Client
    operations: list[Any] = field(default_factory=list)
    database: str = ""
    """The name of the database written to first."""
    matching: int = 0
    inserting: int = 0
    deleting: int = 0
    spills: list[tuple[Rows, Document]] = field(default_factory=list)
    many: list[tuple[Rows, Sequence[Document]]] = field(default_factory=list)
    telling: dict[str, Rows] = field(default_factory=dict)
    gathered: dict[str, _Gathered] = field(default_factory=dict)
    moves: dict[tuple[str, Any], _Move] = field(default_factory=dict)

    def insert(self, rows: Rows, *documents: Document) -> "Transaction":
        """Insert documents (made by ``prepare`` where they are aggregates, or plain rows)."""
        for document in documents:
            self._add(InsertOne(document, namespace=_namespace(rows)), rows)
            if "outbox" in document:
                self.telling[_namespace(rows)] = rows
        self.inserting += len(documents)
        return self

    def insert_many(self, rows: Rows, documents: Sequence[Document]) -> "Transaction":
        """Insert many documents of one collection after everything else, by a command of their own.

        The embedded database takes half the time for them that way (measured: 1.15 s against 2.3 s of its core for 6,000 rows).
        """
        if documents:
            self.many.append((rows, documents))
        return self

    def gather(self, rows: Rows, fields: Mapping[str, Any], name: str, items: Sequence[Any]) -> "Transaction":
        """Insert ``items`` in a row of ``fields``: one row for all transactions that are committed together, with the first one's fields.

        For what is never written again. Another write of the transaction says that it was done; or else the items have an ``_id``
        each, over which the collection has a unique index: one that is there already meets Taken, one that another of the transactions
        committed together has as well meets Shortfall.
        """
        before = self.gathered.get(_namespace(rows), _Gathered(rows, fields, name, ()))
        self.gathered[_namespace(rows)] = replace(before, items=(*before.items, *items))
        self.database = self.database or rows.database.name
        return self

    @property
    def claims(self) -> list[tuple[str, Any]]:
        """(collection, id) of the gathered items that have one."""
        return [
            (one.rows.full_name, item["_id"]) for one in self.gathered.values() for item in one.items if "_id" in item
        ]

    def change(
        self, rows: Rows, document: Document, wanted: Change, cause: Cause, *, by_letter: bool = False
    ) -> "Transaction":
        """The same conditional write as ``commit.change`` makes, on this version of an aggregate.

        ``by_letter``: its events go into one row of the event log for all that is committed together (the service declares ``LETTERS``),
        and not into the document, from which each would have to be taken out again.
        """
        condition, update = render(rows, document, wanted, cause, carrying=not by_letter)
        self.spills.append((rows, document))
        if wanted.facts and by_letter:
            letters = rows.database["event_log"]
            told = envelopes(rows, document["_id"], wanted.facts, document["version"], cause)
            self.gather(letters, {"outbox_at": clock.wall_ms()}, "outbox", told)
            self.telling[_namespace(letters)] = letters
        elif wanted.facts:
            self.telling[_namespace(rows)] = rows
        return self.update(rows, condition, update)

    def update(self, rows: Rows, condition: Document, update: Document | list[Document]) -> "Transaction":
        """A guarded update that must match exactly one document."""
        self._add(UpdateOne(condition, update, namespace=_namespace(rows)), rows)
        self.matching += 1
        return self

    def delete(self, rows: Rows, condition: Document) -> "Transaction":
        """Delete exactly one document: a plain row that says only that something is so, never an aggregate."""
        self._add(DeleteOne(condition, namespace=_namespace(rows)), rows)
        self.deleting += 1
        return self

    def move(self, rows: Rows, identity: Any, added: Mapping[str, int], needed: Mapping[str, int]) -> "Transaction":
        """Add to integer fields of a document that has at least ``needed`` of them; those of all transactions that are committed together
        and move the same document are one write. Another write of the transaction says that it was done.
        """
        found = self.moves.setdefault((_namespace(rows), identity), _Move(rows, Counter(), Counter()))
        found.added.update(added)
        found.needed.update(needed)
        self.database = self.database or rows.database.name
        return self

    def _add(self, operation: Any, rows: Rows) -> None:
        self.operations.append(operation)
        self.database = self.database or rows.database.name

    def handled(self, database: Database, row_id: str, *, waited: bool) -> "Transaction":
        """Mark a delivery done as the first write (``once``): ``row_id`` is handler and event id; ``waited`` if a row is there already."""
        rows = database["handled"]
        done = {"state": "done", "expire_at": clock.wall() + HANDLED_KEPT}
        if waited:
            condition = {"_id": row_id, "state": {"$ne": "done"}}
            operation: Any = UpdateOne(
                condition, {"$set": done, "$unset": {"next_at": "", "entity": ""}}, namespace=_namespace(rows)
            )
            self.matching += 1
        else:
            operation = InsertOne({"_id": row_id, **done}, namespace=_namespace(rows))
            self.inserting += 1
        self.operations.insert(0, operation)
        self.database = self.database or database.name
        return self

    def answer(self, database: Database, cause: Cause, answer: Any) -> "Transaction":
        """Remember what a command over several documents answered (``answered``); its repetition meets Taken."""
        row = {"_id": cause.id, "hash": cause.hash, "answer": answer, "at": clock.wall()}
        return self.insert(database["answers"], row)

    def commit(self, *, patience_s: float = PATIENCE_S) -> None:
        """Run it. Write conflicts with other transactions are tried again for ``patience_s``.

        Raises Shortfall (a guard was unmet), Taken (a unique key is there already); nothing is written then.
        """
        for rows, document in self.spills:
            spill(rows, document)
        self._write_shared()
        until = time.monotonic() + patience_s
        pause = 0.001
        lane: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        while True:
            try:
                with lane:
                    self._attempt()
                for rows in self.telling.values():
                    bell.ring(rows)
                return
            except OperationFailure as error:  # ClientBulkWriteException is one too
                if not _lost(error) or time.monotonic() > until:
                    raise _translated(error) from error
            lane = _LOSERS
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads writers, no secret
            pause = min(pause * 2, 0.05)

    def _write_shared(self) -> None:
        """What several transactions may share becomes writes: moves in the order of their documents, then the rows of gathered items."""
        for key in sorted(self.moves):
            move, identity = self.moves[key], key[1]
            enough = {name: {"$gte": least} for name, least in move.needed.items()}
            self.update(move.rows, {"_id": identity, **enough}, {"$inc": dict(move.added)})
        for one in self.gathered.values():
            self.insert(one.rows, {"_id": ids.new_id("row"), **one.fields, one.name: list(one.items)})
        self.moves, self.gathered = {}, {}

    @classmethod
    def joined(cls, transactions: "Sequence[Transaction]") -> "Transaction":
        """Several transactions as one: all of them or none."""
        whole = cls(transactions[0].client)
        for each in transactions:
            whole.operations += each.operations
            whole.matching += each.matching
            whole.inserting += each.inserting
            whole.deleting += each.deleting
            whole.spills += each.spills
            whole.many += each.many
            whole.telling |= each.telling
            for one in each.gathered.values():
                whole.gather(one.rows, one.fields, one.name, one.items)
            for (_, identity), move in each.moves.items():
                whole.move(move.rows, identity, move.added, move.needed)
        return whole

    def _attempt(self) -> None:
        if len(self.operations) == 1 and not self.many:
            self._run(None)  # one write is all or nothing by itself
            return
        with self.client.start_session() as session, session.start_transaction():
            self._run(session)

    def _run(self, session: ClientSession | None) -> None:
        result = self.client.bulk_write(self.operations, session=session, ordered=True)
        done = (result.matched_count, result.inserted_count, result.deleted_count)
        if done != (self.matching, self.inserting, self.deleting):
            raise Shortfall
        for rows, documents in self.many:
            rows.insert_many(documents, session=session)


def settled(name: str, attempt: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
    """What ``attempt`` answers: it reads, decides and commits a transaction, and does so anew when somebody else was faster.

    Where that may have been this very cause, ``attempt`` looks for it first. Raises Refusal VERSION_CONFLICT when ``name`` keeps changing.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return attempt()
        except (Shortfall, Taken):
            if time.monotonic() > until:
                raise Refusal("VERSION_CONFLICT", f"{name} kept changing; try again", retry_after_s=1) from None
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 - spreads writers, no secret


def _namespace(rows: Rows) -> str:
    return f"{rows.database.name}.{rows.name}"


def _lost(error: OperationFailure) -> bool:
    """Whether the transaction lost against another writer, however the driver wraps it."""
    inner = error.error if isinstance(error, ClientBulkWriteException) else None
    codes = {problem.get("code") for problem in _problems(error)}
    return (
        is_conflict(error)
        or bool(codes & WRITE_CONFLICTS)
        or (isinstance(inner, OperationFailure) and is_conflict(inner))
    )


def _translated(error: OperationFailure) -> Exception:
    """Taken for a unique key that is there already, else what the database said."""
    for problem in _problems(error):
        if problem.get("code") == DUPLICATE_KEY:
            return Taken(tuple(problem.get("keyPattern", {})))
    if isinstance(error, ClientBulkWriteException) and isinstance(error.error, PyMongoError):
        return error.error
    return error


def _problems(error: OperationFailure) -> list[Mapping[str, Any]]:
    details: Mapping[str, Any] = error.details or {}
    several = isinstance(error, ClientBulkWriteException | BulkWriteError)
    return list(details.get("writeErrors", ())) if several else [details]
