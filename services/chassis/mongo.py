"""The database: one client a process, one database a service, collections and indexes declared beside their store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ASCENDING, MongoClient
from pymongo.database import Database as MongoDatabase
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from services.chassis.mongo_metrics import Meter
from services.chassis.settings import Settings

Document = dict[str, Any]
Client = MongoClient[Document]
Database = MongoDatabase[Document]

AWAY: Final = (AutoReconnect, ConnectionFailure, ServerSelectionTimeoutError, WaitQueueTimeoutError)
"""What pymongo raises when the database does not answer, as opposed to answering no."""
WRITE_CONFLICTS: Final = frozenset({112, 251})
"""WriteConflict, NoSuchTransaction: the transaction lost and may run again."""
DAY_S: Final = 86_400
LOG_KEPT_S: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Index:
    """One index: ``keys`` as "field" or "-field" names in order; ``expire_s`` makes it a TTL index."""

    keys: tuple[str, ...]
    unique: bool = False
    sparse: bool = False
    expire_s: int | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as its store declares it.

    ``keyed``: created by commands (unique ``created_by``); ``emits``: its documents carry events (``outbox_at``);
    ``timed``: its documents carry timers (``due_at``).
    """

    name: str
    indexes: tuple[Index, ...] = ()
    keyed: bool = False
    emits: bool = False
    timed: bool = False

    def all_indexes(self) -> tuple[Index, ...]:
        """The declared indexes and those that the flags ask for."""
        flagged = (
            (self.keyed, Index(("created_by",), unique=True, sparse=True)),
            (self.emits, Index(("outbox_at",), sparse=True)),
            (self.timed, Index(("due_at",), sparse=True)),
        )
        return self.indexes + tuple(index for wanted, index in flagged if wanted)


CHASSIS_COLLECTIONS: Final = (
    Collection("event_log", (Index(("sent_at",), expire_s=LOG_KEPT_S),)),
    Collection(
        "handled",
        (
            Index(("next_at",), sparse=True),
            Index(("entity",), sparse=True),
            Index(("state",)),
            Index(("expire_at",), expire_s=0),
        ),
    ),
    Collection("applied_archive"),
    Collection("answers"),
    Collection("revoked", (Index(("expire_at",), expire_s=0),)),
)
"""What every service's database holds beside its own: events sent, deliveries waiting or parked, old applied ids, answers, revoked tokens."""

LETTERS: Final = Collection("event_log", emits=True)
"""Declared by a service whose transactions send their events by letter (``Transaction.change``): rows of the log that are to be sent."""


def connect(settings: Settings, *, pool: int = 64, timeout_s: float = 3.0) -> Client:
    """The client of this process. Production: w=majority, readConcern=majority, primary reads, retried writes. Every timeout explicit."""
    options: dict[str, Any] = {
        "maxPoolSize": pool,
        "serverSelectionTimeoutMS": int(timeout_s * 1000),
        "connectTimeoutMS": int(timeout_s * 1000),
        "socketTimeoutMS": 20_000,
        "waitQueueTimeoutMS": int(timeout_s * 1000),
        "tz_aware": True,
        "retryWrites": not settings.embedded,
        "appname": "jishi",
    }
    if settings.metrics_listen:
        options["event_listeners"] = [Meter(settings.db_prefix)]
    return MongoClient(settings.mongo_uri, **options)


def release_abandoned(client: Client, settings: Settings) -> None:
    """Abort the transactions that killed processes left open; every process of the stack does so when it starts.

    The embedded database keeps them and their locks for a minute or longer, and lets other writers wait. One that a live process
    runs at that moment is tried again by ``commit``. A real MongoDB looks after this by itself and is left alone.
    """
    if settings.embedded:
        client.admin.command("killAllSessions", [])


def database(client: Client, settings: Settings, service: str) -> Database:
    """The database of ``service``; ``"jishi"`` is the small shared one (sandbox clock, processes, node-wide leases)."""
    if settings.embedded:
        return client.get_database(settings.db_prefix + service)
    return client.get_database(
        settings.db_prefix + service, write_concern=WriteConcern("majority"), read_concern=ReadConcern("majority")
    )


def declare(database: Database, collections: Iterable[Collection]) -> None:
    """Create the indexes that are not there yet. Safe to run by several processes at once."""
    for collection in (*collections, *CHASSIS_COLLECTIONS):
        for index in collection.all_indexes():
            keys = [(key.lstrip("-"), -1 if key.startswith("-") else ASCENDING) for key in index.keys]
            options: dict[str, Any] = {"unique": index.unique, "sparse": index.sparse}
            if index.expire_s is not None:
                options["expireAfterSeconds"] = index.expire_s
            database[collection.name].create_index(
                keys, **{name: value for name, value in options.items() if value not in (False, None)}
            )


def is_conflict(error: OperationFailure) -> bool:
    """Whether a transaction lost against another writer and may simply run again."""
    return error.has_error_label("TransientTransactionError") or error.code in WRITE_CONFLICTS
