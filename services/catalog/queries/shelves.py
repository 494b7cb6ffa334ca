"""Questions of merchants about their shelves."""

from services.catalog.queries import views
from services.catalog.queries.groups import page_of
from services.catalog.store import Store
from services.catalog.store.shelving import Place, shelf_key, version_key
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def shelves(store: Store, shop_id: str, after: Place | None, size: int) -> tuple[list[Document], Place | None]:
    """The shop's shelves by name, and the place after which the next page begins."""
    places = store.named_places("shelves", shop_id, "draft.name", "shelf_id")
    page, last = page_of(places, after, size)
    keys = [shelf_key(shop_id, number) for _, number in page]
    found = {row["shelf_id"]: row for row in store.shelves.find({"_id": {"$in": keys}, "shop_id": shop_id})}
    return [views.shelf(found[number]) for _, number in page if number in found], last


def shelf_row(store: Store, shop_id: str, shelf_id: int) -> Document:
    """The living shelf. Raises Refusal NOT_FOUND."""
    row = store.shelves.find_one({"_id": shelf_key(shop_id, shelf_id), "shop_id": shop_id})
    if row is None:
        raise not_found("shelf", str(shelf_id))
    return row


def versions(
    store: Store, shop_id: str, shelf_id: int, before: int | None, size: int
) -> tuple[list[Document], int | None]:
    """The shelf's versions newest first, and that before which the next page begins. Raises Refusal NOT_FOUND."""
    shelf = shelf_row(store, shop_id, shelf_id)
    newest = min(before or shelf["versions"] + 1, shelf["versions"] + 1) - 1
    oldest = max(newest - size, 0)
    keys = [version_key(shop_id, shelf_id, number) for number in range(oldest + 1, newest + 1)]
    found = store.shelf_versions.find({"_id": {"$in": keys}}) if keys else ()
    rows = sorted(found, key=lambda row: -int(row["version"]))
    return [views.shelf_version(row, shelf) for row in rows], oldest + 1 if oldest else None
