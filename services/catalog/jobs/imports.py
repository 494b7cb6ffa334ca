"""Running an import: look through the file, compare or apply it chunk by chunk, end.

Every step is one transaction or one conditional write that also moves the job on, so a run that is killed anywhere is gone on with by
the next one: a chunk is there with its products, its results and the job's counters, or not at all. Writes carry the lease in their
guard; a run that lost it writes nothing more.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.laying import LaidFile, builder, packed
from services.catalog.jobs.importing.reading import open_file
from services.catalog.jobs.importing.text import UnreadableFileError
from services.catalog.jobs.importing.workbook import WorkbookLimits
from services.catalog.jobs.undoing import undo
from services.catalog.jobs.working import OverError, Work, progress
from services.catalog.model import imports
from services.catalog.model.categories import Tree
from services.catalog.model.chunks import Item, Known, Plan, RowProblem
from services.catalog.model.planning import Touched, plan, touched
from services.catalog.store import SERVICE, FileGoneError, Store, limits
from services.catalog.store.chunks import (
    Chunk,
    ChunkAppliedError,
    apply_chunk,
    failed_rows,
    planned,
    read_known,
    results_of,
)
from services.catalog.store.files import keep_block
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.reacting import JobRun

T = TypeVar("T")
_CHECKING: Final = frozenset({"queued", "validating"})


def run(lease: JobRun) -> None:
    """Go on with the import in ``lease.row`` from wherever it is, until it is over. Raises LeaseLost."""
    work = Work(lease, Store(lease.database), lease.row)
    try:
        work.job = work.current()
        if _waits_its_turn(work):
            return
        if work.job["kind"] == imports.UNDO:
            undo(work)
            return
        file = _open(work)
        if work.job["state"] in _CHECKING:
            _check(work, file)
        if work.job["state"] == "running":
            _apply(work, file)
    except OverError:
        return
    except UnreadableFileError as error:
        _fail(work, error.reason, error.message)
    except FileGoneError as error:
        _fail(work, "FILE_GONE", f"{error}; upload the file again")


def _waits_its_turn(work: Work) -> bool:
    """So many imports of a shop run at once, the oldest first; the others are looked at again later."""
    if work.job["state"] != "queued":
        return False
    most = policy.load(SERVICE).value("import_jobs", clock.business())
    wait_ms = imports.turn(work.store.older_jobs("imports", work.job), most)
    if wait_ms:
        work.run.later(wait_ms)
    return bool(wait_ms)


def _fail(work: Work, reason: str, message: str) -> None:
    try:
        work.end("failed", Change(set={"reason": reason, "message": message}))
    except OverError:
        return


def _open(work: Work) -> LaidFile:
    """The file laid out, which is done once; the job says how many rows and products it has, and how far it is."""
    if work.job["state"] == "queued":
        work.move("validating", Change(set={"state": "validating"}))
    retried = work.job["kind"] == imports.RETRY
    work.only = failed_rows(work.store, work.job["origin_import_id"]) if retried else None
    if "laid" not in work.job:
        _lay_out(work)
    laid = work.job["laid"]
    if not work.job["total"]:
        total = laid["products"] if work.only is None else len(work.only)
        work.move("counted", Change(set={"rows": laid["rows"], "total": total}))

    def blocks(number: int) -> Iterator[bytes]:
        for block in work.store.file_blocks(laid["id"], laid["blocks"], number):
            work.run.keep(yielding=work.advanced)
            yield block

    return LaidFile(blocks, builder(work.job["format"], laid["shape"]))


def _lay_out(work: Work) -> None:
    """Look through the file and keep its products in their order. A run that is killed leaves blocks that expire."""
    stored = work.job["file"]

    def keep() -> None:
        work.run.keep(yielding=False)

    def blocks() -> Iterator[bytes]:
        for block in work.store.file_blocks(stored["id"], stored["blocks"]):
            keep()
            yield block

    rules, now = policy.load(SERVICE), clock.business()
    most, workbook = rules.value("import_rows", now), WorkbookLimits(**rules.value("import_workbook", now))
    found = open_file(blocks, work.job["format"], most_rows=most, workbook=workbook, step=keep)
    laid_id, number = ids.new_id("file"), 0
    with contextlib.closing(found):
        for number, block in enumerate(packed(found), 1):
            keep()
            keep_block(work.store, laid_id, number - 1, block)
    laid = {"id": laid_id, "blocks": number, "shape": found.shape, "rows": found.rows, "products": found.products}
    work.move("laid", Change(set={"laid": laid}))


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk of the file: its items, built with the category tree as of its start, and the place behind it.

    ``plan``: what it comes to, where that could be told before the chunk before it was written.
    """

    number: int
    items: list[Item]
    tree: Tree
    behind: int
    plan: Plan | None = None


