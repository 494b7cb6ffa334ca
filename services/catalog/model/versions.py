"""Versions of a listing: what buyers saw, and what the old API lets nobody change once they could see it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from services.catalog.model.products import Listing, Problem

PRICES: Final = ("price", "original_price")
WHOLE_EVERY: Final = 16
"""So many rows are read at most to show an old version."""
FROZEN: Final = ("name", "category_id", "properties")
"""商品名称, 分类 and 属性: frozen once a product has been on the shelf (微信商铺API手册 V1.15, 1.3 note 2)."""


def was_shown(product: Mapping[str, Any]) -> bool:
    """Whether the current version of ``product`` has been on sale. Rows from before this was noted: whether any version was."""
    return bool(product.get("shown", product["ever_listed"]))


def frozen_changes(product: Mapping[str, Any], wanted: Listing) -> list[Problem]:
    """What of ``wanted`` the old API would refuse: changes of name, category or properties of a product that was ever listed.

    ``/v1`` makes a new version instead, which the order snapshot can still show the old one beside.
    """
    if not product["ever_listed"]:
        return []
    message = "is fixed since the product was first on sale; leave it as it is or make a new product"
    changed = [field for field in FROZEN if wanted[field] != product["listing"][field]]
    return [Problem(field, "FROZEN", message) for field in changed]


def old_version(product: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What a buyer saw until now, as a row of its own: copied out only when it changes."""
    return {**_version(product, now), "listing": product["listing"]}


def before_prices(product: Mapping[str, Any], skus: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """The same where nothing but prices changes, to those of ``skus``: only the prices that end, to be shown on the version that follows.

    Every ``WHOLE_EVERY``-th is whole, so that no version is far from one.
    """
    if product["listing_version"] % WHOLE_EVERY == 0:
        return old_version(product, now)
    ended = {
        old["sku_id"]: {name: old[name] for name in PRICES}
        for old, sku in zip(product["listing"]["skus"], skus, strict=True)
        if any(old[name] != sku[name] for name in PRICES)
    }
    return {**_version(product, now), "prices": ended}


def _version(product: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    number = product["listing_version"]
    return {
        "_id": version_id(product["_id"], number),
        "product_id": product["_id"],
        "shop_id": product["shop_id"],
        "version": number,
        "currency": product["currency"],
        "external_id": product["external_id"],
        "shown": was_shown(product),
        "until": now,
    }


def version_id(product_id: str, number: int) -> str:
    """The id of the row of an old version."""
    return f"{product_id}:{number}"


def needed(number: int, current: int) -> range:
    """The old versions by which version ``number`` of a product, now at ``current``, can be shown: up to the next whole one."""
    return range(number, min(current, number + WHOLE_EVERY))


def shown_version(
    number: int, old: Mapping[int, Mapping[str, Any]], product: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Version ``number`` with its whole listing. ``old``: rows by number, those that are ``needed``; ``product``: as it is now.

    None where it is not kept.
    """
    if number not in old:
        return None
    behind = [old[number]]
    while "listing" not in behind[-1] and behind[-1]["version"] + 1 in old:
        behind.append(old[behind[-1]["version"] + 1])
    base = behind[-1] if "listing" in behind[-1] else product
    if base is None:
        return None
    listing = dict(base["listing"])
    for row in reversed(behind):
        ended = row.get("prices", {})
        listing["skus"] = [{**sku, **ended.get(sku["sku_id"], {})} for sku in listing["skus"]]
    return {**old[number], "listing": listing}
