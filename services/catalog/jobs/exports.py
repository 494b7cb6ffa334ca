"""Running an export: one walk along the shop's products, kept part by part; a run that is killed is gone on with behind the last part.

Each part is one transaction that also moves the job on, under the lease. The parts of jishi-csv and jsonl are the file; those of a
workbook are its rows, from which it is put together at the end.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Final

from services.catalog.jobs.exporting.writing import Sheet, UnwritableError, part_writer
from services.catalog.model import exports
from services.catalog.model.imports import turn
from services.catalog.store import FIRST, SERVICE, Store
from services.catalog.store.files import BLOCK_BYTES, block_row, keep_block
from services.chassis import clock, ids, policy
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.gathering import keep_step, keep_whole, move
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun

AT_ONCE: Final = 200
PART_PRODUCTS: Final = 1_000
"""A part ends after so many products, or with the one that fills a block."""
Goods = Iterator[tuple[Document, Mapping[str, Document]]]
"""Products, each with the stock of its SKUs."""


def run(lease: JobRun) -> None:
    """Go on with the export in ``lease.row`` from wherever it is, until it is over. Raises LeaseLost."""
    store, job = Store(lease.database), lease.row
    most = policy.load(SERVICE).value("export_jobs", clock.business())
    if wait_ms := turn(store.older_jobs("exports", job), most):
        lease.later(wait_ms)
        return
    if job["state"] != "running":
        move(lease, store.exports, "begin", Change(set={"state": "running"}))
    kept = _gathered(lease, store, job)
    counts = {name: kept[name] for name in ("rows", "products")}
    try:
        if job["format"] == "xlsx":
            kept = _put_together(lease, store, kept)
    except UnwritableError as error:
        _end(lease, store, {"state": "failed", "reason": error.reason, "message": error.message})
        return
    file = {name: kept[name] for name in ("id", "blocks", "bytes")}
    _end(lease, store, {"state": "completed", "file": file, **counts})


# -------------------------------------------------------------------------------------------------------------------- parts


def _gathered(lease: JobRun, store: Store, job: Document) -> Document:
    """What is kept of the export when all products are: {id, blocks, bytes, place, rows, products}."""
    begun = dict.fromkeys(("blocks", "bytes", "rows", "products"), 0)
    kept: Document = job.get("gathered") or {"id": ids.new_id("file"), "place": FIRST, **begun}
    goods = _goods(store, store.products_in_order(job["shop_id"], job["product_state"], kept["place"]))
    advanced = False
    while True:
        lease.keep(yielding=advanced)
        part, after = _part(job["format"], store, goods, kept)
        if not part:
            return kept
        _keep_part(lease, store, part, kept["blocks"], after)
        kept, advanced = after, True


def _goods(store: Store, walk: Iterator[Document]) -> Goods:
    while batch := list(islice(walk, AT_ONCE)):
        stock = store.stock_of(batch)
        yield from ((product, stock) for product in batch)


def _part(file_format: str, store: Store, goods: Goods, kept: Document) -> tuple[bytes, Document]:
    """The next bytes of what is ``kept``, and what is kept with them. Nothing where nothing is left; the first part is there even so."""
    buffer, after = io.BytesIO(), dict(kept)
    with contextlib.closing(part_writer(file_format, buffer, store.tree(), begins=not kept["blocks"])) as out:
        for product, stock in islice(goods, PART_PRODUCTS):
            out.add(product, stock)
            after |= {"place": product["position"], "products": after["products"] + 1}
            if buffer.tell() >= BLOCK_BYTES:
                break
        out.finish()
        after["rows"] += out.rows
    part = buffer.getvalue()
    return part, {**after, "blocks": kept["blocks"] + 1, "bytes": kept["bytes"] + len(part)}


def _keep_part(lease: JobRun, store: Store, part: bytes, number: int, after: Document) -> None:
    job = store.exports.find_one({"_id": lease.row["_id"], **lease.guard})
    if job is None:
        lease.keep(yielding=False)
        raise Refusal("VERSION_CONFLICT", f"export {lease.row['_id']} is not there any more")
    moved = Change(set={"gathered": after}, guard=lease.guard)
    transaction = Transaction(store.client).insert(store.import_files, block_row(after["id"], number, part))
    transaction.change(store.exports, job, moved, Cause(f"job:{job['_id']}:part:{number}"))
    keep_step(lease, transaction)


# ----------------------------------------------------------------------------------------------------------------- workbook


def _put_together(lease: JobRun, store: Store, kept: Document) -> Document:
    """The workbook of the rows that were kept, as a file of its own: {id, blocks, bytes}. Raises UnwritableError."""
    with tempfile.TemporaryFile() as file:
        with contextlib.closing(Sheet(file)) as out:
            for part in store.file_blocks(kept["id"], kept["blocks"]):
                lease.keep(yielding=False)
                out.put(part)
            out.finish()
        file_id = ids.new_id("file")
        return {"id": file_id, **keep_whole(lease, file, partial(keep_block, store, file_id))}


def _end(lease: JobRun, store: Store, values: Document) -> None:
    over = (*exports.OVER, "gathered")
    move(lease, store.exports, "end", Change(set={**values, "end_time": clock.business()}, unset=over))
