"""What payments answers without changing anything."""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.payments.model import payable as payables
from services.payments.model import trial
from services.payments.model.purse import Purse, purse_of
from services.payments.store import Store

PAGE: Final = 50
LONGEST_PAGE: Final = 200
READS: Final = 8
"""How often a balance is read again because it was folded meanwhile."""


def payment(store: Store, buyer_id: str | None, payment_id: str) -> tuple[Document, str]:
    """The payable of a payment and the attempt's number. ``buyer_id`` None: whosever it is. Raises Refusal NOT_FOUND."""
    number = payables.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    if found is None or (buyer_id is not None and found["buyer_id"] != buyer_id):
        raise not_found("payment", payment_id)
    return found, number


def payment_view(found: Document, number: str) -> dict[str, Any]:
    """One attempt as the API shows it."""
    attempt = found["payments"][payables.position(found, number)]
    return {
        **attempt,
        "checkout_id": found["_id"],
        "currency": found["currency"],
        "pay_by": found["pay_by"],
    }


def as_opened(found: Document, number: str) -> dict[str, Any]:
    """One attempt as it was opened, whatever became of it: a repeated command answers the same."""
    shown = payment_view(found, number)
    return {name: value for name, value in shown.items() if name not in ("transaction_id", "paid_at")} | {
        "state": "open"
    }


def refunds(store: Store, asked: Mapping[str, Any], buyer_id: str | None, shop_id: str | None) -> list[Document]:
    """Refunds of a checkout and/or order that the caller may see (None: sees all). Raises Refusal INVALID_ARGUMENT.

    An order's are its own, and the payments that were returned whole and were meant for it; those are no single shop's to see.
    """
    query: Document = {"checkout_id": asked["checkout_id"]} if asked["checkout_id"] else {}
    if asked["order_id"]:
        query["$or"] = [{"order_id": asked["order_id"]}, {"order_ids": asked["order_id"]}]
    if not query:
        raise invalid("checkout_id", "give a checkout_id or an order_id")
    owned = {"buyer_id": buyer_id, "shop_id": shop_id}
    return store.refunds_of({**query, **{name: value for name, value in owned.items() if value is not None}})


def balance(store: Store, shop_id: str) -> tuple[Document, Purse]:
    """A shop's document and its balances with all credits, folded or not. Raises Refusal NOT_FOUND, UNAVAILABLE."""
    for _ in range(READS):
        shop = store.shop(shop_id)
        if shop is None:
            raise not_found("shop", shop_id)
        waiting = store.waiting_credits(shop_id, limit=0)
        again = store.shop(shop_id) if waiting else shop
        if again is not None and again["version"] == shop["version"]:
            return shop, purse_of(shop).credited(waiting)
    raise Refusal("UNAVAILABLE", f"the balance of shop {shop_id} is moving; try again", retry_after_s=1)


def balance_view(shop: Document, purse: Purse) -> dict[str, Any]:
    """Balances as the API shows them. Settlement is at once (T+0), so nothing is pending."""
    return {
        **purse.fields(),
        "shop_id": purse.shop_id,
        "currency": shop["currency"],
        "pending": 0,
        "held": sum(purse.held.values()),
        "holds": dict(purse.held),
    }


def balance_told(shop: Document) -> dict[str, Any]:
    """The balances that a command remembered, as the API shows them."""
    return balance_view(shop, purse_of(shop))


def trial_balance(store: Store) -> tuple[list[dict[str, Any]], bool]:
    """Debits and credits by kind of account and currency beside what the documents hold, and whether all agrees."""
    rows = trial.table(store.trial(), trial.stored(store.escrows(), store.all_shops(), store.all_waiting_credits()))
    return rows, trial.is_balanced(rows)


def entries(
    store: Store, ref: str, after: list[Any] | None, wanted: int
) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """A page of entries that touch ``ref``, oldest first, and where the next one begins. ``after``: (posted_at, id).

    Raises Refusal INVALID_ARGUMENT.
    """
    if not ref:
        raise invalid("ref", "give the id of a checkout, order, payment, transaction, refund, case or shop")
    size = min(wanted, LONGEST_PAGE) if wanted > 0 else PAGE
    found = store.entries_of(ref, after, size + 1)
    rest = [found[size - 1]["posted_at"], found[size - 1]["_id"]] if len(found) > size else None
    return [{**entry, "entry_id": entry["_id"]} for entry in found[:size]], rest
