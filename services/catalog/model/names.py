"""The merchant's own names of products and SKUs: one row each, so that a name belongs to one thing of its shop and finds it.

The ``_id`` of a row is the name. A product that was deleted has none, and a SKU has none where the merchant gave it no code: what has no
name costs nothing.
"""

from collections.abc import Mapping
from typing import Any

from services.catalog.model.products import State

Document = Mapping[str, Any]
Names = dict[str, dict[str, Any]]
"""Rows by name: {_id, product_id}, of a SKU {_id, product_id, sku_id}."""


def product_name(shop_id: str, external_id: str) -> str:
    """The name of a product, unique over all shops."""
    return f"{shop_id}/product/{external_id}"


def sku_name(shop_id: str, merchant_sku: str) -> str:
    """The name of a SKU, unique over all shops."""
    return f"{shop_id}/sku/{merchant_sku}"


def own_part(name: str) -> str:
    """The external_id or merchant_sku of a name."""
    return name.split("/", 2)[2]


def names_of(product: Document) -> Names:
    """All names that ``product`` has, told from what it says of itself. ``product``: {_id, shop_id, external_id, state, listing}."""
    if product["state"] == State.DELETED:
        return {}
    shop_id, product_id = product["shop_id"], product["_id"]
    own = product_name(shop_id, product["external_id"])
    found: Names = {own: {"_id": own, "product_id": product_id}}
    for sku in product["listing"]["skus"]:
        if sku["merchant_sku"]:
            name = sku_name(shop_id, sku["merchant_sku"])
            found[name] = {"_id": name, "product_id": product_id, "sku_id": sku["sku_id"]}
    return found


def exchanged(old: Names, new: Names) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows that go and the rows that come when a product's names ``old`` become ``new``: of those that stay the same, none."""
    gone = [row for name, row in old.items() if new.get(name) != row]
    come = [row for name, row in new.items() if old.get(name) != row]
    return gone, come
