"""A buyer's own addresses."""

from collections.abc import Mapping
from typing import Any

from services.chassis.errors import not_found
from services.orders.model import addresses
from services.orders.store import Store


def book(store: Store, buyer_id: str) -> list[dict[str, Any]]:
    """All addresses of the buyer, the default first, then in the order in which they were added."""
    found = store.address_book(buyer_id) or addresses.empty(buyer_id)
    shown = [_shown(row, found["default"]) for row in found["addresses"]]
    return sorted(shown, key=lambda row: not row["is_default"])


def one(store: Store, buyer_id: str, address_id: str) -> dict[str, Any]:
    """One of them. Raises Refusal NOT_FOUND, for another's too."""
    found = store.address_book(buyer_id) or addresses.empty(buyer_id)
    row = addresses.found(found, address_id)
    if row is None:
        raise not_found("address", address_id)
    return _shown(row, found["default"])


def _shown(row: Mapping[str, Any], default: str) -> dict[str, Any]:
    return {
        "address_id": row["address_id"],
        "etag": row["etag"],
        "address": dict(row),
        "is_default": row["address_id"] == default,
    }
