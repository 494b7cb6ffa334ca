"""A shop's balance document and what its debits may take: available, holds, deposit, receivable.

Only debits touch the document, guarded by its version, so no balance can fall below zero. Credits are rows of their own; a debit
folds those that wait in the same write, and so does a timer. Whenever money becomes available, what the shop owes is taken first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.chassis.decisions import DONE, STALE, Change, Decision
from services.payments.model import ledger
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Document, Plan, Source


@dataclass(frozen=True, slots=True)
class Purse:
    """The balances of one shop, in minor units, none below zero; ``held`` by case."""

    shop_id: str
    available: int
    deposit: int
    receivable: int
    held: Mapping[str, int]

    def credited(self, rows: Sequence[Document]) -> "Purse":
        """With waiting credits folded in."""
        purse = self
        for row in rows:
            purse = purse._credited(row["pocket"], row["amount"], row.get("case_id", ""))
        return purse

    def _credited(self, pocket: str, amount: int, case_id: str) -> "Purse":
        if pocket == "hold":
            return self.with_held(case_id, self.held.get(case_id, 0) + amount)
        if pocket == "deposit":
            return replace(self, deposit=self.deposit + amount)
        return replace(self, available=self.available + amount)

    def with_held(self, case_id: str, amount: int) -> "Purse":
        """With ``amount`` held for the case; nothing held leaves no trace."""
        held = {name: value for name, value in self.held.items() if name != case_id}
        return replace(self, held={**held, case_id: amount} if amount else held)

    def fields(self) -> dict[str, Any]:
        """The balances as the document stores them."""
        return {
            "available": self.available,
            "deposit": self.deposit,
            "receivable": self.receivable,
            "held": dict(self.held),
        }

    def hold(self, case_id: str, wanted: int) -> tuple["Purse", int, int]:
        """Hold up to ``wanted`` for a case, from available, then deposit: the purse, and what each gave."""
        from_available = min(wanted, self.available)
        from_deposit = min(wanted - from_available, self.deposit)
        drawn = replace(self, available=self.available - from_available, deposit=self.deposit - from_deposit)
        total = self.held.get(case_id, 0) + from_available + from_deposit
        return drawn.with_held(case_id, total), from_available, from_deposit

    def release(self, case_id: str, deposit_first: int) -> tuple["Purse", int, int]:
        """End a hold: up to ``deposit_first`` back to the deposit it came from, the rest available. The purse, and what each got."""
        left = self.held.get(case_id, 0)
        to_deposit = min(left, deposit_first)
        freed = replace(self, available=self.available + left - to_deposit, deposit=self.deposit + to_deposit)
        return freed.with_held(case_id, 0), left - to_deposit, to_deposit

    def draw(self, amount: int, case_id: str) -> tuple["Purse", tuple[Source, ...]]:
        """Take ``amount`` from hold, then available, then deposit; the platform pays what is short and the shop owes it."""
        from_hold = min(amount, self.held.get(case_id, 0))
        from_available = min(amount - from_hold, self.available)
        from_deposit = min(amount - from_hold - from_available, self.deposit)
        short = amount - from_hold - from_available - from_deposit
        drawn = replace(
            self.with_held(case_id, self.held.get(case_id, 0) - from_hold),
            available=self.available - from_available,
            deposit=self.deposit - from_deposit,
            receivable=self.receivable + short,
        )
        taken = (("hold", from_hold), ("available", from_available), ("deposit", from_deposit), ("indemnity", short))
        return drawn, tuple(Source(account, part) for account, part in taken if part)

    def netted(self) -> tuple["Purse", int]:
        """What the shop owes, taken from what is available: the purse, and how much."""
        amount = min(self.available, self.receivable)
        return replace(self, available=self.available - amount, receivable=self.receivable - amount), amount


def purse_of(shop: Document) -> Purse:
    """The balances in a shop's document."""
    return Purse(str(shop["_id"]), shop["available"], shop["deposit"], shop["receivable"], shop["held"])


def postings(shop_id: str, case_id: str, sources: Sequence[Source]) -> list[Posting]:
    """The debits of what a refund takes from a shop; what the platform pays for the shop also becomes the shop's debt."""
    accounts = {
        "hold": ledger.hold(shop_id, case_id),
        "available": ledger.available(shop_id),
        "deposit": ledger.deposit(shop_id),
        "indemnity": ledger.INDEMNITY,
    }
    found = [Posting(accounts[source.account], -source.amount) for source in sources]
    owed = sum(source.amount for source in sources if source.account == "indemnity")
    if owed:
        found += [Posting(ledger.receivable(shop_id), -owed), Posting(ledger.INDEMNITY, owed)]
    return found


def written(shop: Document, purse: Purse, folded: Sequence[Document], plan: Plan, currency: str) -> Plan:
    """``plan`` with the shop's document changed to ``purse``, the folded credits, and what the shop owes netted."""
    purse, owed = purse.netted()
    entries = plan.entries
    if owed:
        sides = (
            Posting(ledger.available(purse.shop_id), -owed),
            Posting(ledger.receivable(purse.shop_id), owed),
        )
        number = f"net:{purse.shop_id}:{shop['version']}"
        entries += (Entry(number, "net", currency, sides, (purse.shop_id,)),)
    return replace(
        plan, shop=Change(set=purse.fields()), entries=entries, folded=tuple(str(row["_id"]) for row in folded)
    )


def fold(shop: Document, rows: Sequence[Document]) -> Plan | Decision:
    """Fold waiting credits into the shop's balances; DONE when none waits."""
    if not rows:
        return DONE
    return written(shop, purse_of(shop).credited(rows), rows, Plan(), shop["currency"])


# ------------------------------------------------------------------------------------------------------- the shop as accounts tells


def new_shop(data: Mapping[str, Any], sequence: int) -> dict[str, Any]:
    """The balance document of a shop that accounts told of."""
    empty = Purse(data["shop_id"], 0, 0, 0, {})
    return {"_id": data["shop_id"], **_told(data, sequence), **empty.fields()}


def shop_changed(shop: Document, data: Mapping[str, Any], sequence: int) -> Change | Decision:
    """Keep the newest that accounts told of the shop."""
    if sequence <= shop["told"]:
        return DONE if sequence == shop["told"] else STALE
    return Change(set=_told(data, sequence))


def _told(data: Mapping[str, Any], sequence: int) -> dict[str, Any]:
    names = ("account_id", "name", "state", "currency")
    return {**{name: data[name] for name in names}, "told": sequence}
