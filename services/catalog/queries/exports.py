"""Questions about exports."""

from services.catalog.model import exports
from services.catalog.queries import views
from services.catalog.store import FileGoneError, Store
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document


def job(store: Store, shop_id: str, export_id: str) -> Document:
    """The export, if it is the shop's. Raises Refusal NOT_FOUND."""
    return views.export(_own(store, shop_id, export_id))


def jobs(store: Store, shop_id: str, before: str | None, size: int) -> tuple[list[Document], str | None]:
    """The shop's exports newest first, and the position after which the next page begins."""
    rows = store.page("exports", shop_id, before, size + 1)
    shown = rows[:size]
    return [views.export(row) for row in shown], shown[-1]["position"] if len(rows) > size else None


def piece(store: Store, shop_id: str, export_id: str, number: int) -> tuple[bytes, int | None, Document]:
    """Block ``number`` of the file, the number of the next if there is one, and the file's content_type and file_name.

    Raises Refusal NOT_FOUND, WRONG_STATE before there is a file, CONDITION_UNMET when it is not kept any more.
    """
    row = _own(store, shop_id, export_id)
    exports.check_ready(row)
    file = row["file"]
    extension, media_type = exports.FORMATS[row["format"]]
    told = {"content_type": media_type, "file_name": f"{export_id}.{extension}"}
    if number >= file["blocks"]:
        return b"", None, told
    try:
        block = store.file_block(file["id"], number)
    except FileGoneError as error:
        raise Refusal("CONDITION_UNMET", f"the file of {export_id} is not kept any more; export again") from error
    return block, number + 1 if number + 1 < file["blocks"] else None, told


def _own(store: Store, shop_id: str, export_id: str) -> Document:
    row = store.exports.find_one({"_id": export_id})
    if row is None or row["shop_id"] != shop_id:
        raise not_found("export", export_id)
    return row
