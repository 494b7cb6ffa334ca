"""Documents as the proto messages show them, as plain values."""

from collections.abc import Mapping
from typing import Any

from services.catalog.model.products import sku_text
from services.catalog.store import tree
from services.chassis.mongo import Document


def product(row: Mapping[str, Any], stock: Mapping[str, Document], *, own: bool) -> Document:
    """A product with the stock of its SKUs. ``own``: its merchant also sees what is on hand and reserved."""
    return {**listing(row), "skus": [_sku(sku, stock.get(sku["sku_id"]), own=own) for sku in row["listing"]["skus"]]}


def listing(row: Mapping[str, Any]) -> Document:
    """A product, or an old version of it, without stock."""
    category = tree().get(row["listing"]["category_id"])
    return {
        **row["listing"],
        "skus": [{**sku, "text": sku_text(sku["values"])} for sku in row["listing"]["skus"]],
        "product_id": row.get("product_id") or row["_id"],
        "shop_id": row["shop_id"],
        "external_id": row["external_id"],
        "state": row.get("state", ""),
        "version": row.get("listing_version") or row["version"],
        "category": category.path if category else "",
        "currency": row["currency"],
        "create_time": row.get("created_at"),
        "update_time": row.get("updated_at"),
    }


def _sku(sku: Mapping[str, Any], stock: Mapping[str, Any] | None, *, own: bool) -> Document:
    shown = {**sku, "text": sku_text(sku["values"]), "available": stock["available"] if stock else 0}
    if own and stock:
        shown |= {"on_hand": stock["on_hand"], "reserved": stock["reserved"]}
    return shown


def job(row: Mapping[str, Any]) -> Document:
    """An import."""
    return {**row, "import_id": row["_id"], "create_time": row["created_at"]}


def group(row: Mapping[str, Any]) -> Document:
    """A group without its members."""
    return {**row, "product_count": len(row["product_ids"])}


def shelf(row: Mapping[str, Any]) -> Document:
    """A shelf with its draft."""
    return {**row, **row["draft"], "public_path": f"/v1/public/shelves/{row['shop_id']}/{row['slug']}"}
