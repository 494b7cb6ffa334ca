"""Running an export: one walk along the shop's orders, the newest first, some hundred at a time.

Each step is one transaction: the rows of so many orders as a block, and how far the walk came. A run that is killed loses one step, and the
next goes on behind the last. A CSV file is its blocks; a workbook is one archive, so its rows are gathered in the same way and then written in
one go, which alone begins anew.
"""

import csv
import io
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any, Final

import orjson
import xlsxwriter

from services.chassis import clock, ids, policy
from services.chassis.cells import safe
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change
from services.chassis.gathering import SHEET_ROWS, keep_step, keep_whole, move
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.orders.model import exports, search
from services.orders.store import END, Store, first_serial

AT_ONCE: Final = 500
WAIT_MS: Final = 1_000
LONGEST_PAYMENT: Final = timedelta(days=2)
"""Above any time that an order was ever given to be paid."""


def run(lease: JobRun) -> None:
    """Go on with the export in ``lease.row``. Raises LeaseLost."""
    store, job = Store(lease.database), lease.row
    if store.files.older(job) >= policy.load("orders").value("export_jobs", clock.business()):
        lease.later(WAIT_MS)
        return
    while not job.get("gathered"):
        lease.keep()
        job = _step(lease, store, job)
    if job["format"] == "csv":
        _end(lease, store, {"file": {"id": job["_id"], "blocks": job["parts"], "bytes": job["bytes"]}})
    elif job["rows"] >= SHEET_ROWS:
        told = f"a sheet has at most {SHEET_ROWS} rows; export csv, or fewer orders by their time"
        _end(lease, store, {"reason": "TOO_MANY_ROWS", "message": told}, state="failed")
    else:
        _end(lease, store, {"file": _workbook(lease, store, job)})


def _step(lease: JobRun, store: Store, job: Document) -> Document:
    """The next orders, as one block; the job as it is then."""
    wanted = search.plan(
        job["filters"], {"shop_id": job["shop_id"]}, LONGEST_PAYMENT, job["created_at"], by_change=False
    )
    low = first_serial(wanted.low) if wanted.low else 0
    high = min(
        first_serial(wanted.high) if wanted.high else END, first_serial(job["created_at"] + timedelta(milliseconds=1))
    )
    before, span = job.get("cursor", (high, None))
    walked = store.lists.newest(wanted, low, before, AT_ONCE, span)
    full = len(walked.rows) == AT_ONCE
    edge = walked.rows[-1]["serial"] if full else walked.edge
    rows = [row for order in walked.rows for row in exports.rows(order)]
    data = _block(job["format"], rows, first=job["parts"] == 0)
    change = Change(
        set={
            "state": "running",
            "cursor": [edge, min(walked.span, END)],
            "orders": job["orders"] + len(walked.rows),
            "rows": job["rows"] + len(rows),
            "parts": job["parts"] + bool(data),
            "bytes": job.get("bytes", 0) + len(data),
            "gathered": not full and walked.edge <= low,
        },
        guard=lease.guard,
    )
    block = store.files.new_block(job["_id"], job["parts"], data)
    cause = Cause(f"job:{job['_id']}:{edge}")
    transaction = Transaction(store.database.client).change(store.files.exports, job, change, cause)
    keep_step(lease, transaction.insert(store.files.blocks, block) if data else transaction)
    found = store.files.export(job["_id"])
    assert found is not None  # noqa: S101 - it was written just now
    return found


def _block(file_format: str, rows: list[list[exports.Cell]], *, first: bool) -> bytes:
    """Rows as they are kept: of CSV the text itself, its header in the first block, else a JSON list a line."""
    if file_format != "csv":
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    if first:
        text.write("\ufeff")  # spreadsheet programs need to see it
        lines.writerow(exports.COLUMNS)
    for row in rows:
        lines.writerow([_text(name, cell) for name, cell in zip(exports.COLUMNS, row, strict=True)])
    return text.getvalue().encode()


def _text(column: str, cell: exports.Cell) -> str:
    if column in exports.MONEY:
        return f"{int(cell) // 100}.{int(cell) % 100:02d}"
    return str(cell) if column in exports.NUMBERS else safe(str(cell))


# ------------------------------------------------------------------------------------------------------------------ workbooks


def _workbook(lease: JobRun, store: Store, job: Document) -> Document:
    """The gathered rows as one archive, kept block by block under an id of its own; what a killed run kept runs out."""
    file_id = ids.new_id("file")

    def keep(number: int, data: bytes) -> None:
        block = store.files.new_block(file_id, number, data)
        Transaction(store.database.client).insert(store.files.blocks, block).commit()

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile(dir=folder) as file:
        _write(lease, store, job, file, folder)
        return {"id": file_id, **keep_whole(lease, file, keep)}


def _write(lease: JobRun, store: Store, job: Document, file: IO[bytes], folder: str) -> None:
    """Every text is a text (no formulas, no links), every number a number."""
    with xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": folder}) as book:
        sheet: Any = book.add_worksheet("orders")
        money = book.add_format({"num_format": "0.00"})
        sheet.freeze_panes(1, 0)
        for place, column in enumerate(exports.COLUMNS):
            sheet.write_string(0, place, column)
        for number, row in enumerate(_gathered(lease, store, job), start=1):
            for place, (column, cell) in enumerate(zip(exports.COLUMNS, row, strict=True)):
                if column in exports.MONEY:
                    sheet.write_number(
                        number, place, int(cell) / 100, money
                    )  # a cell is a double; fen are exact up to 2^53
                elif column in exports.NUMBERS:
                    sheet.write_number(number, place, int(cell))
                elif cell:
                    sheet.write_string(number, place, safe(str(cell)))


def _gathered(lease: JobRun, store: Store, job: Document) -> Iterator[list[exports.Cell]]:
    for number in range(job["parts"]):
        lease.keep(yielding=False)
        for line in store.files.block(job["_id"], number).splitlines():
            yield orjson.loads(line)


def _end(lease: JobRun, store: Store, values: Document, *, state: str = "completed") -> None:
    ended = {**values, "state": state, "end_time": clock.business()}
    move(lease, store.files.exports, "end", Change(set=ended, unset=exports.OVER))
