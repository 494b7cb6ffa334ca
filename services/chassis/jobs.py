"""Jobs: long work leased from the database by plain processes (no grpc, no eventlet). Any number of them may run.

A row with an integer ``next_at`` (wall ms) wants to be worked on. It is claimed by one conditional update that sets ``claim`` (a token)
and ``claimed_until`` (wall ms); whoever is killed loses the claim when that has passed. A failing job is tried again with growing
pauses, for ever, and says so in its row (``job_failures``, ``job_error``) and its log.
"""

import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import Counter
from pymongo.errors import DuplicateKeyError

from services.chassis import backoff, clock, logs, metrics, mongo, policy, presence, signals, subscriptions, tracing
from services.chassis.mongo import Database, Document
from services.chassis.once import is_away
from services.chassis.presence import Presence, Reporter
from services.chassis.reacting import Job, JobRun
from services.chassis.settings import Settings

LOOK_EVERY_S: Final = 0.25
LOOK_MOST_S: Final = 1.0
LIMIT: Final = 100
HORIZON_MS: Final = 60_000
"""Rows that come due within this long count as work left to do."""
RUNS: Final = Counter("jishi_job_runs_total", "Runs of jobs by outcome", ("service", "job", "outcome"))
_log = logs.get(__name__)


class LeaseLost(Exception):
    """The row belongs to another process now, or this one must give it up (it stops, or others have waited long enough)."""


class LeasedRun(JobRun):
    """One lease on one row.

    ``database``, ``row`` (as it was when claimed), ``now()``; ``guard`` goes into the condition of every write that only the holder
    of the lease may make: ``Change(guard=run.guard, …)``.
    """

    def __init__(
        self, database: Database, collection: str, row: Document, token: str, give_up: Callable[[], bool]
    ) -> None:
        """``give_up()`` says whether this run should end at its next step."""
        self.database, self.row = database, row
        self._rows, self._token, self._give_up = database[collection], token, give_up
        self._until = int(row["claimed_until"])

    @property
    def guard(self) -> Mapping[str, Any]:
        """What holds only while this run holds its lease."""
        return {"claim": self._token}

    def keep(self, *, yielding: bool = True) -> None:
        """Prolong the lease; call it between steps, each well below the lease (10 s). Raises LeaseLost: let it through.

        What is to be done is read from the database again by the next run, so a step is one that may be repeated. A run that has not
        got further yet than the one before (it still looks for its place in a long file) is not ``yielding``: it would never end.
        """
        if yielding and self._give_up():
            raise LeaseLost("given up")
        lease_ms = _lease_ms()
        now = clock.wall_ms()
        if self._until - now > lease_ms * 2 // 3:
            return
        until = now + lease_ms
        mine = {"_id": self.row["_id"], "claim": self._token}
        if not self._rows.update_one(mine, {"$set": {"claimed_until": until}}).matched_count:
            raise LeaseLost("another process has it")
        self._until = until

    def later(self, wait_ms: int) -> None:
        """Put the row off; it keeps its lease until the run returns."""
        mine = {"_id": self.row["_id"], **self.guard, "next_at": {"$gt": 0}}
        self._rows.update_one(mine, {"$set": {"next_at": clock.wall_ms() + wait_ms}})


