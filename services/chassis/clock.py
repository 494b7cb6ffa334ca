"""The two clocks, and the only place that asks the machine for the time.

``business()``: dates, policy and timers of the trade; movable in a sandbox. ``wall()``: leases, tokens, retries, outbox, ids, RPC
deadlines, TTL; never moves. Both UTC, aware. Business calendars are in ``calendar``.

The sandbox offset is one persisted document that only grows; every process reads it twice a second (``follow``).
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo.database import Database
from pymongo.errors import PyMongoError

from services.chassis.calendar import CST

SANDBOX_START: Final = datetime(2026, 1, 5, 10, 0, tzinfo=CST)
"""Where a sandbox's business clock begins: early in a month, so that no demo or test reads the real date."""
FOLLOW_EVERY_S: Final = 0.5
TELL_EVERY_S: Final = 1.0
"""A process that has seen nothing new says so less often."""

Document = dict[str, Any]
_offset_ms = 0
_seen = False


def wall() -> datetime:
    """Now, UTC; never moves."""
    return datetime.now(UTC)


def wall_ms() -> int:
    """Now as integer milliseconds since 1970; never moves."""
    return time.time_ns() // 1_000_000


def wall_us() -> int:
    """The same in microseconds."""
    return time.time_ns() // 1_000


def monotonic() -> float:
    """Seconds for measuring how long something takes."""
    return time.monotonic()


def business() -> datetime:
    """The trade's now, UTC, in whole milliseconds (what the database keeps)."""
    return moment(business_ms())


def business_ms() -> int:
    """The trade's now as integer milliseconds since 1970."""
    return wall_ms() + _offset_ms


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 → UTC datetime."""
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def ms(when: datetime) -> int:
    """UTC datetime → milliseconds since 1970."""
    return int(when.timestamp()) * 1000 + when.microsecond // 1000


def offset_ms() -> int:
    """How far the business clock runs ahead of the wall clock as this process has seen it."""
    return _offset_ms


def see(offset: int) -> None:
    """Move this process's business clock to ``offset`` ms (the first may be negative: a sandbox starts on a fixed day); never back."""
    global _offset_ms, _seen  # noqa: PLW0603 - the one clock of the process
    _offset_ms = max(_offset_ms, offset) if _seen else offset
    _seen = True


def reset() -> None:
    """Forget the offset: for a test that starts another world in the same process."""
    global _offset_ms, _seen
    _offset_ms, _seen = 0, False


def open_sandbox(shared: Database[Document]) -> int:
    """Make sure the sandbox's offset document exists; answer the offset in ms. Run by whoever starts the stack."""
    first = ms(SANDBOX_START) - wall_ms()
    shared["clock"].update_one({"_id": "sandbox"}, {"$setOnInsert": {"offset_ms": first}}, upsert=True)
    return read_offset(shared)


def read_offset(shared: Database[Document]) -> int:
    """The persisted offset in ms; 0 where no sandbox was opened."""
    return _persisted(shared) or 0


def _persisted(shared: Database[Document]) -> int | None:
    row = shared["clock"].find_one({"_id": "sandbox"})
    return int(row["offset_ms"]) if row else None


def follow(shared: Database[Document], process: str, role: str) -> threading.Thread:
    """Read the offset now and then twice a second for ever, and tell in ``jishi.processes`` what this process has seen.

    ``process`` identifies the process, ``role`` is server, worker, jobs or channel. Returns when the offset was read once: a process
    whose database is away must not act on another date. Later an outage only delays.
    """

    def look() -> None:
        offset = _persisted(shared)
        if offset is not None:
            see(offset)

    while True:
        try:
            look()
            break
        except PyMongoError:
            time.sleep(FOLLOW_EVERY_S)

    def loop() -> None:
        told, told_at = 0, 0.0
        while True:
            try:
                look()
                if _offset_ms != told or monotonic() - told_at >= TELL_EVERY_S:
                    seen = {"role": role, "offset_ms": _offset_ms, "at": wall_ms()}
                    shared["processes"].update_one({"_id": process}, {"$set": seen}, upsert=True)
                    told, told_at = _offset_ms, monotonic()
            except PyMongoError:  # the database is away: keep the offset we know and look again
                pass
            time.sleep(FOLLOW_EVERY_S)

    thread = threading.Thread(target=loop, name="clock", daemon=True)
    thread.start()
    return thread
