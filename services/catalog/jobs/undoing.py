"""Undoing an import: chunk by chunk from the last to the first, each in one transaction that also moves the job on."""

import contextlib

from services.catalog.jobs.working import Work, progress
from services.catalog.model import imports
from services.catalog.model.chunks import Plan
from services.catalog.store.chunks import Chunk, ChunkAppliedError
from services.catalog.store.undoing import undo_chunk
from services.chassis.commit import Transaction
from services.chassis.decisions import Change


def undo(work: Work) -> None:
    """Go on from wherever it is, until it is over. Raises OverError, LeaseLost."""
    origin_id = work.job["origin_import_id"]
    origin = work.store.imports.find_one({"_id": origin_id})
    if origin is None:
        work.end("failed", Change(set={"reason": "ORIGIN_GONE", "message": f"import {origin_id} is not there"}))
        return
    if work.job["state"] == "queued":
        work.move("undoing", imports.start_undo(origin))
    for number in range(work.job["next_chunk"], origin["next_chunk"]):
        work.run.keep(yielding=work.advanced)
        _undo_one(work, number, imports.chunk_id(origin_id, imports.RUN, origin["next_chunk"] - 1 - number))
    work.complete()


def _undo_one(work: Work, number: int, undone: str) -> None:
    job = work.job
    chunk = Chunk(imports.chunk_id(job["_id"], imports.RUN, number), job["_id"], number, work.cause(number))

    def count(transaction: Transaction, made: Plan) -> None:
        now = work.current()
        transaction.change(work.store.imports, now, progress(work, now, number, made), chunk.cause)

    with contextlib.suppress(ChunkAppliedError):  # by a run whose answer was lost
        undo_chunk(work.store, work.shop(), (job["origin_import_id"], undone), chunk, count)
    work.job, work.advanced = work.current(), True
