"""What payments answers without changing anything."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.payments.model import payable as payables
from services.payments.model import trial
from services.payments.model.purse import Purse, purse_of
from services.payments.model.whose import STAFF, Whose
from services.payments.store import Store

PAGE: Final = 50
LONGEST_PAGE: Final = 200
READS: Final = 8
"""How often a balance is read again because it was folded meanwhile."""


class Speaker(Protocol):
    """Who asks: kind (buyer, merchant, one of the staff), and whom they speak for."""

    @property
    def kind(self) -> str:
        """Of the token."""

    @property
    def subject(self) -> str:
        """User id."""

    @property
    def shop_id(self) -> str:
        """A merchant's shop."""


def whose(speaker: Speaker) -> Whose:
    """Whose payments they may see: a buyer's own, those of the shop's tills, staff anybody's."""
    if speaker.kind == "merchant":
        return Whose("merchant", speaker.shop_id)
    return Whose("buyer", speaker.subject) if speaker.kind == "buyer" else Whose(STAFF)


def payment(store: Store, whose: Whose, payment_id: str) -> tuple[Document, str]:
    """The payable of a payment and the attempt's number. Raises Refusal NOT_FOUND."""
    number = payables.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    if found is None or not whose.sees(found, found["payments"][payables.position(found, number)]):
        raise not_found("payment", payment_id)
    return found, number


def payment_view(found: Document, number: str) -> dict[str, Any]:
    """One attempt as the API shows it."""
    attempt = found["payments"][payables.position(found, number)]
    return {
        **attempt,
        "state": "open" if attempt["state"] == payables.REVERSING else attempt["state"],
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


def as_closed(found: Document, number: str) -> dict[str, Any]:
    """One attempt as it was closed, however late a repeated command asks."""
    return {**as_opened(found, number), "state": "closed"}


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
    """A shop's document (with ``pending`` and ``withdrawing``) and its balances with all credits, folded or not. Raises Refusal NOT_FOUND, UNAVAILABLE."""
    for _ in range(READS):
        pending, shop = store.pending_of(shop_id), store.shop(shop_id)
        if shop is None:
            raise not_found("shop", shop_id)
        waiting = store.waiting_credits(shop_id, limit=0)
        again = store.shop(shop_id) if waiting else shop
        is_still = again is not None and again["version"] == shop["version"]
        if is_still and (not pending or pending == store.pending_of(shop_id)):
            beside = {"pending": pending, "withdrawing": store.withdrawing_of(shop_id)}
            return {**shop, **beside}, purse_of(shop).credited(waiting)
    raise Refusal("UNAVAILABLE", f"the balance of shop {shop_id} is moving; try again", retry_after_s=1)


def balance_view(shop: Document, purse: Purse) -> dict[str, Any]:
    """Balances as the API shows them."""
    return {
        **purse.fields(),
        "shop_id": purse.shop_id,
        "currency": shop["currency"],
        "pending": shop.get("pending", 0),
        "withdrawing": shop.get("withdrawing", 0),
        "held": sum(purse.held.values()),
        "holds": dict(purse.held),
    }


def trial_balance(store: Store, at: datetime | None = None) -> tuple[list[dict[str, Any]], bool]:
    """Debits and credits by kind of account and currency beside what the documents hold, and whether all agrees.

    ``at``: only of what was posted until then, beside nothing.
    """
    if at is not None:
        rows = trial.table(store.trial(at), {})
        return rows, trial.is_balanced(rows)
    held = trial.stored(store.escrows(), store.all_shops(), store.all_waiting_credits())
    rows = trial.table(store.trial(), held | _beside(store))
    return rows, trial.is_balanced(rows)


def _beside(store: Store) -> dict[trial.Key, int]:
    """What rows beside the guarded documents hold."""
    return {
        **trial.beside("shop:pending", store.all_pending()),
        **trial.beside("shop:withdrawing", store.all_withdrawing()),
        **trial.beside("redpack", store.all_packets()),
        **trial.beside("share:frozen", store.all_frozen()),
        **trial.beside("buyer:wallet", store.all_wallets()),
    }


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
