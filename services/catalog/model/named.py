"""Items that name their product by our id: they take its external_id, by which everything else is looked up."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.catalog.model.chunks import Item, RowProblem
from services.catalog.model.products import State

Document = Mapping[str, Any]


def named(items: Iterable[Item], products: Mapping[str, Document], shop_id: str) -> list[Item]:
    """``items`` with the external_id of the products that they name; ``products`` by id.

    One that names what the shop does not have, or what is deleted, has a problem instead. Others stay as they are.
    """
    return [_named(item, products.get(item.product_id), shop_id) if item.product_id else item for item in items]


def _named(item: Item, product: Document | None, shop_id: str) -> Item:
    if product is None or product["shop_id"] != shop_id or product["state"] == State.DELETED:
        return _wrong(item, "product_id", "NOT_FOUND", f"the shop has no product {item.product_id}")
    external_id = product["external_id"]
    if item.external_id not in ("", external_id):
        message = f"product {item.product_id} is {external_id}; leave external_id out"
        return _wrong(item, "external_id", "INVALID_ARGUMENT", message)
    draft = item.draft and replace(item.draft, external_id=external_id)
    return replace(item, external_id=external_id, draft=draft)


def _wrong(item: Item, field: str, reason: str, message: str) -> Item:
    return replace(item, draft=None, problems=(*item.problems, RowProblem(item.row, field, reason, message)))
