"""Documents as the proto messages show them, as plain values."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from services.catalog.model import images, windows
from services.catalog.model.categories import Tree
from services.catalog.model.products import sku_text
from services.chassis import clock
from services.chassis.mongo import Document

NO_UNITS: Final[Mapping[str, Document]] = MappingProxyType({})


def product(
    row: Mapping[str, Any],
    stock: Mapping[str, Document],
    tree: Tree,
    *,
    own: bool,
    units: Mapping[str, Document] = NO_UNITS,
    now: datetime | None = None,
) -> Document:
    """A product with the stock of its SKUs, on the terms of the sale windows that run ``now`` (left out: at this moment).

    ``own``: its merchant also sees what is on hand and reserved, and the usual prices. ``units``: ``Store.units_now``.
    """
    now = now or clock.business()
    held = windows.running(row, now)
    return {
        **listing(row, tree),
        "skus": [
            _sku(sku, stock.get(sku["sku_id"]), held.get(sku["sku_id"]), units, own=own)
            for sku in row["listing"]["skus"]
        ],
        "sale_windows": [_terms(found) for found in windows.coming(row, now)],
        "was_listed": own and row["ever_listed"],
    }


def _terms(found: Mapping[str, Any]) -> Document:
    prices = [{"sku_id": sku_id, "price": price} for sku_id, price in found["prices"].items()]
    return {**found, "prices": prices}


def sale(
    sku: Mapping[str, Any], available: int, held: Mapping[str, Any] | None, units: Mapping[str, Document]
) -> Document:
    """What a SKU costs now and how many can be bought: as usual, or on the terms of the window that it is in (``held``)."""
    if held is None:
        return {"price": sku["price"], "available": available}
    left = units.get(windows.unit_id(held["window_id"], sku["sku_id"]), {"left": 0})["left"]
    return {
        "price": windows.price(sku, held),
        "available": windows.available(available, held, left),
        "sale_window_id": held["window_id"],
    }


def listing(row: Mapping[str, Any], tree: Tree) -> Document:
    """A product, or an old version of it, without stock."""
    category = tree.get(row["listing"]["category_id"])
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
        "etag": str(row["version"]) if "listing_version" in row else "",
        "create_time": row.get("created_at"),
        "update_time": row.get("updated_at"),
    }


def _sku(
    sku: Mapping[str, Any],
    stock: Mapping[str, Any] | None,
    held: Mapping[str, Any] | None,
    units: Mapping[str, Document],
    *,
    own: bool,
) -> Document:
    terms = sale(sku, stock["available"] if stock else 0, held, units)
    shown = {**sku, "text": sku_text(sku["values"]), **terms}
    if own:
        shown["price"] = sku["price"]
        if stock:
            shown |= {"on_hand": stock["on_hand"], "reserved": stock["reserved"]}
    return shown


def job(row: Mapping[str, Any]) -> Document:
    """An import."""
    return {**row, "import_id": row["_id"], "create_time": row["created_at"]}


def image(row: Mapping[str, Any], base_url: str) -> Document:
    """A picture on a shop's list."""
    return {**row, "url": images.url(base_url, row["image_id"]), "create_time": row["created_at"]}


def source(row: Mapping[str, Any], base_url: str) -> Document:
    """An address that a product file names for a picture."""
    ours = images.url(base_url, row["image_id"]) if row["image_id"] else ""
    return {**row, "source_url": row["url"], "url": ours}


def template(row: Mapping[str, Any]) -> Document:
    """A freight template."""
    changed_at = row.get("changed_at", row["created_at"])
    return {**row, "etag": str(row["version"]), "create_time": row["created_at"], "update_time": changed_at}


def export(row: Mapping[str, Any]) -> Document:
    """An export."""
    return {
        **row,
        "export_id": row["_id"],
        "create_time": row["created_at"],
        "size": row.get("file", {}).get("bytes", 0),
    }


def group(row: Mapping[str, Any]) -> Document:
    """A group without its members."""
    return {**row, **_told(row)}


def shelf(row: Mapping[str, Any]) -> Document:
    """A shelf with its draft."""
    public_path = f"/v1/public/shelves/{row['shop_id']}/{row['slug']}"
    return {**row, **row.get("draft", {}), **_told(row), "public_path": public_path}


def shelf_version(row: Mapping[str, Any], of: Mapping[str, Any]) -> Document:
    """A version of the shelf ``of``."""
    published = row["version"] == of["published_version"]
    return {**row["content"], "version": row["version"], "create_time": row.get("at"), "published": published}


def _told(row: Mapping[str, Any]) -> Document:
    changed_at = row.get("changed_at", row["created_at"])
    return {"etag": str(row["version"]), "create_time": row["created_at"], "update_time": changed_at}


def window(row: Mapping[str, Any], now: datetime) -> Document:
    """A sale window without what it has sold, its state as of ``now``."""
    return {
        **row,
        "window_id": row["_id"],
        "state": windows.stage(row, now),
        "etag": str(row["version"]),
        "create_time": row["created_at"],
        "update_time": row.get("changed_at", row["created_at"]),
    }
