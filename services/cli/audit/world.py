"""What the checks look at: the databases of all services, and the moment they are judged by."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar

from services.chassis import clock, mongo, presence
from services.chassis.mongo import Client, Database, Document
from services.chassis.settings import Settings
from services.cli.audit.report import Finding

BATCH: Final = 500
"""Documents that are joined with those of another service at once."""
GRACE_MS: Final = 10_000
"""What is due is late when nobody did it for so long."""
FAR_MS: Final = 1 << 62
"""Later than any time in milliseconds: the upper bound of a query that needs one."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """All data of one installation. ``wall_ms``: until when workers have been at work; ``running``: some still are."""

    client: Client
    settings: Settings
    wall_ms: int
    offset_ms: int
    running: bool

    def database(self, service: str) -> Database:
        """The database of a service; ``jishi`` is the shared one."""
        return mongo.database(self.client, self.settings, service)

    @property
    def now(self) -> datetime:
        """The business time that the data are judged by."""
        return clock.moment(self.wall_ms + self.offset_ms)

    @property
    def late(self) -> int:
        """Business milliseconds: a timer that was due before this should have run."""
        return self.late_wall + self.offset_ms

    @property
    def late_wall(self) -> int:
        """Wall milliseconds: what waited for a process since before this should have been picked up."""
        return self.wall_ms - GRACE_MS


def seen(client: Client, settings: Settings, *, stopped: bool = False) -> World:
    """The world as it is now. This process's business clock is moved to the sandbox's.

    It is running while any process of it tells that it lives, unless the caller knows that it was ``stopped``. The clocks of a
    stopped stack go on while nobody runs its timers, so it is judged by the moment when its last worker was seen.
    """
    shared = mongo.database(client, settings, "jishi")
    offset = clock.read_offset(shared)
    clock.see(offset)
    fresh = {"at": {"$gt": clock.wall_ms() - presence.LIVE_MS, "$lt": FAR_MS}}
    running = not stopped and any(shared[rows].find_one(fresh) for rows in ("processes", "quiet"))
    last = max((row["at"] for row in shared["processes"].find({"role": "worker"}, {"at": 1})), default=0)
    return World(client, settings, clock.wall_ms() if running or not last else last, offset, running)


def scan(
    database: Database, collection: str, fields: Iterable[str] = (), query: Mapping[str, Any] | None = None
) -> Iterator[Document]:
    """Every document of a collection (that matches ``query``), with these fields or whole, a batch in memory at a time."""
    projection = dict.fromkeys(fields, 1) or None
    yield from database[collection].find(dict(query or {}), projection, batch_size=1000)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """The items in lists of ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def by_id(
    database: Database, collection: str, identities: Iterable[Any], fields: Iterable[str] = ()
) -> dict[Any, Document]:
    """The documents with these ids that there are."""
    wanted = list(dict.fromkeys(identities))
    if not wanted:
        return {}
    return {row["_id"]: row for row in scan(database, collection, fields, {"_id": {"$in": wanted}})}


Check = Callable[[World], Iterator[Finding]]
"""One thing that is proved: yields a finding for every subject it examines. Its docstring's first line says what it proves."""


def name_of(check: Check) -> str:
    """``stock.on_hand``: its module and function."""
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
