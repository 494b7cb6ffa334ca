"""Keeping a picture: its bytes first, then its row on the shop's list."""

from collections.abc import Callable
from typing import Final

from services.catalog.model import images
from services.catalog.store import SERVICE, Store
from services.chassis import clock, commit, ids, pictures, policy
from services.chassis.blobs import Blobs
from services.chassis.commit import Cause, Outcome, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document

NAME_LONGEST: Final = 255


def read(content: bytes) -> pictures.Picture:
    """Take in the bytes of a picture under the limits in force. Raises Refusal INVALID_ARGUMENT naming ``file``, TOO_LARGE."""
    return pictures.read(content, limits(), images.SIZES)


def limits() -> pictures.Limits:
    """How large a picture may be."""
    return pictures.Limits(**policy.load(SERVICE).value("image_limits", clock.business()))


def keep(store: Store, blobs: Blobs, cause: Cause, shop_id: str, content: bytes, file_name: str) -> Outcome:
    """Keep the bytes first, then the rows that say they are there: a crash between leaves bytes that the next try finds.

    What the shop has had before is not decoded again. Raises Refusal CONDITION_UNMET when the shop's list is full, UNAVAILABLE while the
    bytes of this very picture are being taken away, and what ``read`` raises.
    """
    image_id = images.image_id(content)
    identity = row_id(shop_id, image_id)

    def place(found: Document | None) -> Transaction:
        file = store.image_files.find_one({"_id": image_id})
        if file is not None and file["state"] == images.GOING:
            raise Refusal("UNAVAILABLE", "this picture is being taken away just now; send it again", retry_after_s=2)
        transaction, is_kept = Transaction(store.client), file is not None and file["state"] == images.KEPT
        if found is not None and "position" in found and is_kept:  # by an earlier upload of the same bytes
            return transaction.change(store.images, found, Change(), cause)
        told = {} if found is not None and is_kept else _taken_in(blobs, image_id, content)
        _say_kept(store, transaction, image_id, file)
        if found is None:
            own = {"_id": identity, "shop_id": shop_id, "position": ids.new_id("img")}
            row = commit.prepare(store.images, {**own, **told, "file_name": file_name[:NAME_LONGEST]}, cause)
            return _counted(store, transaction.insert(store.images, row), shop_id)
        back = Change(set={"position": found.get("position", ids.new_id("img"))}, unset=("next_at", "let_go"))
        transaction.change(store.images, found, back, cause)
        return transaction if "position" in found else _counted(store, transaction, shop_id)

    return _written(store, cause, identity, place)


def _taken_in(blobs: Blobs, image_id: str, content: bytes) -> Document:
    """Decode the picture and keep its bytes in every size; what its row says of it."""
    picture = read(content)
    for size, data in picture.files.items():
        blobs.put(images.blob_key(image_id, size), data, picture.content_type)
    return {
        "image_id": image_id,
        "content_type": picture.content_type,
        "width": picture.width,
        "height": picture.height,
        "bytes": len(picture.files[pictures.WHOLE]),
        "sizes": sorted(picture.files),
    }


def _say_kept(store: Store, transaction: Transaction, image_id: str, file: Document | None) -> None:
    """The bytes are there, and somebody has begun to need them since: who was about to take them away sees another version, and does not."""
    if file is None:
        transaction.insert(store.image_files, {"_id": image_id, "state": images.KEPT, "version": 1})
        return
    same = {"_id": image_id, "version": file["version"], "state": file["state"]}
    transaction.update(store.image_files, same, {"$set": {"state": images.KEPT}, "$inc": {"version": 1}})


def take_off(store: Store, cause: Cause, shop_id: str, image_id: str) -> Outcome:
    """Take a picture off the shop's list; ``image_grace`` later it is looked at whether anything shows it. Raises Refusal NOT_FOUND."""
    grace = policy.load(SERVICE).span("image_grace", clock.business())

    def place(found: Document | None) -> Transaction:
        if found is None:
            raise not_found("image", image_id)
        transaction = Transaction(store.client)
        if "position" not in found:
            return transaction.change(store.images, found, Change(), cause)
        fewer = {"$inc": {"image_count": -1}}
        later = clock.ms(clock.wall() + grace)
        off = Change(set={"next_at": later}, unset=("position",))
        return transaction.change(store.images, found, off, cause).update(store.shops, {"_id": shop_id}, fewer)

    return _written(store, cause, row_id(shop_id, image_id), place)


def _counted(store: Store, transaction: Transaction, shop_id: str) -> Transaction:
    """One more on the shop's list. The count is kept, since the embedded database takes half a second to count 20,000."""
    most, shop = policy.load(SERVICE).value("image_count", clock.business()), store.shop(shop_id)
    if shop is not None and shop.get("image_count", 0) >= most:
        raise Refusal(
            "CONDITION_UNMET", f"a shop's list holds {most} pictures; delete some that nothing shows any more"
        )
    room = {"_id": shop_id, "image_count": {"$not": {"$gte": most}}}
    return transaction.update(store.shops, room, {"$inc": {"image_count": 1}})


def _written(store: Store, cause: Cause, identity: str, place: Callable[[Document | None], Transaction]) -> Outcome:
    """The row, the shop's count and the picture's file in one step, once for a cause."""

    def attempt() -> Outcome:
        found = store.images.find_one({"_id": identity})
        before = commit.created(store.images, cause)
        before = before or (commit.applied(store.images, found, cause) if found is not None else None)
        if before is not None:
            return before
        place(found).commit()
        return Outcome(store.images.find_one({"_id": identity}) or {})

    return commit.settled("the picture", attempt)


def row_id(shop_id: str, image_id: str) -> str:
    """The row of a picture on a shop's list."""
    return f"{shop_id}:{image_id}"
