"""What may be asked about cases."""

from typing import Any

from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.disputes.model import Party, owns
from services.disputes.store import Store

PAGE_DEFAULT, PAGE_MOST = 20, 100


def case(store: Store, party: Party, case_id: str) -> Document:
    """One case that the party may see. Raises Refusal NOT_FOUND, for another's case too."""
    found = store.case(case_id)
    if found is None or not owns(party, found):
        raise not_found("case", case_id)
    return found


def cases(store: Store, party: Party, asked: dict[str, Any]) -> tuple[list[Document], str]:
    """A page of cases, newest first: a buyer's own, a shop's own, or for the platform those in a state or of an order.

    ``asked``: state, order_id, page_size (default 20, at most 100), page_token.
    """
    if asked["page_size"] < 0:
        raise invalid("page_size", "must not be negative")
    filters = {name: asked[name] for name in ("state", "order_id") if asked.get(name)}
    if party.role == "buyer":
        filters["buyer_id"] = party.owner
    elif party.role == "merchant":
        if not party.owner:
            raise Refusal("PERMISSION_DENIED", "this token speaks for no shop; get one after the shop is approved")
        filters["shop_id"] = party.owner
    elif not filters:
        raise invalid("state", "the platform's list needs a state or an order_id")
    return store.page(filters, min(asked["page_size"] or PAGE_DEFAULT, PAGE_MOST), asked["page_token"])


def shown(party: Party, case: Document) -> Document:
    """The case as the party may see it: who acted for the other side and for the platform is told to the platform only.

    A merchant knows the buyer by the openid in the order.
    """
    if party.role == "platform":
        return case
    timeline = [
        {**step, "actor_id": step["actor_id"] if step["actor"] == party.role else ""} for step in case["timeline"]
    ]
    ruling = {**case["ruling"], "ruled_by": "", "confirmed_by": ""} if "ruling" in case else None
    buyer_id = case["buyer_id"] if party.role == "buyer" else ""
    return {**case, "timeline": timeline, "ruling": ruling, "buyer_id": buyer_id, "rejected_rulings": []}
