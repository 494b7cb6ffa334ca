"""Profit sharing as the shop that shares sees it."""

from typing import Any

from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.model import sharing
from services.payments.store import Store


def of_order(store: Store, shop_id: str, order_id: str) -> dict[str, Any]:
    """What is frozen of an order and what was shared. Raises Refusal NOT_FOUND."""
    found = store.sharings.find_one({"_id": order_id})
    if found is None or found["shop_id"] != shop_id:
        raise not_found("sharing", order_id)
    return sharing.view(found)


def after_sharing(found: Document, out_order_no: str) -> dict[str, Any]:
    """An order's sharing as it was right after one of its shares: a repeated command answers the same."""
    numbers = [one["out_order_no"] for one in found["shares"]]
    shares = found["shares"][: numbers.index(out_order_no) + 1]
    left = shares[-1]["left"]
    return {**sharing.view(found), "shares": shares, "frozen": left, "state": "open" if left else "finished"}
