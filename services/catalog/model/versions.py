"""Versions of a listing: what buyers saw."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

PRICES: Final = ("price", "original_price")
WHOLE_EVERY: Final = 16
"""So many rows are read at most to show an old version."""


def was_shown(product: Mapping[str, Any]) -> bool:
    """Whether the current version of ``product`` has been on sale. Rows from before this was noted: whether any version was."""
    return bool(product.get("shown", product["ever_listed"]))


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