def _parts(work: Work, file: LaidFile, number: int, place: int) -> Iterator[_Part]:
    """The chunks from ``number`` on, which begins at ``place``."""
    size, tree = work.job["chunk"], work.store.tree()
    context = Context(work.job["currency"], tree, limits(clock.business()))
    chunks = file.chunks(context, products=size["products"], rows=size["rows"], place=place, only=work.only)
    for each in itertools.count(number):
        context.tree = tree = work.store.tree()
        found = next(chunks, None)
        if found is None:
            return
        yield _Part(each, found[0], tree, found[1])


def _planned(work: Work, parts: Iterator[_Part]) -> Iterator[_Part]:
    """The same with their plans, each made while the one before may not be written yet.

    One that meets what the one before touches is left to be planned when that is written; so is each of a job that stops after some
    failures, since how many are left depends on the one before. Whatever else a plan has read, its writes are guarded by.
    """
    job, before = work.job, Touched(frozenset(), True)
    for part in parts:
        made = None
        if imports.most_failed(job) is None and not before.meets(part.items, job["shop_id"]):
            made = planned(work.store, replace(work.shop(), retired=part.tree.retired), part.items)
        before = touched(part.items, job["shop_id"], made)
        yield replace(part, plan=made)


def _ahead(chunks: Iterator[T]) -> Generator[T, None, None]:
    """The same, each made by another thread while the one before is written: the database works meanwhile and needs no interpreter."""
    with ThreadPoolExecutor(1, "import-reader") as reader:
        coming = reader.submit(next, chunks, None)
        while (found := coming.result()) is not None:
            coming = reader.submit(next, chunks, None)
            yield found


# ------------------------------------------------------------------------------------------------------------------ checking


def _check(work: Work, file: LaidFile) -> None:
    """A dry run and reject_all compare every product before anything is written; others go straight on."""
    if work.job["dry_run"] or work.job["policy"] == "reject_all":
        for part in _parts(work, file, 0, 0):
            work.run.keep(yielding=work.advanced)
            work.tree = part.tree
            checked = _without_rivals(work, part.items)
            if part.number >= work.job["next_chunk"]:
                _compare(work, part.number, checked)
            if work.job["state"] not in _CHECKING:
                return
        change = imports.after_check(work.job)
        if change.set["state"] != "running":
            work.end(change.set["state"], change)
            return
    work.move("run", imports.start_running())


def _without_rivals(work: Work, items: list[Item]) -> list[Item]:
    """Nothing is written while checking, so two products of one file that want one merchant SKU must be told apart here."""
    out = []
    for item in items:
        rivals = [
            (place, sku, owner)
            for place, sku in enumerate(item.draft.skus if item.draft else ())
            if sku.merchant_sku
            and (owner := work.claims.setdefault(sku.merchant_sku, item.external_id)) != item.external_id
        ]
        problems = tuple(
            RowProblem(
                sku.row or item.row,
                item.code_field if sku.row else f"skus[{place}].merchant_sku",
                "MERCHANT_SKU_TAKEN",
                f"{sku.merchant_sku} stands on {owner} too; a merchant SKU is unique in its shop",
            )
            for place, sku, owner in rivals
        )
        out.append(Item(item.external_id, item.row, None, problems) if problems else item)
    return out


def _compare(work: Work, number: int, items: list[Item]) -> None:
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
    transaction.change(work.store.imports, job, progress(work, job, number, made), work.cause(number))
    with contextlib.suppress(Shortfall, Taken):  # a run whose answer was lost, or the merchant, moved the job on
        transaction.commit()
    work.job, work.advanced = work.current(), True


# ------------------------------------------------------------------------------------------------------------------ applying


def _apply(work: Work, file: LaidFile) -> None:
    """Apply what is not applied yet, then end."""
    parts = _planned(work, _parts(work, file, work.job["next_chunk"], work.job["place"]))
    with contextlib.closing(_ahead(parts)) as ready:
        for part in ready:
            work.run.keep(yielding=work.advanced)
            _apply_one(work, part)
    job = work.job
    if job["policy"] == "reject_all" and job["failed"]:
        message = "products changed between checking and applying; what could be applied was. Send the file again"
        work.end("failed", Change(set={"reason": "CHANGED_MEANWHILE", "message": message}))
        return
    work.complete()


def _apply_one(work: Work, part: _Part) -> None:
    number, work.tree = part.number, part.tree
    chunk = Chunk(imports.chunk_id(work.job["_id"], imports.RUN, number), work.job["_id"], number, work.cause(number))

    def count(transaction: Transaction, made: Plan) -> None:
        job = work.current()
        transaction.change(work.store.imports, job, progress(work, job, number, made, part.behind), chunk.cause)

    with contextlib.suppress(ChunkAppliedError):  # by a run whose answer was lost
        most = imports.most_failed(work.job)
        apply_chunk(work.store, work.shop(), part.items, chunk, most_failed=most, also=count, ahead=part.plan)
    work.job, work.advanced = work.current(), True
