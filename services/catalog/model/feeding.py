"""The feed that search indexes follow: one row a fact that changes what is on sale."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import DONE, EARLY, Decision, apply

KEPT: Final = timedelta(days=9)
"""Longer than the event logs: until then the audit can ask whether an event came to its row."""
SHOP_CHANGED: Final = "jishi.accounts.shop.changed.v1"


def decide_row(found: Mapping[str, Any], event_type: str, sequence: int) -> Decision:
    """Once; that of a shop not before our copy of the shop tells what the event says.

    ``found``: {row: that of the feed, shop: the copy {sequence}}, each None where it is not there.
    """
    if found["row"] is not None:
        return DONE
    shop = found["shop"]
    if event_type == SHOP_CHANGED and (shop is None or shop["sequence"] < sequence):
        return EARLY
    return apply()


def row(event_type: str, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """{product_ids, expire_at}, of a shop {shop_id} too: which products are to be looked at again. ``now``: wall time."""
    if event_type == SHOP_CHANGED:
        return look_at_shop(data["shop_id"], now)
    products = data["product_ids"] if "product_ids" in data else [data["product_id"]]
    return {"product_ids": list(products), "expire_at": now + KEPT}


def look_at_shop(shop_id: str, now: datetime) -> dict[str, Any]:
    """The row that has everything looked at which the shop has on sale. ``now``: wall time."""
    return {"shop_id": shop_id, "product_ids": [], "expire_at": now + KEPT}
