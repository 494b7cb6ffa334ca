"""Files that a job makes: gathered step by step under a lease, then kept as one.

Each step is one transaction of a block and of how far the walk came, so that a run that is killed loses one step and the next goes on behind
the last. A workbook is one archive: its rows are gathered the same way, and it is put together from them in one go, which alone begins anew.
"""

from collections.abc import Callable
from typing import IO, Final

from pymongo.collection import Collection

from services.chassis import commit
from services.chassis.commit import Cause, Shortfall, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun

BLOCK_BYTES: Final = 2**20
"""A file is kept in blocks of at most so many bytes."""
SHEET_ROWS: Final = 1_048_576
"""What a spreadsheet program can hold."""
Keep = Callable[[int, bytes], None]
"""``keep(number, data)``: write one block of a file."""


def keep_step(lease: JobRun, transaction: Transaction) -> None:
    """Write one step of a run. Raises LeaseLost where another process has it, else Shortfall."""
    try:
        transaction.commit()
    except Shortfall:
        lease.keep(yielding=False)  # says so, when the lease is lost
        raise


def move(lease: JobRun, rows: Collection[Document], step: str, change: Change) -> None:
    """One conditional write of the job's own row, which only the holder of the lease may make. Raises LeaseLost, Refusal."""
    wanted = Change(set=change.set, unset=change.unset, guard=lease.guard)
    cause = Cause(f"job:{lease.row['_id']}:{step}")
    try:
        commit.change(rows, lease.row["_id"], cause, lambda _job: wanted)
    except Refusal:
        lease.keep(yielding=False)  # says so, when the lease is lost
        raise


def keep_whole(lease: JobRun, file: IO[bytes], keep: Keep) -> dict[str, int]:
    """A whole file, from its beginning, block by block: {blocks, bytes}. Raises LeaseLost: what was kept until then runs out."""
    blocks = size = 0
    file.seek(0)
    while data := file.read(BLOCK_BYTES):
        lease.keep(yielding=False)
        keep(blocks, data)
        blocks, size = blocks + 1, size + len(data)
    return {"blocks": blocks, "bytes": size}
