"""Withdrawals (提现): from a shop's available, by way of ``withdrawing``, to its bank account.

``processing → paid | failed``. The debit is guarded like every debit of a shop; a withdrawal that the bank refuses or returns is available
again, fee and all. The row's id is the number at the bank, so asking the bank again can never pay twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.chassis.decisions import DONE, Change, Decision
from services.chassis.errors import Refusal, Violation, invalid
from services.payments.model import ledger, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Document, Plan, Row

ROWS: Final = "withdrawals"
DIGITS: Final = (8, 28)
"""Digits of a bank account's number."""
NAME: Final = 60
"""Characters of a holder's or a bank's name."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy in force, in minor units; ``versions`` name it."""

    least: int
    most: int
    day_most: int
    fee: int
    versions: Mapping[str, str]


def checked_account(asked: Mapping[str, Any]) -> dict[str, str]:
    """A bank account as it was asked for. Raises Refusal INVALID_ARGUMENT, which names all that is wrong."""
    found = {name: str(asked.get(name, "")).strip() for name in ("holder", "number", "bank")}
    number = found["number"].replace(" ", "")
    wrong = [
        Violation(f"account.{name}", f"give a name of at most {NAME} characters")
        for name in ("holder", "bank")
        if not 0 < len(found[name]) <= NAME
    ]
    if not (number.isascii() and number.isdigit() and DIGITS[0] <= len(number) <= DIGITS[1]):
        wrong.append(Violation("account.number", f"must be {DIGITS[0]} to {DIGITS[1]} digits"))
    if wrong:
        raise Refusal("INVALID_ARGUMENT", wrong[0].message, tuple(wrong))
    return {**found, "number": number}


def request(
    shop: Document, waiting: Sequence[Document], row: Document, limits: Limits, wall_ms: int, *, today: int
) -> Plan:
    """The plan of a new withdrawal ``row`` (``_id``, ``amount``, ``account``) of a shop with its waiting credits.

    ``today``: minor units of those asked for since midnight (CST) that did not fail. What the shop owes is taken first. Raises Refusal INVALID_ARGUMENT, WRONG_STATE, INSUFFICIENT_FUNDS, CONDITION_UNMET.
    """
    amount, shop_id = row["amount"], str(shop["_id"])
    if not limits.least <= amount <= limits.most:
        raise invalid("amount", f"must be {limits.least} to {limits.most} fen")
    _may_withdraw(shop)
    total = amount + limits.fee
    before = purse.purse_of(shop).credited(waiting)
    free = before.netted()[0].available
    if total > free:
        told = f"{free} fen can be withdrawn, the fee of {limits.fee} fen included"
        raise Refusal("INSUFFICIENT_FUNDS", told, info={"available": str(free), "fee": str(limits.fee)})
    if today + amount > limits.day_most:
        raise Refusal(
            "CONDITION_UNMET", f"{limits.day_most - today} fen are left to withdraw today (CST); try tomorrow"
        )
    sides = (
        Posting(ledger.available(shop_id), -total),
        Posting(ledger.withdrawing(shop_id), amount),
        *((Posting(ledger.FEE, limits.fee),) if limits.fee else ()),
    )
    entry = Entry(f"withdraw:{row['_id']}", "withdraw", shop["currency"], sides, (row["_id"],), limits.versions)
    document = {
        **row,
        "shop_id": shop_id,
        "currency": shop["currency"],
        "fee": limits.fee,
        "state": "processing",
        "attempts": 0,
        "open": shop_id,
        "next_at": wall_ms,
    }
    plan = Plan(entries=(entry,), rows=(Row(ROWS, document),))
    after = replace(before, available=before.available - total)
    return purse.written(shop, after, waiting, plan, shop["currency"])


def _may_withdraw(shop: Document) -> None:
    if shop["state"] == "suspended":
        raise Refusal("WRONG_STATE", "the shop is suspended; nothing can be withdrawn until it is open again")
    if shop.get("deposit_overdue"):
        missing = shop["deposit_required"] - shop["deposit"]
        raise Refusal("WRONG_STATE", f"the deposit lacks {missing} fen; pay them in first")


def paid(row: Document, now: datetime) -> Plan | Decision:
    """The bank has paid it out. DONE when that is known."""
    if row["state"] != "processing":
        return DONE
    sides = (Posting(ledger.withdrawing(row["shop_id"]), -row["amount"]), Posting(ledger.BANK, row["amount"]))
    entry = Entry(f"payout:{row['_id']}", "payout", row["currency"], sides, (row["_id"],))
    return Plan(entries=(entry,), rows=(Row(ROWS, row, _ended("paid", now)),))


def failed(row: Document, why: str, now: datetime) -> Plan | Decision:
    """The bank refused or returned it: available again. DONE when that is known."""
    if row["state"] != "processing":
        return DONE
    shop_id, total, number = row["shop_id"], row["amount"] + row["fee"], f"withdraw-back:{row['_id']}"
    sides = (
        Posting(ledger.withdrawing(shop_id), -row["amount"]),
        *((Posting(ledger.FEE, -row["fee"]),) if row["fee"] else ()),
        Posting(ledger.available(shop_id), total),
    )
    return Plan(
        entries=(Entry(number, "withdraw_back", row["currency"], sides, (row["_id"],)),),
        credits=(Credit(number, shop_id, "available", total),),
        rows=(Row(ROWS, row, _ended("failed", now, why)),),
    )


def _ended(state: str, now: datetime, why: str = "") -> Change:
    return Change(set={"state": state, "ended_at": now, "failure": why}, unset=("next_at", "error", "open"))


def waits(row: Document, wall_ms: int, pauses_s: Sequence[int], error: str = "") -> Change | None:
    """Not yet: ask the bank again after a pause that grows with the attempts. None when it is over meanwhile."""
    if row["state"] != "processing":
        return None
    pause_s = pauses_s[min(row["attempts"], len(pauses_s) - 1)]
    return Change(set={"attempts": row["attempts"] + 1, "error": error, "next_at": wall_ms + pause_s * 1000})


def view(row: Document, *, as_requested: bool = False) -> dict[str, Any]:
    """A withdrawal as the API shows it; ``as_requested``: as it was then, whatever became of it. The account's last four digits only."""
    shown = {name: row[name] for name in ("shop_id", "amount", "fee", "currency", "state", "created_at")}
    account = {**row["account"], "number": f"****{row['account']['number'][-4:]}"}
    shown |= {"withdrawal_id": row["_id"], "account": account}
    if as_requested:
        return {**shown, "state": "processing"}
    return shown | {name: row[name] for name in ("ended_at", "failure") if name in row}
