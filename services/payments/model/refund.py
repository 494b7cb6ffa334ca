"""The way back: a refund's row from the moment the money is set aside until the channel says that the buyer has it.

``pending → succeeded``; a refund that the channel calls ABNORMAL is asked for again with the same number until it succeeds. One that it
refuses for good, because of its own limits or because the buyer's account there is gone, goes into the buyer's wallet (``redirected``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from services.chassis.decisions import Change, Fact
from services.payments.model import ledger
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Document, Refund

FOR_GOOD: Final = frozenset({"INVALID_REQUEST", "USER_ACCOUNT_ABNORMAL"})
"""Codes by which the channel refuses a refund whatever the time: its limits (申请退款), or the buyer's account there (用户账户异常)."""
WALLET: Final = "wallet"


def row(refund: Refund, now: datetime, wall_ms: int) -> tuple[dict[str, Any], tuple[Fact, ...]]:
    """The refund as it is first stored, ready for the jobs process (``next_at``); one of nothing, or back into the wallet, is over at once."""
    document: dict[str, Any] = {
        "_id": refund.id,
        **{name: getattr(refund, name) for name in Refund.__slots__ if name not in ("id", "order_ids", "sources")},
        "order_ids": list(refund.order_ids),
        "sources": [{"account": source.account, "amount": source.amount} for source in refund.sources],
        "attempts": 0,
        "state": "pending",
    }
    if refund.amount and not refund.out_trade_no.startswith("w_"):
        return {**document, "next_at": wall_ms}, ()
    over = {**document, "state": "succeeded", "refunded_at": now}
    return over, (_fact(over, now),)


def succeeded(document: Document, now: datetime) -> Change | None:
    """The channel said that the buyer has it; None when that is known."""
    if document["state"] == "succeeded":
        return None
    return Change(
        set={"state": "succeeded", "refunded_at": now},
        unset=("next_at", "error"),
        facts=(_fact(document, now),),
    )


def redirected(document: Document, why: str, now: datetime) -> tuple[Change, Entry] | None:
    """The channel refused it for good (``why``): what had left for the channel goes into the buyer's wallet; None when it is over."""
    if document["state"] == "succeeded":
        return None
    number, buyer_id, amount = str(document["_id"]), document["buyer_id"], document["amount"]
    sides = (Posting(ledger.CLEARING, -amount), Posting(ledger.wallet(buyer_id), amount))
    names = ("checkout_id", "order_id", "transaction_id", "case_id")
    refs = (number, *(document[name] for name in names), f"wallet:{buyer_id}")
    entry = Entry(f"redirect:{number}", "redirect", document["currency"], sides, refs, {"channel_refused": why})
    told = {"state": "succeeded", "refunded_at": now, "paid_to": WALLET, "error": why}
    return Change(set=told, unset=("next_at",), facts=(_fact(document, now),)), entry


def waits(
    document: Document, wall_ms: int, pauses_s: Sequence[int], *, abnormal: bool = False, error: str = ""
) -> Change | None:
    """Not yet: look again after a pause that grows with the attempts. None when it is over meanwhile."""
    if document["state"] == "succeeded":
        return None
    attempts = document["attempts"]
    pause_s = pauses_s[min(attempts, len(pauses_s) - 1)]
    fields = {
        "state": "abnormal" if abnormal else "pending",
        "attempts": attempts + 1,
        "error": error,
        "next_at": wall_ms + pause_s * 1000,
    }
    return Change(set=fields)


def _fact(document: Document, now: datetime) -> Fact:
    names = ("checkout_id", "order_id", "case_id", "amount", "cause", "sources")
    data = {name: document[name] for name in names}
    return Fact("jishi.payments.refund.succeeded.v1", {"refund_id": document["_id"], **data, "refunded_at": now})
