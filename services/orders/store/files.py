"""Exports, and the blocks of their files."""

from typing import Final

from services.chassis import clock, policy
from services.chassis.mongo import Database, Document

FIRST: Final = "!"
"""Before every position: the embedded database finds nothing above an empty string on a descending index."""


class FileGoneError(LookupError):
    """The file is not kept any more."""


class Files:
    """Export jobs of shops, and what they wrote."""

    def __init__(self, database: Database) -> None:
        """Over orders' database."""
        self.exports, self.blocks = database["exports"], database["export_blocks"]

    def export(self, export_id: str) -> Document | None:
        """One export."""
        return self.exports.find_one({"_id": export_id})

    def page(self, shop_id: str, before: str, most: int) -> list[Document]:
        """Up to ``most`` exports of a shop with positions below ``before``, newest first."""
        query = {"shop_id": shop_id, "position": {"$gt": FIRST, "$lt": before}}
        return list(self.exports.find(query, {"applied": 0}).sort("position", -1).limit(most))

    def older(self, job: Document) -> int:
        """How many exports of the same shop that are to be worked on came before ``job``."""
        found = self.exports.find({"working_for": job["shop_id"]}, {"position": 1})
        return sum(row["position"] < job["position"] for row in found)

    def block(self, file_id: str, number: int) -> bytes:
        """One block of a file. Raises FileGoneError."""
        row = self.blocks.find_one({"_id": f"{file_id}:{number}"})
        if row is None:
            raise FileGoneError(file_id)
        return bytes(row["data"])

    def new_block(self, file_id: str, number: int, data: bytes) -> Document:
        """A block as it is inserted, kept as long as files are."""
        expires = clock.wall() + policy.load("orders").span("export_file_kept", clock.business())
        return {"_id": f"{file_id}:{number}", "data": data, "expire_at": expires}
