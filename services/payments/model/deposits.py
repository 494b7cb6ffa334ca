"""Deposits (保证金): what a shop must have there, until when what is missing must be topped up, and what may be asked back.

``deposit_required`` is set by an admin. When the deposit falls below it, the shop has ``deposit_top_up`` to pay in what is missing
(``top_up_by``, a timer); then it is taken from available, and while something is missing still nothing can be withdrawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import DONE, Change, Decision
from services.chassis.errors import Refusal, invalid
from services.payments.model import ledger, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import Success
from services.payments.model.plan import Credit, Document, Plan

PAID_IN: Final = "d_"
"""The beginning of the number, at the channel, of a payment into a deposit."""
LONGEST: Final = 30
"""Days of T+n."""
REASON: Final = 500
"""Characters of a reason."""
_DEADLINE: Final = ("top_up_by", "deposit_overdue")


def watched(shop: Document, change: Change, now: datetime, top_up: timedelta) -> Change:
    """``change`` of a shop's document with the deadline that its deposit has after it: set, kept, or gone."""
    required = shop.get("deposit_required", 0)
    short = required - change.set.get("deposit", shop["deposit"])
    if short > 0 and "top_up_by" not in shop:
        return replace(change, set={**change.set, "top_up_by": now + top_up}, due=now + top_up)
    if short <= 0 and "top_up_by" in shop:
        # No update both sets and unsets a field: the timer that finds the deposit whole says so by setting one of these.
        kept = {name: value for name, value in change.set.items() if name not in _DEADLINE}
        return replace(change, set=kept, unset=(*change.unset, *_DEADLINE), due=None)
    return change


def payment(number: str, shop: Document, amount: int) -> dict[str, Any]:
    """A payment of a shop into its deposit, not yet placed at the channel. ``amount`` in minor units."""
    told = {"_id": number, "shop_id": str(shop["_id"]), "amount": amount, "currency": shop["currency"]}
    return {**told, "method": "native", "state": "open"}


def paid_in(row: Document, success: Success, now: datetime) -> tuple[Change, Plan] | Decision:
    """The channel told that a payment into a deposit was paid: only that credits it. DONE when that is known.

    Raises Refusal CONDITION_UNMET: another amount than was asked for.
    """
    if row["state"] == "paid":
        return DONE
    if (success.amount, success.currency) != (row["amount"], row["currency"]):
        message = f"deposit {row['_id']} was paid with {success.amount} {success.currency}, not {row['amount']}"
        raise Refusal("CONDITION_UNMET", message)
    shop_id, number = row["shop_id"], f"deposit:{success.transaction_id}"
    sides = (Posting(ledger.CLEARING, -success.amount), Posting(ledger.deposit(shop_id), success.amount))
    entry = Entry(number, "deposit", row["currency"], sides, (str(row["_id"]), success.transaction_id, shop_id))
    told = {"state": "paid", "transaction_id": success.transaction_id, "paid_at": now}
    credit = Credit(number, shop_id, "deposit", success.amount)
    return Change(set=told, unset=("next_at",)), Plan(entries=(entry,), credits=(credit,))


def moved_in(shop: Document, waiting: Sequence[Document], amount: int, number: str) -> Plan:
    """What the shop puts into its deposit out of its available. Raises Refusal INSUFFICIENT_FUNDS."""
    before, shop_id = purse.purse_of(shop).credited(waiting), str(shop["_id"])
    free = before.netted()[0].available
    if amount > free:
        message = f"{free} fen are available; pay the deposit at the channel instead"
        raise Refusal("INSUFFICIENT_FUNDS", message, info={"available": str(free)})
    after = replace(before, available=before.available - amount, deposit=before.deposit + amount)
    sides = (Posting(ledger.available(shop_id), -amount), Posting(ledger.deposit(shop_id), amount))
    entry = Entry(number, "deposit", shop["currency"], sides, (shop_id,), {"rule": "asked_for@shop"})
    return purse.written(shop, after, waiting, Plan(entries=(entry,)), shop["currency"])


