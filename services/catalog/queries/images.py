"""Questions about pictures."""

from collections.abc import Sequence
from functools import partial

from services.catalog.model import fetches, images
from services.catalog.store import BATCH, FIRST, LAST, Store
from services.chassis.blobs import Blobs
from services.chassis.errors import invalid, not_found
from services.chassis.fresh import Fresh
from services.chassis.mongo import Document
from services.chassis.pictures import WHOLE


def picture(blobs: Blobs, image_id: str, size: int) -> tuple[bytes, str]:
    """The bytes of a picture, no larger than ``size`` pixels (0: whole), and their content type. Raises Refusal NOT_FOUND."""
    if size not in (WHOLE, *images.SIZES):
        raise invalid("size", f"must be one of {', '.join(map(str, images.SIZES))}, or left out")
    found = None
    if images.is_image_id(image_id):
        found = blobs.get(images.blob_key(image_id, size))
        if found is None and size:  # it is no larger than that
            found = blobs.get(images.blob_key(image_id, WHOLE))
    if found is None:
        raise not_found("image", image_id)
    return found, images.content_type(found)


def page(store: Store, shop_id: str, before: str | None, size: int) -> tuple[list[Document], str | None]:
    """The shop's pictures newest first, and the position after which the next page begins."""
    rows = store.page_of_pictures(shop_id, before, size + 1)
    shown = rows[:size]
    return shown, shown[-1]["position"] if len(rows) > size else None


def fetching(store: Store, shop_id: str, import_id: str) -> Document:
    """How far the fetching of the import's pictures is; zeros where nobody asked for it. Raises Refusal NOT_FOUND."""
    row = store.image_fetches.find_one({"_id": import_id})
    if row is None:
        job = store.imports.find_one({"_id": import_id}, {"shop_id": 1})
        if job is None or job["shop_id"] != shop_id:
            raise not_found("import", import_id)
        return {"state": "", "total": 0, "fetched": 0, "failed": 0}
    if row["shop_id"] != shop_id:
        raise not_found("import", import_id)
    return row


def sources(
    store: Store, import_id: str, state: str, after: str | None, size: int
) -> tuple[list[Document], str | None]:
    """The addresses of an import (in this state, where one is said), and the id after which the next page begins."""
    query: Document = {"import_id": import_id, **({"state": state} if state else {})}
    query["_id"] = {"$gt": after or FIRST, "$lt": LAST}
    rows = list(store.image_sources.find(query).sort("_id", 1).limit(size + 1))
    shown = rows[:size]
    return shown, shown[-1]["_id"] if len(rows) > size else None


class Pictures:
    """What anybody sees of products: pictures that were fetched, at our own address."""

    def __init__(self, base_url: str, shops: Fresh[Document]) -> None:
        """``shops``: copies of shops, a moment old."""
        self._base_url, self._shops = base_url, shops

    def shown(self, store: Store, shop_id: str, rows: Sequence[Document]) -> list[Document]:
        """These products of the shop. Asks once however many they are, and only for a shop of which anything was fetched."""
        shop = self._shops.get(shop_id, lambda: store.shop(shop_id))
        ours = self._fetched(store, rows) if shop is not None and shop.get("shows_fetched") else {}
        return [{**row, "listing": fetches.shown(row["listing"], ours)} for row in rows] if ours else list(rows)

    def in_hits(self, store: Store, hits: Sequence[Document]) -> list[Document]:
        """Hits of a search, of any shops: {shop_id, image}. One question for all of them, or none."""
        shops = {shop_id: self._shops.get(shop_id, partial(store.shop, shop_id)) for shop_id in _shops_of(hits)}
        fetching = [hit for hit in hits if (shops[hit["shop_id"]] or {}).get("shows_fetched") and hit["image"]]
        sources = {fetches.source_id(hit["shop_id"], hit["image"]) for hit in fetching}
        query = {"_id": {"$in": list(sources)}, "state": fetches.FETCHED}
        found = store.image_sources.find(query, {"image_id": 1}, batch_size=BATCH) if sources else ()
        ours = {row["_id"]: images.url(self._base_url, row["image_id"]) for row in found}
        return [
            {**hit, "image": ours.get(fetches.source_id(hit["shop_id"], hit["image"]), hit["image"])} for hit in hits
        ]

    def _fetched(self, store: Store, rows: Sequence[Document]) -> dict[str, str]:
        """Address as given → our own."""
        own = images.url(self._base_url, "")
        wanted = {
            fetches.source_id(row["shop_id"], address)
            for row in rows
            for address in fetches.addresses(row["listing"], own)
        }
        query = {"_id": {"$in": list(wanted)}, "state": fetches.FETCHED}
        found = store.image_sources.find(query, {"url": 1, "image_id": 1}, batch_size=BATCH)
        return {row["url"]: images.url(self._base_url, row["image_id"]) for row in found}


def _shops_of(hits: Sequence[Document]) -> set[str]:
    return {hit["shop_id"] for hit in hits}
