"""Blocks of files: uploads, and exports to be fetched."""

from typing import Final

from services.catalog.store import SERVICE, Store
from services.chassis import clock, policy
from services.chassis.commit import Transaction
from services.chassis.mongo import Document

BLOCK_BYTES: Final = 2**20


def keep_block(store: Store, file_id: str, number: int, block: bytes) -> None:
    """Keep one block for as long as files are kept."""
    Transaction(store.client).insert(store.import_files, block_row(file_id, number, block)).commit()


def block_row(file_id: str, number: int, block: bytes) -> Document:
    """The row of one block that is kept so long."""
    expires = clock.wall() + policy.load(SERVICE).span("import_file_kept", clock.business())
    return {"_id": f"{file_id}:{number}", "data": block, "expire_at": expires}