class Jobs:
    """All jobs of one service in this process."""

    def __init__(self, service: str, database: Database, jobs: Sequence[Job], presence: Presence) -> None:
        """``process_jobs`` runs them."""
        self.service, self._database, self._jobs, self.presence = service, database, tuple(jobs), presence
        self.running: set[tuple[str, Any]] = set()

    def stand(self) -> None:
        """Make the rows of standing jobs that are not there yet."""
        for job in self._jobs:
            if job.standing:
                row = {"$setOnInsert": {"next_at": clock.wall_ms()}}
                with contextlib.suppress(DuplicateKeyError):  # another process was faster
                    self._database[job.collection].update_one({"_id": job.standing}, row, upsert=True)

    def claimable(self) -> list[tuple[Job, Document]]:
        """Rows that may be claimed now, those that have waited longest first. Reports the check ``jobs``."""
        began, offset = clock.wall_ms(), clock.offset_ms()
        found, pending = [], 0
        for job in self._jobs:
            query = {"next_at": {"$gt": 0, "$lte": began + HORIZON_MS}}
            fields = {"next_at": 1, "claimed_until": 1}
            rows = list(self._database[job.collection].find(query, fields).sort("next_at", 1).limit(LIMIT))
            pending += sum(row["_id"] != job.standing for row in rows)
            found += [
                (job, row)
                for row in rows
                if row["next_at"] <= began
                and row.get("claimed_until", 0) <= began
                and (job.collection, row["_id"]) not in self.running
            ]
        if pending:
            self.presence.stuck("jobs", f"{pending} to do")
        else:
            self.presence.clean("jobs", began, offset)
        return sorted(found, key=lambda pair: int(pair[1]["next_at"]))

    def claim(self, job: Job, seen: Document, give_up: Callable[[], bool]) -> LeasedRun | None:
        """Claim a row; None when another process was faster or the row is done."""
        now = clock.wall_ms()
        token = secrets.token_hex(8)
        free = {"_id": seen["_id"], "next_at": seen["next_at"], "claimed_until": seen.get("claimed_until")}
        lease = {"$set": {"claim": token, "claimed_until": now + _lease_ms()}}
        rows = self._database[job.collection]
        if not rows.update_one(free, lease).matched_count:
            return None
        row = rows.find_one({"_id": seen["_id"], "claim": token})
        return LeasedRun(self._database, job.collection, row, token, give_up) if row else None

    def run(self, job: Job, lease: LeasedRun) -> str:
        """One run under a lease; answers done, given_up or failed. Raises what ``is_away`` (the lease runs out by itself)."""
        identity = lease.row["_id"]
        with self.presence.working(), tracing.span(f"{self.service}.{job.name}"):
            try:
                job.run(lease)
            except LeaseLost as lost:
                _log.info("job given up", job=job.name, id=identity, why=str(lost))
                outcome = "given_up"
            except Exception as error:
                if is_away(error):
                    raise
                self._failed(job, lease, error)
                outcome = "failed"
            else:
                outcome = "done"
            if outcome != "failed":
                self._release(job, lease)
        RUNS.labels(self.service, job.name, outcome).inc()
        return outcome

    def _release(self, job: Job, lease: LeasedRun) -> None:
        """Give the row back. If it still wants work it goes behind those that wait."""
        rows, mine = self._database[job.collection], {"_id": lease.row["_id"], **lease.guard}
        now = clock.wall_ms()
        over = {"claim": "", "claimed_until": "", "job_failures": "", "job_error": ""}
        again = rows.update_one(
            {**mine, "next_at": {"$gt": 0, "$lte": now}}, {"$unset": over, "$set": {"next_at": now}}
        )
        if not again.matched_count:
            rows.update_one(mine, {"$unset": over})

    def _failed(self, job: Job, lease: LeasedRun, error: Exception) -> None:
        failures = int(lease.row.get("job_failures", 0)) + 1
        chassis, wall = policy.load("chassis"), clock.wall()
        first, most = chassis.value("job_backoff_first", wall), chassis.value("job_backoff_most", wall)
        pause = backoff.exponential(failures, first, most)
        _log.error(
            "job failed", job=job.name, id=lease.row["_id"], failures=failures, again_in_ms=pause, exc_info=error
        )
        told = {"job_failures": failures, "job_error": f"{type(error).__name__}: {error}"[:1000]}
        self._database[job.collection].update_one(
            {"_id": lease.row["_id"], **lease.guard},
            {"$set": {**told, "next_at": clock.wall_ms() + pause}, "$unset": {"claim": "", "claimed_until": ""}},
        )


