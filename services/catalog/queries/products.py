"""Questions about products."""

from datetime import datetime

from services.catalog.model.names import product_name, sku_name
from services.catalog.model.products import State
from services.catalog.model.versions import needed, shown_version, was_shown
from services.catalog.queries import views
from services.catalog.queries.images import Pictures
from services.catalog.store import Store
from services.chassis import clock
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document

PAGE: int = 50
PAGE_MOST: int = 200


def product(store: Store, product_id: str, shop_id: str, pictures: Pictures) -> Document:
    """A listed product for anybody, any product for the merchant of ``shop_id``. Raises Refusal NOT_FOUND.

    Anybody sees the pictures that were fetched at our own address; their merchant sees the addresses as given.
    """
    row = store.products.find_one({"_id": product_id})
    own = row is not None and bool(shop_id) and row["shop_id"] == shop_id
    if row is None or not (own or row["state"] == "listed"):
        raise not_found("product", product_id)
    if not own:
        row = pictures.shown(store, row["shop_id"], [row])[0]
    return _viewed(store, [row], own=own)[0]


def version(store: Store, product_id: str, number: int, shop_id: str, *, any_shop: bool) -> Document:
    """The product as version ``number`` had it, whatever became of it since. Raises Refusal NOT_FOUND.

    A version that has been on sale is for anybody who knows its number (it stands in orders); one that never was only for the
    merchant of ``shop_id``, and for who judges over all shops (``any_shop``).
    """
    row = store.products.find_one({"_id": product_id})
    if row is not None and row["listing_version"] == number and _may_see(row, shop_id, any_shop=any_shop):
        return views.listing(row, store.tree())
    current = row["listing_version"] if row is not None else number + 1
    old = shown_version(number, store.old_versions(product_id, needed(number, current)), row)
    if old is None or not _may_see({"ever_listed": True, **old}, shop_id, any_shop=any_shop):
        raise not_found("version of the product", f"{product_id} {number}")
    return views.listing(old, store.tree())


def _may_see(row: Document, shop_id: str, *, any_shop: bool) -> bool:
    return any_shop or was_shown(row) or bool(shop_id and row["shop_id"] == shop_id)


def page_size(asked: int, usual: int, most: int) -> int:
    """How many a page holds. Raises Refusal INVALID_ARGUMENT for a negative number; too many are cut."""
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    return min(asked or usual, most)


def products(
    store: Store, shop_id: str, wanted: Document, before: str | None, size: int
) -> tuple[list[Document], str | None]:
    """The shop's products newest first, and the position after which the next page begins. ``wanted``: state, category_id.

    Without a state all but the deleted ones.
    """
    rows = store.page_of_products(shop_id, before, size + 1, wanted["state"], wanted["category_id"])
    shown = rows[:size]
    return own_views(store, shown), shown[-1]["position"] if len(rows) > size else None


def changed(
    store: Store, shop_id: str, wanted: Document, after: tuple[datetime, list[str]], size: int
) -> tuple[list[Document], tuple[datetime, list[str]] | None]:
    """The shop's products by their last change, and where the next page begins. ``wanted``: state, category_id.

    ``after``: the moment of the last change shown and the products already shown that have it; nothing between two pages is left out.
    A page may be short, even empty, though there is a next one, where very few of many changed products are wanted.
    """
    since, known = after
    rows, reached = store.changed(shop_id, since, clock.business(), size + len(known) + 1, wanted)
    rows = [row for row in rows if row["_id"] not in known]
    shown = rows[:size]
    if len(rows) <= size:
        return own_views(store, shown), (reached, []) if reached else None
    moment = shown[-1]["updated_at"]
    same = [row["_id"] for row in shown if row["updated_at"] == moment]
    return own_views(store, shown), (moment, same + (known if moment == since else []))


def named(store: Store, shop_id: str, wanted: Document) -> list[Document]:
    """The product that ``external_id`` or ``merchant_sku`` names, if the other filters hold for it."""
    names = [product_name(shop_id, wanted["external_id"])] if wanted["external_id"] else []
    names += [sku_name(shop_id, wanted["merchant_sku"])] if wanted["merchant_sku"] else []
    rows = store.named(names)
    ids = {row["product_id"] for row in rows.values()}
    if len(rows) < len(names) or len(ids) != 1:
        return []
    found = store.products.find_one({"_id": ids.pop()})
    if found is None or found["state"] == State.DELETED or wanted["state"] not in ("", found["state"]):
        return []
    if wanted["category_id"] not in (0, found["listing"]["category_id"]):
        return []
    return own_views(store, [found]) if wanted.get("updated_since", found["updated_at"]) <= found["updated_at"] else []


def own_views(store: Store, rows: list[Document]) -> list[Document]:
    """Products as their merchant sees them, in this order."""
    return _viewed(store, rows, own=True) if rows else []


def _viewed(store: Store, rows: list[Document], *, own: bool) -> list[Document]:
    stock, tree, now = store.stock_of(rows), store.tree(), clock.business()
    units = store.units_now(rows, now)
    return [views.product(row, stock, tree, own=own, units=units, now=now) for row in rows]


def own(store: Store, row: Document) -> Document:
    """A product as its merchant sees it."""
    return _viewed(store, [row], own=True)[0]
