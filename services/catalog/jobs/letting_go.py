"""Taking away the bytes of pictures that were deleted and that nothing shows any more.

Two steps, each one that may be repeated. A shop's pictures whose time off the list is over are looked for in everything that the shop
shows or has shown: products, also deleted ones, all versions of them (orders show those), shelves and their versions, fetched addresses.
One that is named nowhere is let go, and where no other shop needs its bytes their file is marked as going, in the same transaction, on the
version of the file that was read before anybody was asked: an upload in between is seen. Then the bytes go.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from services.catalog.model import fetches, images
from services.catalog.store import BATCH, SERVICE, Store
from services.catalog.store.shelving import version_key
from services.chassis import clock, policy
from services.chassis.blobs import blobs
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.mongo import Document
from services.chassis.pictures import WHOLE
from services.chassis.reacting import JobRun
from services.chassis.settings import settings

TOGETHER: Final = 1000
"""Pictures of a shop that one look through its products decides about."""
PART: Final = 100
WAIT_MS: Final = 5_000
T = TypeVar("T")


def look(lease: JobRun) -> None:
    """Let go of the shop's pictures that nothing shows, this one's and others whose time is over. Raises LeaseLost."""
    store, shop_id = Store(lease.database), lease.row["shop_id"]
    found = _due(store, lease, shop_id)
    if any(row["_id"] < lease.row["_id"] and row.get("claimed_until", 0) > clock.wall_ms() for row in found):
        lease.later(WAIT_MS)  # another run looks through this shop already, for all of them
        return
    due = {row["image_id"]: row for row in found}
    shown: set[str] = set()
    for names in _shown(store, shop_id, images.url(settings().base_url, "")):
        lease.keep()
        shown |= due.keys() & names
    for image_id, row in due.items():
        lease.keep()
        if image_id in shown:
            _keep_on(store, row)
        else:
            _let_go(store, row)


def remove(lease: JobRun) -> None:
    """Take away the bytes of a file that is going. Raises LeaseLost."""
    store, image_id = Store(lease.database), lease.row["_id"]
    kept_in = blobs(settings(), lease.database)
    for size in (*images.SIZES, WHOLE):
        lease.keep()
        kept_in.drop(images.blob_key(image_id, size))
    here = {"_id": image_id, "state": images.GOING, **lease.guard}
    done: Document = {"$set": {"state": images.GONE}, "$unset": {"next_at": ""}, "$inc": {"version": 1}}
    Transaction(store.client).update(store.image_files, here, done).commit()


def _due(store: Store, lease: JobRun, shop_id: str) -> list[Document]:
    """The leased picture and others of the shop whose time off the list is over."""
    query = {"next_at": {"$gt": 0, "$lte": clock.wall_ms()}, "shop_id": shop_id}
    found = list(store.images.find(query, batch_size=BATCH).limit(TOGETHER))
    mine = store.images.find_one({"_id": lease.row["_id"], "next_at": {"$gt": 0}})
    return [*found, *([mine] if mine is not None and mine["_id"] not in {row["_id"] for row in found} else [])]


def _keep_on(store: Store, row: Document) -> None:
    """Something shows it: look again after another while."""
    grace = policy.load(SERVICE).span("image_grace", clock.business())
    _changed(store, row, Change(set={"next_at": clock.ms(clock.wall() + grace)}))


def _let_go(store: Store, row: Document) -> None:
    """The shop needs its bytes no more; where no other shop does either they are going."""
    image_id = row["image_id"]
    file = store.image_files.find_one({"_id": image_id})
    others = [other for other in store.images.find({"image_id": image_id}) if other["_id"] != row["_id"]]
    transaction = Transaction(store.client)
    if not images.keeps_bytes(others):
        going = {"state": images.GOING, "next_at": clock.wall_ms()}
        if file is None:  # from before files were written down
            transaction.insert(store.image_files, {"_id": image_id, "version": 1, **going})
        else:
            same = {"_id": image_id, "version": file["version"], "state": file["state"]}
            transaction.update(store.image_files, same, {"$set": going, "$inc": {"version": 1}})
    else:  # another shop that lets go of it at this moment must see it
        _touch(store, transaction, image_id, file)
    _forget_sources(store, transaction, row)
    _changed(store, row, Change(set={"let_go": True}, unset=("next_at",)), transaction)


def _touch(store: Store, transaction: Transaction, image_id: str, file: Document | None) -> None:
    if file is None:
        transaction.insert(store.image_files, {"_id": image_id, "state": images.KEPT, "version": 1})
    else:
        same = {"_id": image_id, "version": file["version"]}
        transaction.update(store.image_files, same, {"$inc": {"version": 1}})


def _forget_sources(store: Store, transaction: Transaction, row: Document) -> None:
    """Addresses from which it was fetched are asked again when another import names them."""
    query = {"image_id": row["image_id"]}
    for source in store.image_sources.find(query, {"shop_id": 1}, batch_size=BATCH):
        if source["shop_id"] == row["shop_id"]:
            gone = {"state": fetches.FAILED, "image_id": "", "reason": "DELETED", "message": "the picture was deleted"}
            transaction.update(store.image_sources, {"_id": source["_id"], "image_id": row["image_id"]}, {"$set": gone})


def _changed(store: Store, row: Document, change: Change, transaction: Transaction | None = None) -> None:
    """Change the row as it was read; who uploads or decides about it meanwhile is right, and nothing happens here."""
    cause = Cause(f"job:let_go:{row['_id']}:{row['version']}")
    try:
        (transaction or Transaction(store.client)).change(store.images, row, change, cause).commit()
    except (Shortfall, Taken):
        return


# -------------------------------------------------------------------------------------------------------------- what is shown


def _shown(store: Store, shop_id: str, own: str) -> Iterator[set[str]]:
    """The pictures that the shop shows or has shown, part by part."""
    for products in _parts(store.products.find({"shop_id": shop_id}, batch_size=PART)):
        yield _in_listings(store, shop_id, products, own)
        versions = (f"{row['_id']}:{number}" for row in products for number in range(1, row["listing_version"]))
        for keys in _parts(versions):
            yield _in_listings(store, shop_id, store.versions.find({"_id": {"$in": list(keys)}}, batch_size=PART), own)
    for shelf in store.shelves.find({"shop_id": shop_id}, batch_size=PART):
        yield set(images.named(shelf["draft"]))
        numbers = range(1, shelf["versions"] + 1)
        for keys in _parts(version_key(shop_id, shelf["shelf_id"], number) for number in numbers):
            for row in store.shelf_versions.find({"_id": {"$in": list(keys)}}, batch_size=PART):
                yield set(images.named(row["content"]))


def _in_listings(store: Store, shop_id: str, rows: Iterable[Document], own: str) -> set[str]:
    """Those that listings name themselves, and those that were fetched from addresses that they name."""
    listings = [row["listing"] for row in rows]
    given = {fetches.source_id(shop_id, address) for listing in listings for address in fetches.addresses(listing, own)}
    found = store.image_sources.find({"_id": {"$in": list(given)}}, {"image_id": 1}, batch_size=BATCH) if given else ()
    return set(images.named(listings)) | {row["image_id"] for row in found if row["image_id"]}


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    waiting = iter(items)
    while part := list(islice(waiting, PART)):
        yield part
