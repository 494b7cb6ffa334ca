"""All services in one process, with a director who decides who acts next: which event arrives where, which person does their next step.

The commands are called directly; events go through the real outboxes, relays and intakes (``once``), jobs are run by hand. What is played
is only the channel, which says yes. With a seed every event is delivered twice and anything may overtake anything; without one all happens
in order and once.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from services.catalog.jobs import JOBS
from services.chassis import bell, clock
from services.chassis.commit import Cause
from services.chassis.jobs import Jobs
from services.chassis.mongo import Client
from services.chassis.once import Result
from services.chassis.presence import Presence
from services.chassis.relay import Outgoing
from services.chassis.settings import SERVICES, Settings
from services.payments import jobs as payment_jobs
from tests.contract.audit.house import House

LINGERS = 0.7
HELD_BACK = 1.0
Errand = Iterator[Callable[[], Any] | None]
"""What a person does: between two steps it yields what must be true first (None: nothing)."""


class StuckError(RuntimeError):
    """Nobody can do anything, and the play is not over."""


class Theatre(House):
    """One installation, emptied between two plays."""

    def __init__(self, client: Client, settings: Settings) -> None:
        super().__init__(client, settings)
        self._errand, self._steps = "", itertools.count(1)
        self.rung: list[str] = []
        self._import_jobs = Jobs("catalog", self.database("catalog"), JOBS, Presence("catalog", "tests", "jobs"))
        bell.on_ring(self._ring)

    # ------------------------------------------------------------------------------------------------------ House's own ways

    def cause(self) -> Cause:
        """Causes are named by the errand and its step, not by the order in which things happen."""
        self._causes += 1  # payments are numbered by it
        name = f"{self._errand}:{next(self._steps)}"
        return Cause(f"cmd:test:{name}", name)

    def settle(self) -> None:
        """The director decides when others act."""

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """The broker takes everything; each copy arrives when it arrives."""
        for one in batch:
            body = json.dumps(one.envelope).encode()
            listeners = [found for found in self._subscriptions if found.handler.event_type == one.envelope["type"]]
            self.pending += [(self._lot(), found, body, self.copies) for found in listeners]

    def _ring(self, name: str) -> None:
        if name not in self.rung:
            self.rung.append(name)

    # ------------------------------------------------------------------------------------------------------------ the play

    def empty(self) -> None:
        """Forget everything: another play begins."""
        for service in (*SERVICES, "jishi"):
            database = self.database(service)
            for name in database.list_collection_names():
                if name != "system.indexes":
                    database[name].delete_many({})
        clock.reset()
        clock.see(clock.open_sandbox(self.database("jishi")))
        self.rung.clear()
        self.goods: dict[str, tuple[str, str]] = {}

    def play(self, errands: Mapping[str, Callable[["Theatre"], Errand]], rng: random.Random | None) -> None:
        """All errands to their end, then until nothing is left to do; half an hour later once more."""
        self.rng, self.copies = rng, 2 if rng else 1
        self.pending: list[tuple[float, Any, bytes, int]] = []
        """(lot, subscription, body, copies left): the lowest lot goes first, so that who drew a high one is overtaken by many."""
        self.results: list[Result] = []
        waiting: dict[str, tuple[Errand, Any, Any]] = {
            name: (make(self), None, itertools.count(1)) for name, make in errands.items()
        }
        while waiting:
            self._turn(waiting)
        self._until_over()
        clock.see(clock.offset_ms() + int(timedelta(minutes=32).total_seconds() * 1000))
        self.database("jishi")["clock"].update_one({"_id": "sandbox"}, {"$set": {"offset_ms": clock.offset_ms()}})
        self._until_over()

    def _turn(self, waiting: dict[str, tuple[Errand, Any, Any]]) -> None:
        """One thing happens."""
        if self.rng is None:
            acts = [self._relay, self._deliver, self._work, lambda: self._step(waiting), self._time_passes]
        else:
            acts = [self._relay, self._deliver, lambda: self._step(waiting, 2), self._retry]
            self.rng.shuffle(acts)
            acts += [lambda: self._step(waiting), self._work, lambda: self._deliver(late=True), self._time_passes]
        if not any(act() for act in acts):
            raise StuckError(f"{sorted(waiting)} wait for ever; {self._waiting_rows()}")

    def _until_over(self) -> None:
        while (
            self._relay()
            or self._deliver(late=True)
            or self._fire()
            or self._work()
            or self._sweep_outboxes()
            or self._time_passes()
        ):
            pass

    def _pick(self, choices: list[Any]) -> Any:
        return choices.pop(self.rng.randrange(len(choices)) if self.rng else 0)

    def _relay(self) -> bool:
        """One collection's outboxes go to the broker; mostly a little later, several commits at once."""
        if not self.rung or (self.rng and self.pending and self.rng.random() < LINGERS):
            return False
        database, _, collection = self._pick(self.rung).partition(".")
        self._relays[database.removeprefix(self.settings.db_prefix)].sweep(collection)
        return True

    def _sweep_outboxes(self) -> bool:
        """Everybody's, rung or not."""
        emitting = [
            (name, found.name) for name, worker in self.workers.items() for found in worker.collections if found.emits
        ]
        return sum(self._relays[name].sweep(collection) for name, collection in emitting) > 0

    def _deliver(self, *, late: bool = False) -> bool:
        """One copy of one event arrives at one handler; ``late``: also one that is held back until nobody can do anything else."""
        if not self.pending:
            return False
        chosen = min(range(len(self.pending)), key=lambda number: self.pending[number][0]) if self.rng else 0
        if self.pending[chosen][0] >= HELD_BACK and not late:
            return False
        _, found, body, copies = self.pending.pop(chosen)
        self.results.append(self._intakes[found.service].receive(found.handler.name, body))
        if copies > 1:
            self.pending.append((self._lot(), found, body, copies - 1))
        return True

    def _lot(self) -> float:
        return self.rng.random() * 1.3 if self.rng else 0.0

    def _step(self, waiting: dict[str, tuple[Errand, Any, Any]], most: int = 1000) -> bool:
        """One person does the next step, if what they wait for is there; at most so many are asked."""
        names = list(waiting)
        while names and most:
            most -= 1
            name = self._pick(names)
            errand, ready, steps = waiting[name]
            if ready is not None and not ready():
                continue
            self._errand, self._steps = name, steps
            try:
                waiting[name] = (errand, next(errand), steps)
            except StopIteration:
                del waiting[name]
            return True
        return False

    def _retry(self) -> bool:
        """Those that were early for something that has come are tried again."""
        woken = [intake for intake in self._intakes.values() if intake.wake.is_set()]
        for intake in woken:
            intake.wake.clear()
            intake.sweep()
        return bool(woken)

    def _time_passes(self) -> bool:
        """Whatever waits for its time is tried again."""
        again = False
        for service, intake in self._intakes.items():
            rows = self.database(service)["handled"]
            if rows.find_one({"state": "waiting"}) is None:
                continue
            rows.update_many({"state": "waiting"}, {"$set": {"next_at": clock.wall_ms()}})
            before = rows.count_documents({"state": "waiting"})
            intake.sweep()
            again = again or rows.count_documents({"state": "waiting"}) < before
        return again or self._sweep_outboxes()

    def _fire(self) -> bool:
        return sum(timers.sweep() for timers in self._timers.values()) > 0

    def _work(self) -> bool:
        """What the jobs process does: refunds, folding, questions to the channel, imports."""
        worked = super()._worked() > 0
        for row in self.payments.payables.find({"next_at": {"$gt": 0, "$lt": 1 << 62}}):
            payment_jobs.inquire(self.payments, self.channel, row, lambda: None)
            worked = True
        for job, row in self._import_jobs.claimable():
            lease = self._import_jobs.claim(job, row, lambda: False)
            worked = lease is not None and self._import_jobs.run(job, lease) == "done"
        return worked

    def _waiting_rows(self) -> list[str]:
        return [
            f"{row['_id']} {row.get('error', 'early')}"
            for service in self._intakes
            for row in self.database(service)["handled"].find({"state": {"$ne": "done"}})
        ]

    def untroubled(self) -> None:
        """Nothing failed, waits or was given up on the way."""
        rows = self._waiting_rows()
        failed = [
            row["_id"] for s in self._intakes for row in self.database(s)["handled"].find({"attempts": {"$gt": 0}})
        ]
        assert not rows, rows
        assert not failed, failed

    def close(self) -> None:
        """Hear no bell any more."""
        bell._listeners.remove(self._ring)
