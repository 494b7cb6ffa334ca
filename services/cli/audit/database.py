"""The databases that an audit reads: those of a running stack, or those of a stopped one's data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from pymongo.errors import PyMongoError

from services.chassis import clock, mongo
from services.chassis.settings import Settings
from services.cli import running
from services.cli.processes import LOOPBACK, Child, free_port, stop_in_order
from services.cli.stack.folder import DATABASE, StackError, database_command

START_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 20.0


class NothingToAuditError(StackError):
    """No database answers and none can be started; the message says what to do."""


@contextmanager
def opened(data: Path) -> Iterator[tuple[Settings, bool]]:
    """(settings whose database answers, whether the stack is known to be stopped).

    It is the database of MONGO_URI, that of the stack running on ``data``, or else the folder's own, started meanwhile. Raises
    NothingToAuditError.
    """
    with running.databases(data) as (client, settings):
        is_own = not os.environ.get("MONGO_URI") and (data / DATABASE).is_dir()
        lock = _taken(data) if is_own else None
        if lock is None:  # somebody else's database, or a running stack's
            if not _answers(client):
                where = running.shown(settings.mongo_uri)
                message = f"no database answers at {where}; set MONGO_URI, or name a stack's data folder with --data"
                raise NothingToAuditError(message)
            yield settings, False
            return
    with lock, _started(data.resolve(), settings) as own:
        yield own, True


def _taken(data: Path) -> TextIO | None:
    """The lock of a folder that nobody works on, so that no ``jishi up`` begins to; None while one does."""
    lock = (data / "lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


@contextmanager
def _started(data: Path, settings: Settings) -> Iterator[Settings]:
    """The database of a stopped stack, alone."""
    port = free_port()
    (data / "logs").mkdir(exist_ok=True)
    child = Child(DATABASE, DATABASE, database_command(data, port), os.environ, data / "logs" / "audit-database.log")
    child.start()
    try:
        own = settings.model_copy(update={"mongo_uri": f"mongodb://{LOOPBACK}:{port}", "embedded": True})
        _wait(child, own)
        yield own
    finally:
        stop_in_order([child], STOP_WITHIN_S)


def _wait(child: Child, settings: Settings) -> None:
    until = clock.monotonic() + START_WITHIN_S
    with mongo.connect(settings, timeout_s=0.5) as client:
        while not _answers(client):
            if not child.running or clock.monotonic() > until:
                raise NothingToAuditError(f"the database does not start:\n{child.tail()}")


def _answers(client: mongo.Client) -> bool:
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    return True
