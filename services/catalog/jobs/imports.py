"""Running an import: look through the file, compare or apply it chunk by chunk, end.

Every step is one transaction or one conditional write that also moves the job on, so a run that is killed anywhere is gone on with by
the next one: a chunk is there with its products, its results and the job's counters, or not at all. Writes carry the lease in their
guard; a run that lost it writes nothing more.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.reading import ProductFile, open_file
from services.catalog.jobs.importing.text import UnreadableFileError
from services.catalog.model import imports
from services.catalog.model.chunks import Item, Known, Plan, RowProblem, Shop, plan
from services.catalog.store import SERVICE, FileGoneError, Store, limits, tree
from services.catalog.store.chunks import Chunk, ChunkAppliedError, apply_chunk, read_known, results_of
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change, Fact
from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun

_CHECKING: Final = frozenset({"queued", "validating"})


class _OverError(Exception):
    """The job is not to be worked on any more: it was cancelled, or another process has it."""


@dataclass(slots=True)
class _Work:
    """One run of one job."""

    run: JobRun
    store: Store
    job: Document
    advanced: bool = False
    """Whether this run got further than the one before: only then it gives way to other jobs."""
    claims: dict[str, str] = field(default_factory=dict)
    """While checking: merchant SKU → external_id of the product of this file that wants it."""

    def current(self) -> Document:
        """The job as it is now. Raises _OverError."""
        job = self.store.imports.find_one({"_id": self.job["_id"], **self.run.guard})
        if job is None or job["state"] not in imports.WORKING:
            raise _OverError
        return job

    def move(self, step: str, change: Change) -> None:
        """One conditional write onto the job under the lease. Raises _OverError."""

        def decide(job: Document) -> Change:
            if job["state"] not in imports.WORKING:
                raise _OverError
            return Change(set=change.set, unset=change.unset, facts=change.facts, guard=self.run.guard)

        try:
            cause = Cause(f"job:{self.job['_id']}:{step}")
            self.job = commit.change(self.store.imports, self.job["_id"], cause, decide).document
        except Refusal as refusal:
            raise _OverError from refusal

    def end(self, state: str, change: Change) -> None:
        """The job is over."""
        values = {**change.set, "state": state, "end_time": clock.business()}
        self.move("end", Change(set=values, unset=("next_at",), facts=change.facts))

    def cause(self, number: int) -> Cause:
        """Why chunk ``number`` of the phase is written."""
        return Cause(f"job:{imports.chunk_id(self.job['_id'], self.job['phase'], number)}")

    def shop(self) -> Shop:
        """For whom."""
        return Shop(self.job["shop_id"], self.job["currency"], clock.business())


def run(lease: JobRun) -> None:
    """Go on with the import in ``lease.row`` from wherever it is, until it is over. Raises LeaseLost."""
    work = _Work(lease, Store(lease.database), lease.row)
    try:
        work.job = work.current()
        file = _open(work)
        if work.job["state"] in _CHECKING:
            _check(work, file)
        if work.job["state"] == "running":
            _apply(work, file)
    except _OverError:
        return
    except UnreadableFileError as error:
        _fail(work, error.reason, error.message)
    except FileGoneError as error:
        _fail(work, "FILE_GONE", f"{error}; upload the file again")


def _fail(work: _Work, reason: str, message: str) -> None:
    try:
        work.end("failed", Change(set={"reason": reason, "message": message}))
    except _OverError:
        return


def _open(work: _Work) -> ProductFile:
    """The file, looked through once; the job says how many rows and products it has."""
    stored = work.job["file"]

    def blocks() -> Iterator[bytes]:
        for block in work.store.file_blocks(stored["id"], stored["blocks"]):
            work.run.keep(yielding=work.advanced)
            yield block

    if work.job["state"] == "queued":
        work.move("validating", Change(set={"state": "validating"}))
    most = policy.load(SERVICE).value("import_rows", clock.business())
    found = open_file(blocks, work.job["format"], most_rows=most)
    if not work.job["total"]:
        work.move("counted", Change(set={"rows": found.rows, "total": found.products}))
    return found


def _chunks(work: _Work, file: ProductFile, skip: int) -> Iterator[tuple[int, list[Item]]]:
    context = Context(work.job["currency"], tree(), limits(clock.business()))
    size = work.job["chunk"]
    return enumerate(file.chunks(context, products=size["products"], rows=size["rows"], skip=skip), start=skip)


# ------------------------------------------------------------------------------------------------------------------ checking


def _check(work: _Work, file: ProductFile) -> None:
    """A dry run and reject_all compare every product before anything is written; others go straight on."""
    if work.job["dry_run"] or work.job["policy"] == "reject_all":
        for number, items in _chunks(work, file, 0):
            work.run.keep(yielding=work.advanced)
            checked = _without_rivals(work, items)
            if number >= work.job["next_chunk"]:
                _compare(work, number, checked)
            if work.job["state"] not in _CHECKING:
                return
        change = imports.after_check(work.job)
        if change.set["state"] != "running":
            work.end(change.set["state"], change)
            return
    work.move("run", imports.start_running())


def _without_rivals(work: _Work, items: list[Item]) -> list[Item]:
    """Nothing is written while checking, so two products of one file that want one merchant SKU must be told apart here."""
    out = []
    for item in items:
        rivals = [
            (sku, owner)
            for sku in (item.draft.skus if item.draft else ())
            if sku.merchant_sku
            and (owner := work.claims.setdefault(sku.merchant_sku, item.external_id)) != item.external_id
        ]
        problems = tuple(
            RowProblem(
                sku.row,
                item.code_field,
                "MERCHANT_SKU_TAKEN",
                f"{sku.merchant_sku} stands on {owner} too; a merchant SKU is unique in its shop",
            )
            for sku, owner in rivals
        )
        out.append(Item(item.external_id, item.row, None, problems) if problems else item)
    return out


def _compare(work: _Work, number: int, items: list[Item]) -> None:
    """Write what chunk ``number`` would come to, and how far the check is."""
    job = work.current()
    known: Known = read_known(work.store, job["shop_id"], items)
    made = plan(items, known, work.shop(), ids.product_id, most_failed=imports.most_failed(job))
    row = {
        "_id": imports.chunk_id(job["_id"], job["phase"], number),
        "import_id": job["_id"],
        "shop_id": job["shop_id"],
        "number": number,
        **made.counts(),
        "results": [
            {**result, "product_id": "" if result["outcome"] == "created" else result["product_id"]}
            for result in results_of(made)
        ],
        "movements": [],
        "counted": True,
    }
    transaction = Transaction(work.store.client).insert(
        work.store.chunks, commit.prepare(work.store.chunks, row, work.cause(number))
    )
    transaction.change(work.store.imports, job, _progress(work, job, number, made), work.cause(number))
    with contextlib.suppress(Shortfall, Taken):  # a run whose answer was lost, or the merchant, moved the job on
        transaction.commit()
    work.job, work.advanced = work.current(), True


def _progress(work: _Work, job: Document, number: int, made: Plan) -> Change:
    change = imports.progress(job, number, made.counts())
    ended = {"end_time": clock.business()} if change.unset else {}
    return Change(set={**change.set, **ended}, unset=change.unset, guard=work.run.guard)


# ------------------------------------------------------------------------------------------------------------------ applying


def _apply(work: _Work, file: ProductFile) -> None:
    """Apply what is not applied yet, then end."""
    for number, items in _chunks(work, file, work.job["next_chunk"]):
        work.run.keep(yielding=work.advanced)
        _apply_one(work, number, items)
    job = work.job
    if job["policy"] == "reject_all" and job["failed"]:
        message = "products changed between checking and applying; what could be applied was. Send the file again"
        work.end("failed", Change(set={"reason": "CHANGED_MEANWHILE", "message": message}))
        return
    counts = {name: job[name] for name in ("total", "created", "updated", "unchanged", "failed")}
    told = {"import_id": job["_id"], "shop_id": job["shop_id"], **counts, "end_time": clock.business()}
    work.end("completed", Change(facts=(Fact("jishi.catalog.import.completed.v1", told),)))


def _apply_one(work: _Work, number: int, items: list[Item]) -> None:
    chunk = Chunk(imports.chunk_id(work.job["_id"], imports.RUN, number), work.job["_id"], number, work.cause(number))

    def count(transaction: Transaction, made: Plan) -> None:
        job = work.current()
        transaction.change(work.store.imports, job, _progress(work, job, number, made), chunk.cause)

    with contextlib.suppress(ChunkAppliedError):  # by a run whose answer was lost
        apply_chunk(work.store, work.shop(), items, chunk, most_failed=imports.most_failed(work.job), also=count)
    work.job, work.advanced = work.current(), True
