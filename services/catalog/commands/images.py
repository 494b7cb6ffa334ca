"""Taking in pictures, and asking for those that a product file names."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from services.catalog.commands.products import shop_of
from services.catalog.model import fetches
from services.catalog.store import Store, pictures
from services.chassis import clock, commit
from services.chassis.blobs import Blobs
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it comes."""

    shop_id: str
    file_name: str
    pieces: Iterator[bytes]


def upload_image(store: Store, blobs: Blobs, cause: Cause, upload: Upload) -> Outcome:
    """Keep a picture and put it on the shop's list; bytes that are there already are the picture that is there.

    Raises Refusal TOO_LARGE, INVALID_ARGUMENT (no picture, broken, too many pixels), CONDITION_UNMET (the list is full),
    IDEMPOTENCY_KEY_REUSED.
    """
    shop_of(store, upload.shop_id)
    content = _whole(upload.pieces, pictures.limits().bytes)
    digest = hashlib.sha256(repr((upload.shop_id, upload.file_name)).encode() + content).hexdigest()
    hashed = Cause(cause.id, digest, cause.causation, cause.traceparent)
    return pictures.keep(store, blobs, hashed, upload.shop_id, content, upload.file_name)


def _whole(pieces: Iterator[bytes], most: int) -> bytes:
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > most:
            raise Refusal("TOO_LARGE", f"a picture has at most {most} bytes", info={"most": str(most)})
    return bytes(content)


def delete_image(store: Store, cause: Cause, shop_id: str, image_id: str) -> Outcome:
    """Take a picture off the list. Its bytes stay: versions, orders and other shops may show them. Raises Refusal NOT_FOUND."""
    return pictures.take_off(store, cause, shop_id, image_id)


def fetch_images(store: Store, cause: Cause, shop_id: str, import_id: str) -> Outcome:
    """Fetch the pictures that a completed import names; asked again when that is done, those that failed are tried again.

    Raises Refusal NOT_FOUND, WRONG_STATE while the import is not completed or its pictures are being fetched.
    """
    shop_of(store, shop_id)
    job = store.imports.find_one({"_id": import_id})
    if job is None or job["shop_id"] != shop_id:
        raise not_found("import", import_id)
    fetches.check_import(job)
    begun = fetches.begun(import_id, shop_id, clock.wall_ms())
    try:
        return commit.create(store.image_fetches, begun, cause, natural=True)
    except Taken:
        return commit.change(store.image_fetches, import_id, cause, _again, kind="fetching of images")


def _again(row: Document) -> Change | None:
    return fetches.again(row, clock.wall_ms())
