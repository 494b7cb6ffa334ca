"""Questions about exports."""

from typing import Final

from services.chassis import paging
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.orders.model import exports
from services.orders.model.states import Actor
from services.orders.store import Store
from services.orders.store.files import FileGoneError

LAST: Final = "~"
"""Above every position."""


def view(row: Document) -> Document:
    """An export as it is told."""
    ended = {"end_time": row["end_time"]} if row.get("end_time") else {}
    size = row.get("file", {}).get("bytes", 0)
    return {**row, "export_id": row["_id"], "size": size, "create_time": row["created_at"], **ended}


def job(store: Store, actor: Actor, export_id: str) -> Document:
    """The export, if it is the shop's. Raises Refusal NOT_FOUND."""
    return view(_own(store, actor, export_id))


def jobs(store: Store, actor: Actor, size: int, token: str) -> tuple[list[Document], str]:
    """A page of the shop's exports, newest first, and the token of the next. Raises Refusal INVALID_PAGE_TOKEN."""
    filters = {"exports": actor.shop_id}
    last = paging.decode(token, filters, str)
    found = store.files.page(actor.shop_id, str(last[0]) if last else LAST, size + 1)
    more = len(found) > size
    return [view(row) for row in found[:size]], paging.encode(filters, [found[size - 1]["position"]]) if more else ""


def piece(store: Store, actor: Actor, export_id: str, token: str) -> Document:
    """A block of the file: {data, next_page_token, content_type, file_name}.

    Raises Refusal NOT_FOUND, WRONG_STATE before there is a file, CONDITION_UNMET when it is not kept any more, INVALID_PAGE_TOKEN.
    """
    filters = {"export": export_id}
    last = paging.decode(token, filters, int)
    number = int(last[0]) if last else 0
    row = _own(store, actor, export_id)
    exports.check_ready(row)
    extension, media_type = exports.FORMATS[row["format"]]
    told = {"content_type": media_type, "file_name": f"{export_id}.{extension}"}
    if number >= row["file"]["blocks"]:
        return {"data": b"", "next_page_token": "", **told}
    try:
        data = store.files.block(row["file"]["id"], number)
    except FileGoneError as error:
        raise Refusal("CONDITION_UNMET", f"the file of {export_id} is not kept any more; export again") from error
    more = number + 1 < row["file"]["blocks"]
    return {"data": data, "next_page_token": paging.encode(filters, [number + 1]) if more else "", **told}


def _own(store: Store, actor: Actor, export_id: str) -> Document:
    row = store.files.export(export_id)
    if row is None or not actor.shop_id or row["shop_id"] != actor.shop_id:
        raise not_found("export", export_id)
    return row
