"""Requests that wait in one process at the same time are worked on together: one round trip for all of them.

Nothing is delayed to collect more, and nothing is older than its request: whoever comes while a round is under way is part of the
next one. A lone request costs what it always did.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from services.chassis.commit import Cause, Outcome, Rows, Shortfall, Taken, Transaction, created_before, prepare
from services.chassis.mongo import Client, Document

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MOST: Final = 64
"""Requests in one round."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    item: T
    done: "Future[Any]" = field(default_factory=Future)
    woken: threading.Event = field(default_factory=threading.Event)
    """Set when it is done, or when it is to lead the next round."""
    leads: bool = False


class Together(Generic[T]):
    """``work(items)`` answers for each item its result, or the exception that its caller gets.

    One caller at a time leads: it works for all that wait, and when it is done the first of those who came meanwhile leads. Whoever has
    an answer goes at once and is back for one of the next rounds, instead of waiting behind a round that is not theirs.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[Any]], most: int = MOST) -> None:
        """One for all callers in a process; ``work`` runs in the thread of one of them, never twice at the same time."""
        self._work, self._most = work, most
        self._waiting: list[_Waiting[T]] = []
        self._lock, self._is_led = threading.Lock(), False

    def ask(self, item: T) -> Any:
        """The result for ``item``. Raises what ``work`` answered or raised for it."""
        mine = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._is_led = not self._is_led, True
        try:
            if not mine.leads:
                mine.woken.wait()
            if mine.leads:
                time.sleep(0)  # no pause: who is ready to ask in this process does so, and is part of this round
                self._round(self._taken())
        finally:
            self._leave(mine)
        return mine.done.result()

    def _taken(self) -> list[_Waiting[T]]:
        with self._lock:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return batch

    def _leave(self, mine: _Waiting[T]) -> None:
        """Let another one lead, if this one did; also when its thread is killed, while it leads or waits."""
        with self._lock:
            self._waiting = [one for one in self._waiting if one is not mine]
            if not mine.leads:
                return
            successor = self._waiting[0] if self._waiting else None
            self._is_led = successor is not None
            if successor is not None:
                successor.leads = True
        if successor is not None:
            successor.woken.set()

    def _round(self, batch: list[_Waiting[T]]) -> None:
        try:
            answers = list(zip(batch, self._work([one.item for one in batch]), strict=True))
        except BaseException as error:
            for one in batch:  # every caller of the round gets it, also when the thread that works is killed
                one.done.set_exception(error)
                one.woken.set()
            if isinstance(error, Exception):
                return
            raise
        for one, result in answers:
            if isinstance(result, Exception):
                one.done.set_exception(result)
            else:
                one.done.set_result(result)
            one.woken.set()


class SharedReads(Generic[K]):
    """Rows by key for many readers at once: one query for all keys that wait."""

    def __init__(self, load: Callable[[Sequence[K]], Mapping[K, Any]]) -> None:
        """``load(keys)`` answers those that are there: a row for each key, or whatever else belongs to it."""
        self._load = load
        self._together: Together[tuple[K, ...]] = Together(self._read)

    def get(self, keys: Iterable[K]) -> dict[K, Any]:
        """Those of the rows that are there, read after this call began. They are shared: do not change them."""
        found: dict[K, Any] = self._together.ask(tuple(keys))
        return found

    def _read(self, asked: Sequence[tuple[K, ...]]) -> list[dict[K, Any]]:
        found = self._load(list(dict.fromkeys(key for keys in asked for key in keys)))
        return [{key: found[key] for key in keys if key in found} for keys in asked]


class _Desk:
    """What is shared by all users of one database client."""

    def __init__(self) -> None:
        self.commits: dict[str, Together[Transaction]] = {}
        self.reads: dict[str, SharedReads[Any]] = {}


_DESK: Final = "_jishi_desk"
_OPENING: Final = threading.Lock()


def _desk(client: Client) -> _Desk:
    """Kept in the client itself: two clients of one address count as equal, and one of them may be closed."""
    with _OPENING:
        desk: _Desk = client.__dict__.setdefault(_DESK, _Desk())
        return desk


def find(rows: Rows, ids: Iterable[Any]) -> dict[Any, Document]:
    """The documents with these ids that are there, read together with others that ask the same collection. Do not change them."""
    return _shared(rows, "_id", lambda asked: _by_id(rows, asked)).get(ids)


def find_by(rows: Rows, name: str, values: Iterable[Any], without: Mapping[str, int]) -> dict[Any, list[Document]]:
    """The documents whose indexed field ``name`` is (or holds) one of ``values``, by value, read together with others that ask so.

    ``name`` may be a field of what a list holds: ``list.field``.
    ``without``: the fields that nobody who asks for this collection by this name reads, {field: 0}. Do not change the documents.
    """
    return _shared(rows, name, lambda asked: _by_field(rows, name, asked, without)).get(values)


def _shared(rows: Rows, name: str, load: Callable[[Sequence[Any]], Mapping[Any, Any]]) -> SharedReads[Any]:
    reads, key = _desk(rows.database.client).reads, f"{rows.full_name}#{name}"
    return reads.get(key) or reads.setdefault(key, SharedReads(load))


def _by_id(rows: Rows, ids: Sequence[Any]) -> dict[Any, Document]:
    query: Document = {"_id": ids[0]} if len(ids) == 1 else {"_id": {"$in": ids}}
    return {found["_id"]: found for found in rows.find(query)}


def _by_field(rows: Rows, name: str, values: Sequence[Any], without: Mapping[str, int]) -> dict[Any, list[Document]]:
    query: Document = {name: values[0] if len(values) == 1 else {"$in": values}}
    found: dict[Any, list[Document]] = {}
    for document in rows.find(query, without or None):
        for value in _held(document, name):
            found.setdefault(value, []).append(document)
    return found


def _held(document: Document, name: str) -> Sequence[Any]:
    """The values that a document has under an indexed field."""
    outer, _, inner = name.partition(".")
    held = document[outer] if isinstance(document[outer], list) else [document[outer]]
    return [each[inner] for each in held] if inner else held


def create(rows: Rows, document: Mapping[str, Any], cause: Cause, *, due: datetime | None = None) -> Outcome:
    """Insert ``document`` under an ``_id`` that its command names, together with what else waits: ``commit.create(…, natural=True)``.

    Raises Refusal IDEMPOTENCY_KEY_REUSED for the same command with another body, Taken when the id or another unique key is another's.
    """
    prepared = prepare(rows, document, cause, due=due)
    try:
        commit(Transaction(rows.database.client).insert(rows, prepared))
    except Taken:
        found = rows.find_one({"_id": document["_id"]})
        if found is None or found.get("created_by") != cause.id:
            raise
        return created_before(found, cause)
    return Outcome(prepared)


def commit(transaction: Transaction) -> None:
    """Commit, together with other transactions of this process that wait for the same database; who does not fit is committed alone.

    Raises what ``Transaction.commit`` raises: Shortfall, Taken.
    """
    commits = _desk(transaction.client).commits
    waiting = commits.get(transaction.database) or commits.setdefault(transaction.database, Together(_commit_all))
    waiting.ask(transaction)


def _commit_all(transactions: Sequence[Transaction]) -> list[Exception | None]:
    """What became of each. Of several that change the same version of a document one can hold: the first is tried, and where it holds the
    others are told at once to read again.
    """
    rivals = _rivals(transactions)
    first = [number for number in range(len(transactions)) if number not in rivals]
    results = dict(zip(first, _commit_first([transactions[number] for number in first]), strict=True))
    for number, rival in rivals.items():
        results[number] = Shortfall() if results[rival] is None else _commit_one(transactions[number])
    return [results[number] for number in range(len(transactions))]


def _rivals(transactions: Sequence[Transaction]) -> dict[int, int]:
    """The number of each transaction that changes a document which an earlier one changes, or makes what an earlier one makes → that of the
    earlier one.
    """
    rivals: dict[int, int] = {}
    changing: dict[tuple[str, Any], int] = {}
    for number, transaction in enumerate(transactions):
        changed = [(rows.full_name, document["_id"]) for rows, document in transaction.spills] + transaction.claims
        rival = next((changing[key] for key in changed if key in changing), None)
        if rival is None:
            changing |= dict.fromkeys(changed, number)
        else:
            rivals[number] = rival
    return rivals


def _commit_first(transactions: Sequence[Transaction]) -> list[Exception | None]:
    if len(transactions) > 1:
        try:
            Transaction.joined(transactions).commit()
        except (Shortfall, Taken):
            pass  # one of them does not hold: which, is found one by one
        else:
            return [None] * len(transactions)
    return [_commit_one(transaction) for transaction in transactions]


def _commit_one(transaction: Transaction) -> Exception | None:
    try:
        transaction.commit()
    except Exception as error:  # noqa: BLE001 - its caller gets it
        return error
    return None
