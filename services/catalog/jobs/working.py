"""One run of one import job: reading it, moving it on under the lease, ending it."""

from dataclasses import dataclass, field

from services.catalog.model import imports
from services.catalog.model.categories import Tree
from services.catalog.model.chunks import Plan, Shop
from services.catalog.store import Store
from services.catalog.store.trees import shipped
from services.chassis import clock, commit
from services.chassis.commit import Cause
from services.chassis.decisions import Change, Fact
from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun


class OverError(Exception):
    """The job is not to be worked on any more: it was cancelled, or another process has it."""


@dataclass(slots=True)
class Work:
    """One run of one job."""

    run: JobRun
    store: Store
    job: Document
    advanced: bool = False
    """Whether this run got further than the one before: only then it gives way to other jobs."""
    tree: Tree = field(default_factory=shipped)
    """The category tree as of the start of the chunk at hand."""
    claims: dict[str, str] = field(default_factory=dict)
    """While checking: merchant SKU → external_id of the product of this file that wants it."""
    only: frozenset[int] | None = None
    """Of a retry: the rows where the products begin that are to be gone through."""

    def current(self) -> Document:
        """The job as it is now. Raises OverError."""
        job = self.store.imports.find_one({"_id": self.job["_id"], **self.run.guard})
        if job is None or job["state"] not in imports.WORKING:
            raise OverError
        return job

    def move(self, step: str, change: Change) -> None:
        """One conditional write onto the job under the lease. Raises OverError."""

        def decide(job: Document) -> Change:
            if job["state"] not in imports.WORKING:
                raise OverError
            return Change(set=change.set, unset=change.unset, facts=change.facts, guard=self.run.guard)

        try:
            cause = Cause(f"job:{self.job['_id']}:{step}")
            self.job = commit.change(self.store.imports, self.job["_id"], cause, decide).document
        except Refusal as refusal:
            raise OverError from refusal

    def end(self, state: str, change: Change) -> None:
        """The job is over."""
        values = {**change.set, "state": state, "end_time": clock.business()}
        self.move("end", Change(set=values, unset=imports.OVER, facts=change.facts))

    def cause(self, number: int) -> Cause:
        """Why chunk ``number`` of the phase is written."""
        return Cause(f"job:{imports.chunk_id(self.job['_id'], self.job['phase'], number)}")

    def shop(self) -> Shop:
        """For whom."""
        return Shop(self.job["shop_id"], self.job["currency"], clock.business(), self.tree.retired)

    def complete(self) -> None:
        """All of it was gone through."""
        counts = {name: self.job[name] for name in ("total", "created", "updated", "unchanged", "failed")}
        told = {"import_id": self.job["_id"], "shop_id": self.job["shop_id"], **counts, "end_time": clock.business()}
        self.end("completed", Change(facts=(Fact("jishi.catalog.import.completed.v1", told),)))


def progress(work: Work, job: Document, number: int, made: Plan, place: int = 0) -> Change:
    """What chunk ``number`` does to the job, under the lease. ``place``: where the next one begins in the file."""
    change = imports.progress(job, number, made.counts(), place)
    ended = {"end_time": clock.business()} if change.unset else {}
    return Change(set={**change.set, **ended}, unset=change.unset, guard=work.run.guard)
