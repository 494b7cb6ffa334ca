"""Questions about products and categories."""

from services.catalog.model.categories import Attribute, Category
from services.catalog.queries import views
from services.catalog.store import Store, tree
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document

PAGE: int = 50
PAGE_MOST: int = 200


def product(store: Store, product_id: str, shop_id: str) -> Document:
    """A listed product for anybody, any product for the merchant of ``shop_id``. Raises Refusal NOT_FOUND."""
    row = store.products.find_one({"_id": product_id})
    own = row is not None and bool(shop_id) and row["shop_id"] == shop_id
    if row is None or not (own or row["state"] == "listed"):
        raise not_found("product", product_id)
    return views.product(row, store.stock_of([product_id]), own=own)


def version(store: Store, product_id: str, number: int, shop_id: str) -> Document:
    """The product as version ``number`` showed it to buyers. Raises Refusal NOT_FOUND; drafts never shown are their merchant's."""
    row = store.products.find_one({"_id": product_id})
    own = row is not None and bool(shop_id) and row["shop_id"] == shop_id
    if row is not None and row["listing_version"] == number and (row["ever_listed"] or own):
        return views.listing(row)
    old = store.versions.find_one({"_id": f"{product_id}:{number}"})
    if old is None:
        raise not_found("version of the product", f"{product_id} {number}")
    return views.listing(old)


def page_size(asked: int, usual: int, most: int) -> int:
    """How many a page holds. Raises Refusal INVALID_ARGUMENT for a negative number; too many are cut."""
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    return min(asked or usual, most)


def products(
    store: Store, shop_id: str, wanted: Document, before: str | None, size: int
) -> tuple[list[Document], str | None]:
    """The shop's products newest first, and the position after which the next page begins. ``wanted``: state, category_id."""
    query = {"state": wanted["state"], "listing__category_id": wanted["category_id"]}
    rows = store.page("products", shop_id, before, size + 1, **query)
    shown = rows[:size]
    stock = store.stock_of([row["_id"] for row in shown]) if shown else {}
    return [views.product(row, stock, own=True) for row in shown], shown[-1]["position"] if len(rows) > size else None


def categories() -> list[Document]:
    """The tree, parents before children."""
    return [_category(category) for category in tree()]


def _category(category: Category) -> Document:
    return {
        "id": category.id,
        "parent_id": category.parent_id,
        "name": category.name,
        "path": category.path,
        "leaf": category.leaf,
        "sku_attributes": [_attribute(found, category) for found in category.skus],
        "properties": [_attribute(found, category) for found in category.properties],
    }


def _attribute(found: Attribute, category: Category) -> Document:
    values = [{"id": identity, "name": name} for identity, name in found.values]
    return {"id": found.id, "name": found.name, "values": values, "required": found.name in category.required}