def terms_set(shop: Document, asked: Mapping[str, Any], most: int, now: datetime, top_up: timedelta) -> Change:
    """An admin's word on a shop: ``settlement_days``, ``deposit_required``, ``reason``. Raises Refusal INVALID_ARGUMENT."""
    if not 0 < len(asked["reason"].strip()) <= REASON:
        raise invalid("reason", f"say why, in at most {REASON} characters")
    fields: dict[str, Any] = {"terms_reason": asked["reason"].strip()}
    days, required = asked.get("settlement_days"), asked.get("deposit_required")
    if days is None and required is None:
        raise invalid("settlement_days", "give settlement_days or deposit_required")
    if days is not None and not 0 <= days <= LONGEST:
        raise invalid("settlement_days", f"must be 0 to {LONGEST}")
    if required is not None and not 0 <= required <= most:
        raise invalid("deposit_required", f"must be 0 to {most} fen")
    fields |= {"settlement_days": days} if days is not None else {}
    fields |= {"deposit_required": required} if required is not None else {}
    after = {**shop, **fields}
    change = watched(after, Change(set=fields), now, top_up)
    answer = {name: {**after, **change.set}.get(name) for name in ("settlement_days", "deposit_required", "top_up_by")}
    if "top_up_by" in change.unset:
        answer["top_up_by"] = None
    return replace(change, answer={name: value for name, value in answer.items() if value is not None})


def released(shop: Document, waiting: Sequence[Document], amount: int, number: str) -> Plan:
    """What the shop asks back of its deposit, above the requirement. Raises Refusal INVALID_ARGUMENT, WRONG_STATE, INSUFFICIENT_FUNDS."""
    if amount <= 0:
        raise invalid("amount", "must be at least 1 fen")
    before = purse.purse_of(shop).credited(waiting)
    if before.held:
        raise Refusal("WRONG_STATE", f"the deposit stays while cases are open: {', '.join(sorted(before.held))}")
    if before.netted()[0].receivable:
        raise Refusal("WRONG_STATE", f"the shop owes {before.netted()[0].receivable} fen; its deposit stays until then")
    free = max(0, before.deposit - shop.get("deposit_required", 0))
    if amount > free:
        raise Refusal(
            "INSUFFICIENT_FUNDS", f"{free} fen of the deposit are above what is required", info={"free": str(free)}
        )
    shop_id = str(shop["_id"])
    sides = (Posting(ledger.deposit(shop_id), -amount), Posting(ledger.available(shop_id), amount))
    entry = Entry(number, "deposit_release", shop["currency"], sides, (shop_id,))
    after = replace(before, deposit=before.deposit - amount, available=before.available + amount)
    return purse.written(shop, after, waiting, Plan(entries=(entry,)), shop["currency"])


def due(shop: Document, waiting: Sequence[Document], now: datetime) -> Plan | Decision:
    """The time to top up is over: what is missing comes from available; what is missing still is overdue. DONE where it is not over."""
    if "top_up_by" not in shop or shop["top_up_by"] > now or shop.get("deposit_overdue"):
        return DONE
    shop_id = str(shop["_id"])
    before = purse.purse_of(shop).credited(waiting)
    short = max(0, shop["deposit_required"] - before.deposit)
    taken = min(short, before.netted()[0].available)
    after = replace(before, available=before.available - taken, deposit=before.deposit + taken)
    sides = (Posting(ledger.available(shop_id), -taken), Posting(ledger.deposit(shop_id), taken))
    number = f"top-up:{shop_id}:{shop['version']}"
    entries = (Entry(number, "top_up", shop["currency"], sides, (shop_id,)),) if taken else ()
    plan = purse.written(shop, after, waiting, Plan(entries=entries), shop["currency"])
    fields = dict(plan.shop.set) if plan.shop is not None else {}
    return replace(plan, shop=Change(set={**fields, "deposit_overdue": taken < short}, due=None))


def view(shop: Document, deposit: int) -> dict[str, Any]:
    """A shop's deposit as the API shows it; ``deposit`` with the credits that wait."""
    required = shop.get("deposit_required", 0)
    short = max(0, required - deposit)
    told: dict[str, Any] = {
        "shop_id": shop["_id"],
        "deposit": deposit,
        "required": required,
        "shortfall": short,
        "reason": shop.get("terms_reason", ""),
    }
    if short and "top_up_by" in shop:
        told |= {"top_up_by": shop["top_up_by"], "overdue": bool(shop.get("deposit_overdue"))}
    return told
