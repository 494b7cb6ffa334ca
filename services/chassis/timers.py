"""Timers: documents whose ``due_at`` (business time) has come. The write that moves or clears the timer is the claim, so any number
of workers may look; each starts at another slot. A timer that fails is logged, left alone for a while, and keeps nobody waiting.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import Counter

from services.chassis import backoff, clock, tracing
from services.chassis.commit import TIMER_SLOTS, Cause, Shortfall, Taken
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Database, Document
from services.chassis.once import is_away
from services.chassis.presence import Presence
from services.chassis.reacting import Timer

LIMIT: Final = 256
LOOK_EVERY_S: Final = 1.0
PAUSE_FIRST_MS: Final = 1000
PAUSE_MOST_MS: Final = 60_000
FIRED: Final = Counter("jishi_timers_fired_total", "Timers by outcome", ("service", "collection", "outcome"))
_log = get(__name__)


class Timers:
    """All timers of one service in this process."""

    def __init__(self, service: str, database: Database, timers: Sequence[Timer], presence: Presence) -> None:
        """The process name tells at which slot this one starts."""
        self._service, self._database, self._timers, self._presence = service, database, tuple(timers), presence
        self._start = sum(presence.process.encode()) % TIMER_SLOTS
        self._wake = threading.Event()
        self._tried: dict[tuple[str, Any], tuple[int, int, float]] = {}
        """(collection, id) → version it was fired at, how often, not again before (monotonic)."""

    def sweep(self) -> int:
        """Fire what is due; answers how many were fired. What stays due is reported as stuck."""
        began, offset = clock.wall_ms(), clock.offset_ms()
        fired, seen = 0, set()
        for timer in self._timers:
            due = self._due(timer)
            seen |= {(timer.collection, document["_id"]) for document in due}
            fired += sum(self._fire(timer, document) for document in due)
        for key in self._tried.keys() - seen:
            del self._tried[key]
        if fired:
            self._presence.active()
        elif seen:
            self._presence.stuck("timers", f"{len(seen)} fail, as {next(iter(seen))}")
        else:
            self._presence.clean("timers", began, offset)
        return fired

    def look(self) -> None:
        """Look now."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Sweep until ``stopping`` is set."""
        while not stopping.is_set():
            self._wake.clear()
            fired = 0
            try:
                fired = self.sweep()
            except Exception as error:  # noqa: BLE001 - a loop must go on
                self._presence.stuck("timers", f"{type(error).__name__}")
                if not is_away(error):
                    _log.exception("timers failed", service=self._service)
            if not fired:
                self._wake.wait(LOOK_EVERY_S)

    def _due(self, timer: Timer) -> list[Document]:
        query = {"due_at": {"$gt": 0, "$lte": clock.business_ms()}}
        found = list(self._database[timer.collection].find(query).sort("due_at", 1).limit(LIMIT))
        return sorted(found, key=lambda document: (document.get("slot", 0) - self._start) % TIMER_SLOTS)

    def _fire(self, timer: Timer, document: Document) -> int:
        """Fire one; 1 when it was tried, 0 while it is left alone after a failure."""
        key, version = (timer.collection, document["_id"]), document.get("version", 0)
        known, times, not_before = self._tried.get(key, (version, 0, 0.0))
        if known != version:
            times = 0
        elif time.monotonic() < not_before:
            return 0
        self._presence.active()
        pause = backoff.exponential(times + 1, PAUSE_FIRST_MS, PAUSE_MOST_MS)
        self._tried[key] = (version, times + 1, time.monotonic() + pause / 1000)
        outcome = self._run(timer, document, version)
        if times and outcome == "fired":
            _log.error(
                "timer is still due after it fired", collection=timer.collection, id=document["_id"], times=times
            )
        FIRED.labels(self._service, timer.collection, outcome).inc()
        return 1

    def _run(self, timer: Timer, document: Document, version: int) -> str:
        name = f"{self._service}.{timer.collection}:{document['_id']}:{version}"
        with tracing.span(f"{self._service}.{timer.collection}.timer") as span:
            cause = Cause(f"tmr:{name}", traceparent=span.traceparent)
            try:
                timer.fire(self._database, document, clock.business(), cause)
            except (Taken, Shortfall):  # another writer was faster; what is due still comes again
                return "overtaken"
            except Exception as error:
                if is_away(error):
                    raise
                if isinstance(error, Refusal) and error.reason in ("VERSION_CONFLICT", "BACKLOG_FULL"):
                    return "overtaken"
                _log.exception("timer failed", timer=name)
                return "failed"
        return "fired"
