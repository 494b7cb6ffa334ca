"""A shop shares an order's profit with other shops; a receiver gives its part back."""

from collections.abc import Mapping
from typing import Any

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.model import sharing
from services.payments.model.escrow import place_of
from services.payments.model.plan import Books, Plan
from services.payments.store import Store
from services.payments.store.posting import own_books, post


def limits() -> sharing.Limits:
    """What the policy in force allows."""
    rules, now = policy.load("payments"), clock.business()
    most, receivers, calls = (
        rules.value(name, now) for name in ("sharing_most_bp", "sharing_receivers", "sharing_calls")
    )
    return sharing.Limits(
        most, receivers, calls, rules.span("sharing_life", now), rules.version("sharing_most_bp", now)
    )


def mark(store: Store, cause: Cause, asked: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Mark an order (``shop_id``, ``checkout_id``, ``order_id``) before it completes: what it says of itself, and whether it was.

    Raises Refusal NOT_FOUND, WRONG_STATE.
    """
    payable = store.payable(asked["checkout_id"])
    index = place_of(payable, asked["order_id"]) if payable is not None else None
    if payable is None or index is None or payable["shares"][index]["shop_id"] != asked["shop_id"]:
        raise not_found("order", asked["order_id"])
    place, terms = index, limits()

    def decide(found: Document) -> Change | None:
        return sharing.marked(found["shares"][place], place, terms)

    outcome = commit.change(store.payables, asked["checkout_id"], cause, decide, kind="checkout")
    return sharing.view_marked(outcome.document["shares"][place]), outcome.replayed


def share_profit(store: Store, cause: Cause, asked: Mapping[str, Any]) -> tuple[Document, bool]:
    """Share what is frozen of an order: its row, and whether this very sharing was made before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, WRONG_STATE, INSUFFICIENT_FUNDS, CONDITION_UNMET.
    """
    terms, shop_id, order_id = limits(), asked["shop_id"], asked["order_id"]
    receivers = sharing.checked(asked, terms)

    def attempt() -> tuple[Document, bool]:
        found = _own(store, shop_id, order_id)
        if sharing.made(found, asked["out_order_no"], receivers):
            return found, True
        names = [one["account"] for one in receivers]
        known = {row["_id"]: row for row in store.shops.find({"_id": {"$in": names}}, {"state": 1, "currency": 1})}
        sharing.check_receivers(receivers, known, shop_id, found["currency"])
        unfreeze = bool(asked.get("unfreeze_unsplit"))
        plan = sharing.share(found, asked["out_order_no"], receivers, terms, clock.business(), unfreeze=unfreeze)
        post(store, plan, Books(store.payable(found["checkout_id"])), cause)
        return _own(store, shop_id, order_id), False

    return commit.settled(f"the sharing of order {order_id}", attempt)


def unfreeze(store: Store, cause: Cause, shop_id: str, order_id: str) -> bool:
    """What is frozen of an order is the shop's; whether this command said so before. Nothing frozen is no error. Raises Refusal NOT_FOUND."""

    def attempt() -> bool:
        found = _own(store, shop_id, order_id)
        if commit.answered(store.database, cause) is not None:
            return True
        plan, remembered = sharing.unfrozen(found), Transaction(store.client).answer(store.database, cause, order_id)
        plan = plan if isinstance(plan, Plan) else Plan()
        post(store, plan, Books(store.payable(found["checkout_id"])), cause, remembered)
        return False

    return commit.settled(f"the sharing of order {order_id}", attempt)


def return_share(store: Store, cause: Cause, asked: Mapping[str, Any]) -> bool:
    """A receiver (``shop_id``) gives part of what it got back; whether this very return was made before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, INSUFFICIENT_FUNDS.
    """
    shop_id, order_id = asked["shop_id"], asked["order_id"]

    def attempt() -> bool:
        found = store.sharings.find_one({"_id": order_id})
        if found is None:
            raise not_found("sharing", order_id)
        if sharing.returned_before(found, asked, shop_id):
            return True
        shop, waiting = own_books(store, shop_id)
        post(store, sharing.returned(found, shop, waiting, asked), Books(None, shop, waiting), cause)
        return False

    return commit.settled(f"the sharing of order {order_id}", attempt)


def _own(store: Store, shop_id: str, order_id: str) -> Document:
    """The shop's own sharing. Raises Refusal NOT_FOUND."""
    found = store.sharings.find_one({"_id": order_id})
    if found is None or found["shop_id"] != shop_id:
        raise not_found("sharing", order_id)
    return found
