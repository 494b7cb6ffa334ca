"""What a buyer sees of the wallet."""

from typing import Any

from services.chassis.mongo import Document
from services.payments import queries
from services.payments.model import wallet
from services.payments.store import Store


def ref(buyer_id: str) -> str:
    """What the wallet's entries are found by."""
    return wallet.wallet_ref(buyer_id)


def movements(
    store: Store, buyer_id: str, after: list[Any] | None, wanted: int
) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """A page of what came into the wallet and went out of it, oldest first, and where the next one begins."""
    found, rest = queries.entries(store, ref(buyer_id), after, wanted)
    return [_movement(one, buyer_id) for one in found], rest


def _movement(entry: Document, buyer_id: str) -> dict[str, Any]:
    checkout = entry["refs"][0] if entry["kind"] in ("collect", "refund") else ""
    return {**entry, "amount": wallet.amount_in(entry, buyer_id), "checkout_id": checkout}


def topup_view(row: Document) -> dict[str, Any]:
    """A top-up as the API shows it."""
    return {**row, "topup_id": row["_id"], "out_trade_no": row["_id"]}


def topup_as_opened(row: Document) -> dict[str, Any]:
    """A top-up as it was opened, whatever became of it: a repeated command answers the same."""
    kept = {name: value for name, value in row.items() if name not in ("transaction_id", "paid_at")}
    return topup_view({**kept, "state": "open"})
