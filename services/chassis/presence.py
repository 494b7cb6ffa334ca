"""What each process tells about its work, so that others can wait until the stack is quiet.

A process writes one row per service into ``quiet`` of the shared database: when each of its *checks* (relay, timers, retries,
queues, jobs) last began a full look that found nothing, when it last found or did something (``active_at``), how many handlers or
jobs run now (``busy``), what is stuck, and the clock offset its timers had seen. The stack is quiet when every check of every
service began after the last activity of all of them: then nothing is on its way between two of them either.
"""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from services.chassis import clock
from services.chassis.logs import get
from services.chassis.mongo import Client, Database, Document

LIVE_MS: Final = 3000
"""A row older than this belongs to a process that is gone."""
SETTLE_MS: Final = 250
"""So long a message may be between RabbitMQ and a process that has not counted it yet."""
SETTLE_MEMORY_MS: Final = 40
REPORT_EVERY_S: Final = 1.0
LISTEN_EVERY_S: Final = 0.15
"""How often a process looks whether somebody asks."""
LOOK_S: Final = 0.05
"""What the loops of a process take to look at everything once."""
ASK_EVERY_S: Final = 0.3
_QUESTION: Final = "quiet?"
_log = get(__name__)

WORKER_CHECKS: Final = frozenset({"relay", "timers", "retries", "queues"})
JOBS_CHECKS: Final = frozenset({"jobs"})


def process_name() -> str:
    """A name for this process: host, pid and some random letters."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class Presence:
    """What this process knows about its work for one service. Used by all its threads."""

    def __init__(self, service: str, process: str, role: str) -> None:
        """``role`` is worker or jobs."""
        self.service, self.process, self.role = service, process, role
        self.settle_ms = SETTLE_MS
        self.leads = False
        """Whether this process is the one of its service that polls outboxes (publishing twice is harmless)."""
        self._active_at = clock.wall_ms()
        self._busy = 0
        self._counting = threading.Lock()
        self._checks: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self._stuck: dict[str, str] = {}

    @property
    def busy(self) -> int:
        """How many handlers or jobs run now."""
        return self._busy

    @property
    def active_at(self) -> int:
        """When something was last found or done (wall ms)."""
        return self._active_at

    def active(self) -> None:
        """Something was found or done just now."""
        self._active_at = clock.wall_ms()

    def begin(self) -> None:
        """A handler or job begins."""
        with self._counting:
            self._busy += 1
        self.active()

    def end(self) -> None:
        """A handler or job has ended."""
        with self._counting:
            self._busy -= 1
        self.active()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """``begin`` … ``end``."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def clean(self, check: str, began: int, offset: int) -> None:
        """A full look that began at wall ms ``began``, at clock offset ``offset``, found nothing to do."""
        self._stuck.pop(check, None)
        self._checks[check], self._offsets[check] = began, offset

    def stuck(self, check: str, what: str) -> None:
        """Something is there that cannot be done now: said in one line."""
        self._stuck[check] = what

    def row(self) -> Document:
        """The row of ``quiet``."""
        return {
            "_id": f"{self.service}@{self.process}",
            "service": self.service,
            "process": self.process,
            "role": self.role,
            "at": clock.wall_ms(),
            "active_at": self._active_at,
            "busy": self._busy,
            "settle_ms": self.settle_ms,
            "checks": dict(self._checks),
            "offsets": dict(self._offsets),
            "stuck": dict(self._stuck),
        }


def report(client: Client, shared: Database, presences: Sequence[Presence], extra: Sequence[UpdateOne] = ()) -> None:
    """Write the rows of this process, and ``extra`` with them, in one command."""
    namespace = f"{shared.name}.quiet"
    operations = [
        UpdateOne({"_id": row.pop("_id")}, {"$set": row}, upsert=True, namespace=namespace)
        for row in (presence.row() for presence in presences)
    ]
    client.bulk_write([*operations, *extra], ordered=False)


def elect(shared: Database, presences: Sequence[Presence]) -> None:
    """Let the first live worker of each service lead. Two leaders for a moment publish twice, which is harmless."""
    services = [presence.service for presence in presences]
    fresh = clock.wall_ms() - LIVE_MS
    rows = list(shared["quiet"].find({"service": {"$in": services}, "role": "worker"}, {"service": 1, "at": 1}))
    for presence in presences:
        own = f"{presence.service}@{presence.process}"
        live = [row["_id"] for row in rows if row["service"] == presence.service and row["at"] >= fresh]
        presence.leads = own == min([*live, own])


def leave(shared: Database, presences: Sequence[Presence]) -> None:
    """This process ends in order: its rows go."""
    shared["quiet"].delete_many({"_id": {"$in": [presence.row()["_id"] for presence in presences]}})


