"""The buyer's wallet (零钱): topped up by a payment at the channel, spent on a checkout in the one write that pays it. Pure.

A payment out of the wallet has a number that begins ``w_`` and never goes to the channel; so what is refunded of it goes back into
the wallet, whatever the reason of the refund. A top-up's number begins ``t_``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from services.chassis.decisions import DONE, Change, Decision
from services.chassis.errors import Refusal, invalid
from services.payments.model import ledger, payable
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import Success
from services.payments.model.plan import Document, Plan

SPENT: Final = "w_"
TOPPED_UP: Final = "t_"
TOPUP_METHODS: Final = ("native", "jsapi")


def is_spent(out_trade_no: str) -> bool:
    """Whether a payment came out of the wallet."""
    return out_trade_no.startswith(SPENT)


def transaction_id(number: str) -> str:
    """The 28 digits of a payment out of the wallet, which follow from its number."""
    digits = int(hashlib.sha256(number.encode()).hexdigest(), 16) % 10**24
    return f"4300{digits:024d}"


def spend(found: Document, attempt: Mapping[str, Any], now: datetime) -> tuple[Change, Plan]:
    """Pay an open payable (``found``, which may not be stored yet) with ``attempt`` out of the wallet: its change, and the entry.

    Raises Refusal ALREADY_PAID, PAYMENT_CLOSED, CONDITION_UNMET.
    """
    index, number = len(found["payments"]), attempt["out_trade_no"]
    tried = {**found, "payments": [*found["payments"], {**attempt, "state": payable.WAITING}]}
    success = Success(number, transaction_id(number), attempt["amount"], found["currency"])
    plan = payable.collect(tried, success, now)
    if isinstance(plan, Decision) or plan.payable is None or plan.refunds:
        message = f"the time to pay checkout {found['_id']} is over; place the order again"
        raise Refusal("PAYMENT_CLOSED", message, info={"checkout_id": found["_id"]})
    change, mark = plan.payable, f"payments.{index}."
    paid = {
        **attempt,
        **{name.removeprefix(mark): value for name, value in change.set.items() if name.startswith(mark)},
    }
    rest = {name: value for name, value in change.set.items() if not name.startswith(mark)}
    pushed = {**change.push, "payments": [paid], "trade_nos": [number]}
    entries = tuple(drawn(entry, found["buyer_id"]) for entry in plan.entries)
    return replace(change, set=rest, push=pushed), Plan(entries=entries)


def applied(found: Document, change: Change) -> dict[str, Any]:
    """``found`` after a change of ``spend``: for a payable that is stored for the first time when it is paid."""
    pushed = {name: [*found[name], *items] for name, items in change.push.items()}
    return {**found, **change.set, **pushed}


def drawn(entry: Entry, buyer_id: str) -> Entry:
    """The entry with the wallet in the place of the channel, and the wallet's owner among what it touches."""
    account = ledger.wallet(buyer_id)
    sides = (replace(one, account=account) if one.account == ledger.CLEARING else one for one in entry.postings)
    return replace(entry, postings=tuple(sides), refs=(*entry.refs, wallet_ref(buyer_id)))


def wallet_ref(buyer_id: str) -> str:
    """What the entries of a wallet are found by."""
    return f"wallet:{buyer_id}"


def is_wallet_ref(ref: str) -> bool:
    """Whether a ref of an entry names a buyer, which shops are not told."""
    return ref.startswith(wallet_ref(""))


def amount_in(entry: Mapping[str, Any], buyer_id: str) -> int:
    """What a stored entry does to the wallet, in fen."""
    account = ledger.wallet(buyer_id)
    return sum(one["amount"] for one in entry["postings"] if one["account"] == account)


def to_wallet(plan: Plan) -> Plan:
    """A plan whose refunds of payments out of the wallet go back into it."""
    back = {f"refund:{one.id}": one.buyer_id for one in plan.refunds if is_spent(one.out_trade_no)}
    if not back:
        return plan
    entries = (drawn(entry, back[entry.id]) if entry.id in back else entry for entry in plan.entries)
    return replace(plan, entries=tuple(entries))


# ------------------------------------------------------------------------------------------------------------------------ top-ups


def topup(number: str, buyer_id: str, amount: int, method: str, most: int) -> dict[str, Any]:
    """A top-up, not yet placed at the channel. ``amount`` in fen, at most ``most``. Raises Refusal INVALID_ARGUMENT."""
    if method not in TOPUP_METHODS:
        raise invalid("method", f"must be one of {', '.join(TOPUP_METHODS)}")
    if not 0 < amount <= most:
        raise invalid("amount", f"must be 1 to {most} fen")
    told = {"_id": number, "buyer_id": buyer_id, "amount": amount, "currency": "CNY", "method": method}
    return {**told, "state": "open"}


def topped_up(row: Document, success: Success, now: datetime) -> tuple[Change, Entry] | Decision:
    """The channel told that a top-up was paid; DONE when that is known.

    A payment after the trade was taken for closed is the buyer's money all the same. Raises Refusal CONDITION_UNMET: another amount.
    """
    if row["state"] == "paid":
        return DONE
    if (success.amount, success.currency) != (row["amount"], row["currency"]):
        message = f"top-up {row['_id']} was paid with {success.amount} {success.currency}, not {row['amount']}"
        raise Refusal("CONDITION_UNMET", message)
    sides = (Posting(ledger.CLEARING, -success.amount), Posting(ledger.wallet(row["buyer_id"]), success.amount))
    refs = (str(row["_id"]), success.transaction_id, wallet_ref(row["buyer_id"]))
    entry = Entry(f"topup:{success.transaction_id}", "topup", row["currency"], sides, refs)
    told = {"state": "paid", "transaction_id": success.transaction_id, "paid_at": now}
    return Change(set=told, unset=("next_at",)), entry