class Crew:
    """The threads of a jobs process: each takes the row that has waited longest, of any service."""

    def __init__(self, jobs: Sequence[Jobs], threads: int) -> None:
        """``threads`` jobs run at once."""
        self._jobs, self._threads = tuple(jobs), threads
        self._stopping = threading.Event()
        self._free = threading.Semaphore(threads)
        self._waiting = 0
        self._wake = threading.Event()

    def stop(self) -> None:
        """Take nothing more; what runs is given up at its next step."""
        self._stopping.set()
        self._wake.set()

    def look(self) -> None:
        """Look for work now."""
        self._wake.set()

    def run(self) -> None:
        """Work until ``stop``; returns when the last run has ended."""
        idle = LOOK_EVERY_S
        while not self._stopping.is_set():
            self._wake.clear()
            started = self._start_what_waits()
            idle = LOOK_EVERY_S if started else min(idle * 2, LOOK_MOST_S)
            self._wake.wait(idle)
        for _ in range(self._threads):
            self._free.acquire()

    def _start_what_waits(self) -> int:
        """Start what can be started; answers how many."""
        wanted = []
        for jobs in self._jobs:
            try:
                wanted += [(jobs, job, row) for job, row in jobs.claimable()]
            except Exception as error:  # noqa: BLE001 - a loop must go on
                if not is_away(error):
                    _log.exception("jobs failed", service=jobs.service)
        wanted.sort(key=lambda found: int(found[2]["next_at"]))
        started = 0
        self._waiting = len(wanted)
        for jobs, job, row in wanted:
            if self._stopping.is_set() or not self._free.acquire(blocking=False):
                break
            self._waiting -= 1
            started += 1
            jobs.running.add((job.collection, row["_id"]))
            threading.Thread(target=self._run, args=(jobs, job, row), name=f"job-{job.name}", daemon=True).start()
        return started

    def _run(self, jobs: Jobs, job: Job, row: Document) -> None:
        began = clock.monotonic()
        turn = policy.load("chassis").span("job_turn", clock.wall()).total_seconds()

        def give_up() -> bool:
            return self._stopping.is_set() or (self._waiting > 0 and clock.monotonic() - began > turn)

        try:
            lease = jobs.claim(job, row, give_up)
            if lease is not None:
                jobs.run(job, lease)
        except Exception as error:  # noqa: BLE001 - the thread's last word
            if not is_away(error):
                _log.exception("job lost", job=job.name, id=row["_id"])
        finally:
            jobs.running.discard((job.collection, row["_id"]))
            self._free.release()
            if self._waiting:
                self._wake.set()


def main(settings: Settings, services: Sequence[str] | None, name: str) -> None:
    """Run the jobs of these services (None: of all that have some) until SIGTERM or SIGINT."""
    declared = {
        service: own for service, own in subscriptions.jobs().items() if services is None or service in services
    }
    run(settings, declared, name)


def run(settings: Settings, declared: Mapping[str, Sequence[Job]], name: str) -> None:
    """Run jobs (service → its jobs) until SIGTERM or SIGINT; leases are given back then."""
    logs.configure(settings, name, "jobs")
    tracing.configure(settings, name, "jobs")
    process = presence.process_name()
    client = mongo.connect(settings, pool=settings.jobs_threads + 4)
    shared = mongo.database(client, settings, "jishi")
    clock.follow(shared, process, "jobs")
    mongo.release_abandoned(client, settings)
    jobs = [
        Jobs(service, mongo.database(client, settings, service), own, Presence(service, process, "jobs"))
        for service, own in declared.items()
    ]
    for found in jobs:
        found.presence.settle_ms = presence.SETTLE_MEMORY_MS  # no message travels to a jobs process
    crew = Crew(jobs, settings.jobs_threads)
    signals.on_stop(crew.stop)
    for found in jobs:
        found.stand()
    ended = threading.Event()
    reporter = Reporter(client, shared, [found.presence for found in jobs], [crew.look])
    metrics.serve(settings, "jobs", ready=lambda: reporter.fresh)
    reporting = threading.Thread(target=reporter.run, args=(ended,), name="presence", daemon=True)
    reporting.start()
    _log.info("working", services=list(declared))
    crew.run()
    ended.set()
    reporting.join()
    client.close()
    _log.info("stopped")


def _lease_ms() -> int:
    return int(policy.load("chassis").span("job_lease", clock.wall()).total_seconds() * 1000)
