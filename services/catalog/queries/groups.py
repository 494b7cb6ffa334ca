"""Questions about groups."""

from bisect import bisect_right

from services.catalog.queries import products, views
from services.catalog.store import Store
from services.catalog.store.shelving import Place, shelf_key
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def groups(store: Store, shop_id: str, after: Place | None, size: int) -> tuple[list[Document], Place | None]:
    """The shop's groups by name, and the place after which the next page begins."""
    places = store.named_places("groups", shop_id, "name", "group_id")
    page, last = page_of(places, after, size)
    found = store.group_rows(shop_id, [number for _, number in page], 0)
    return [views.group(found[number]) for _, number in page if number in found], last


def page_of(places: list[Place], after: Place | None, size: int) -> tuple[list[Place], Place | None]:
    """Up to ``size`` sorted places behind ``after``, and the last of them when there are more."""
    start = bisect_right(places, after) if after else 0
    page = places[start : start + size]
    return page, page[-1] if start + size < len(places) else None


def group(store: Store, shop_id: str, group_id: int) -> tuple[Document, list[str]]:
    """The group, and the ids of its products in order without those that were deleted since. Raises Refusal NOT_FOUND."""
    row = _row(store, shop_id, group_id)
    living = store.own_products(shop_id, row["product_ids"])
    product_ids = [product_id for product_id in row["product_ids"] if product_id in living]
    return views.group({**row, "product_count": len(product_ids)}), product_ids


def _row(store: Store, shop_id: str, group_id: int) -> Document:
    row: Document | None = store.groups.find_one({"_id": shelf_key(shop_id, group_id), "shop_id": shop_id})
    if row is None:
        raise not_found("group", str(group_id))
    return row


def members(
    store: Store, shop_id: str, group_id: int, after: tuple[int, str] | None, size: int
) -> tuple[list[Document], tuple[int, str] | None]:
    """The group's products in order, and after which the next page begins; deleted ones are left out. Raises Refusal NOT_FOUND."""
    product_ids = _row(store, shop_id, group_id)["product_ids"]
    start = place_after(product_ids, after)
    page = product_ids[start : start + size]
    found = store.products_by_id(page)
    rows = [found[product_id] for product_id in page if product_id in found and found[product_id]["state"] != "deleted"]
    last = (start + len(page) - 1, page[-1]) if start + size < len(product_ids) else None
    return products.own_views(store, rows), last


def place_after(product_ids: list[str], after: tuple[int, str] | None) -> int:
    """Where a page begins that comes after a product that stood at a place; where it was moved since, behind it, where it left, there."""
    if after is None:
        return 0
    number, product_id = after
    if product_ids[number : number + 1] == [product_id]:
        return number + 1
    return product_ids.index(product_id) + 1 if product_id in product_ids else number
