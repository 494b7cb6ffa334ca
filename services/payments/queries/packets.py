"""Red packets as their shop and those who claim see them."""

from typing import Any

from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.model import packets
from services.payments.store import Store


def packet(store: Store, packet_id: str, shop_id: str | None, buyer_id: str | None) -> dict[str, Any]:
    """A packet: the shop's own, or of whoever knows its id. Raises Refusal NOT_FOUND."""
    found = store.packets.find_one({"_id": packet_id})
    if found is None or (shop_id is not None and found["shop_id"] != shop_id):
        raise not_found("packet", packet_id)
    return packets.view(found, buyer_id, with_names=shop_id is None and buyer_id is None)


def as_sent(found: Document, giver: str | None = None) -> dict[str, Any]:
    """A packet as it was made, to its shop or the buyer who gives it: a repeated command answers the same."""
    return packets.view({**found, "claims": [], "state": "open", "returned": 0}, giver)
