"""Requests that wait in one process at the same time are worked on together: one round trip for all of them.

Nothing is delayed to collect more, and nothing is older than its request: whoever comes while a round is under way is part of the
next one. A lone request costs what it always did.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from services.chassis.commit import Rows, Shortfall, Taken, Transaction
from services.chassis.mongo import Client, Document

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MOST: Final = 64
"""Requests in one round."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    item: T
    done: "Future[Any]" = field(default_factory=Future)


class Together(Generic[T]):
    """``work(items)`` answers for each item its result, or the exception that its caller gets."""

    def __init__(self, work: Callable[[Sequence[T]], Sequence[Any]], most: int = MOST) -> None:
        """One for all callers in a process; ``work`` runs in the thread of one of them, never twice at the same time."""
        self._work, self._most = work, most
        self._waiting: list[_Waiting[T]] = []
        self._lock, self._working = threading.Lock(), threading.Lock()

    def ask(self, item: T) -> Any:
        """The result for ``item``. Raises what ``work`` answered or raised for it."""
        mine = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
        with self._working:
            while not mine.done.done():
                with self._lock:
                    batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._round(batch)
        return mine.done.result()

    def _round(self, batch: list[_Waiting[T]]) -> None:
        try:
            results = self._work([one.item for one in batch])
        except BaseException as error:
            for one in batch:  # every caller of the round gets it, also when the thread that works is killed
                one.done.set_exception(error)
            if isinstance(error, Exception):
                return
            raise
        for one, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                one.done.set_exception(result)
            else:
                one.done.set_result(result)


class SharedReads(Generic[K]):
    """Rows by key for many readers at once: one query for all keys that wait."""

    def __init__(self, load: Callable[[Sequence[K]], Mapping[K, Document]]) -> None:
        """``load(keys)`` answers those that are there."""
        self._load = load
        self._together: Together[tuple[K, ...]] = Together(self._read)

    def get(self, keys: Iterable[K]) -> dict[K, Document]:
        """Those of the rows that are there, read after this call began. They are shared: do not change them."""
        found: dict[K, Document] = self._together.ask(tuple(keys))
        return found

    def _read(self, asked: Sequence[tuple[K, ...]]) -> list[dict[K, Document]]:
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
    reads = _desk(rows.database.client).reads
    shared = reads.get(rows.full_name)
    if shared is None:
        shared = reads.setdefault(rows.full_name, SharedReads(lambda asked: _by_id(rows, asked)))
    return shared.get(ids)


def _by_id(rows: Rows, ids: Sequence[Any]) -> dict[Any, Document]:
    query: Document = {"_id": ids[0]} if len(ids) == 1 else {"_id": {"$in": ids}}
    return {found["_id"]: found for found in rows.find(query)}


def commit(transaction: Transaction) -> None:
    """Commit, together with other transactions of this process that wait for the same database; who does not fit is committed alone.

    Raises what ``Transaction.commit`` raises: Shortfall, Taken.
    """
    commits = _desk(transaction.client).commits
    waiting = commits.get(transaction.database) or commits.setdefault(transaction.database, Together(_commit_all))
    waiting.ask(transaction)


def _commit_all(transactions: Sequence[Transaction]) -> list[Exception | None]:
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