class Reporter:
    """Tells how this process stands: each second, and as soon as somebody asks, who then has everything looked at afresh."""

    def __init__(
        self, client: Client, shared: Database, presences: Sequence[Presence], wake: Sequence[Callable[[], None]]
    ) -> None:
        """One a process. ``wake``: make each loop of the process look now."""
        self._client, self._shared, self._presences, self._wake = client, shared, presences, wake
        self._heard = 0
        self._told_at = 0

    @property
    def fresh(self) -> bool:
        """Whether this process could report of late: its loops turn and its database answers."""
        return clock.wall_ms() - self._told_at < LIVE_MS

    def once(self, extra: Sequence[UpdateOne] = ()) -> None:
        """One report; a worker also learns whether it leads."""
        report(self._client, self._shared, self._presences, extra)
        self._told_at = clock.wall_ms()
        workers = [presence for presence in self._presences if presence.role == "worker"]
        if workers:
            elect(self._shared, workers)

    def run(self, stopping: threading.Event, look: Callable[[], Sequence[UpdateOne]] = tuple) -> None:
        """Report until ``stopping`` is set. ``look()`` runs before each report and adds to what it writes."""
        told = 0.0
        while not stopping.is_set():
            try:
                asked = self._asked()
                if asked:
                    for wake in self._wake:
                        wake()
                    stopping.wait(LOOK_S)
                if asked or time.monotonic() - told > REPORT_EVERY_S:
                    told = time.monotonic()
                    self.once(look())
            except PyMongoError as error:
                _log.warning("cannot report", error=str(error)[:200])
            stopping.wait(LISTEN_EVERY_S)
        try:
            leave(self._shared, self._presences)
        except PyMongoError as error:
            _log.warning("cannot take leave", error=str(error)[:200])

    def _asked(self) -> bool:
        question = self._shared["questions"].find_one({"_id": _QUESTION})
        heard, self._heard = self._heard, question["asked_at"] if question else 0
        return self._heard > heard


# ----------------------------------------------------------------------------------------------------------------- waiting


def expected(workers: Sequence[str], jobs: Sequence[str] = ()) -> dict[str, frozenset[str]]:
    """What must be quiet: the worker checks of these services, and the jobs check of those."""
    wanted = dict.fromkeys(workers, WORKER_CHECKS)
    for service in jobs:
        wanted[service] = wanted.get(service, frozenset()) | JOBS_CHECKS
    return wanted


def wait_quiet(
    shared: Database, wanted: Mapping[str, frozenset[str]], timeout_s: float, offset: int | None = None
) -> list[str]:
    """Wait until nothing is left to do that was begun before this call. Answers what is stuck after ``timeout_s``; [] is quiet.

    ``wanted``: service → checks (``expected``). With ``offset`` (ms) timers must have looked at that sandbox offset or later.
    """
    since = clock.wall_ms()
    until, asked = time.monotonic() + timeout_s, 0.0
    while True:
        if time.monotonic() - asked > ASK_EVERY_S:
            asked = time.monotonic()
            question = {"$max": {"asked_at": clock.wall_ms()}}
            shared["questions"].update_one({"_id": _QUESTION}, question, upsert=True)
        rows = list(shared["quiet"].find())
        problems = unquiet(rows, wanted, since=since, now=clock.wall_ms(), offset=offset)
        if not problems or time.monotonic() > until:
            return problems
        time.sleep(0.03)


def wait_seen(shared: Database, offset: int, timeout_s: float) -> list[str]:
    """Wait until every live process has seen the sandbox offset (ms). Answers the processes that have not; [] is all."""
    until = time.monotonic() + timeout_s
    while True:
        fresh = clock.wall_ms() - LIVE_MS
        rows = [row for row in shared["processes"].find() if row["at"] >= fresh]
        late = [f"{row['role']} {row['_id']}" for row in rows if row["offset_ms"] < offset]
        if not late or time.monotonic() > until:
            return late
        time.sleep(0.05)


def unquiet(
    rows: Sequence[Document], wanted: Mapping[str, frozenset[str]], *, since: int, now: int, offset: int | None = None
) -> list[str]:
    """What keeps the stack from being quiet, one line each, judged from the rows of ``quiet``."""
    live = [row for row in rows if row["service"] in wanted and now - row["at"] <= LIVE_MS]
    settle = max((row.get("settle_ms", SETTLE_MS) for row in live), default=0)
    last = max([since, *(row["active_at"] for row in live)]) + settle
    problems = []
    for service, checks in sorted(wanted.items()):
        mine = [row for row in live if row["service"] == service]
        problems += [f"{service}: {row['busy']} running in {row['process']}" for row in mine if row["busy"]]
        problems += [f"{service}: {row['process']} reports late" for row in mine if row["at"] <= last]
        for check in sorted(checks):
            problem = _unchecked(check, mine, last, offset)
            if problem:
                problems.append(f"{service}: {problem}")
    return problems


def _unchecked(check: str, rows: Sequence[Document], last: int, offset: int | None) -> str:
    for row in rows:
        if row["stuck"].get(check):
            return f"{check}: {row['stuck'][check]}"
    best: Any = max((row["checks"].get(check, 0) for row in rows), default=0)
    if not best:
        return f"{check}: no live process looks after it"
    if best <= last:
        return f"{check}: still at work"
    if offset is not None and check == "timers" and not any(row["offsets"].get(check, 0) >= offset for row in rows):
        return f"{check}: have not seen the clock at {offset} ms"
    return ""
