"""The books in memory: plans of the model applied to plain documents, with the guards that the database would keep."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis.decisions import Change, Fact
from services.payments.model import ledger, payable, purse, settling, sharing
from services.payments.model import refund as refunds
from services.payments.model.plan import Books, Plan, Row

NOW = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
PAY_BY = NOW + timedelta(minutes=30)
TERMS = payable.Terms(timedelta(seconds=60), timedelta(hours=2), 5, ("trade_life@2014-05-29",))
SHOP = "shop_a"


class MovedError(Exception):
    """A guard was unmet: somebody was faster."""


def checkout(*amounts: int, state: str = "awaiting_payment") -> dict[str, Any]:
    """What orders tells of a checkout with one order of each amount."""
    shares = [{"order_id": f"o{i}", "shop_id": SHOP, "amount": amount} for i, amount in enumerate(amounts)]
    return {
        "checkout_id": "c1",
        "buyer_id": "buyer",
        "currency": "CNY",
        "amount": sum(amounts),
        "pay_by": PAY_BY,
        "state": state,
        "shares": shares,
    }


def changed(document: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """``document`` after ``change``, which no database would take where it sets and unsets one field."""
    assert not set(change.set) & set(change.unset), change
    after = copy.deepcopy(dict(document))
    for path, value in change.set.items():
        _at(after, path)[path.rpartition(".")[2]] = copy.deepcopy(value)
    for path in change.unset:
        after.pop(path, None)
    for path, amount in change.inc.items():
        after[path] += amount
    for path, items in change.push.items():
        after[path].extend(copy.deepcopy(items))
    if not isinstance(change.due, type(Change().due)):
        after["due"] = change.due
    after["version"] += 1
    return after


def _at(document: Any, path: str) -> Any:
    for part in path.split(".")[:-1]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return _Cell(document) if isinstance(document, list) else document


class _Cell:
    """A list addressed by text, as in ``payments.0``."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __setitem__(self, key: str, value: Any) -> None:
        self.items[int(key)] = value


def attempt(number: str, method: str, amount: int) -> dict[str, Any]:
    """One attempt as the channel took it."""
    return payable.placed(payable.attempt(number, method, amount), {"code_url": f"pay {number}"})


@dataclass
class World:
    """One payable, one shop, and what was written."""

    payable: dict[str, Any]
    shop: dict[str, Any]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    credits: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(collection, id) → documents beside the books."""

    @classmethod
    def opened(cls, *amounts: int, attempts: int = 1) -> "World":
        """A checkout that may be paid by ``attempts`` payments n0, n1, …"""
        told = checkout(*amounts)
        document = payable.opened(told, attempt("n0", "native", told["amount"]), TERMS) | {"version": 1}
        for number in range(1, attempts):
            more = payable.add_attempt(document, attempt(f"n{number}", "jsapi", told["amount"]), 5, NOW)
            assert more is not None
            document = changed(document, more)
        shop = {"shop_id": SHOP, "account_id": "a", "name": "s", "state": "open", "currency": "CNY"}
        return cls(document, purse.new_shop(shop, 1) | {"version": 1})

    def books(self, order: str = "") -> Books:
        """What a decision (on an order) reads; documents are replaced, never changed in place."""
        beside = self.rows.get((settling.ROWS, f"settle:{order}")), self.rows.get((sharing.ROWS, order))
        return Books(self.payable, self.shop, self.waiting(), *beside)

    def of(self, collection: str) -> list[dict[str, Any]]:
        """All documents of a collection beside the books."""
        return [row for (name, _), row in sorted(self.rows.items()) if name == collection]

    def waiting(self) -> list[dict[str, Any]]:
        """Credits that are not folded."""
        return [row for row in self.credits.values() if row["waiting"] and row["shop_id"] == SHOP]

    def write(self, plan: Plan, books: Books) -> None:
        """All of it or nothing. Raises MovedError."""
        new_entries = {entry.id: entry.document() for entry in plan.entries}
        new_refunds = {}
        for refund in plan.refunds:
            new_refunds[refund.id], facts = refunds.row(refund, NOW, 1)
            new_refunds[refund.id]["version"] = 1
            self.facts += facts
        self._guard(plan, books, new_entries, new_refunds)
        for row in plan.rows:
            key = row.collection, str(row.document["_id"])
            document = row.document if row.change is None else changed(row.document, row.change)
            self.rows[key] = {"version": 1, **document}
        if plan.payable is not None:
            self.payable = changed(self.payable, plan.payable)
            self.facts += plan.payable.facts
        if plan.shop is not None:
            self.shop = changed(self.shop, plan.shop)
        self.entries |= new_entries
        self.refunds |= new_refunds
        for credit in plan.credits:
            told = {"pocket": credit.pocket, "amount": credit.amount, "case_id": credit.case_id}
            self.credits[credit.id] = {"_id": credit.id, "shop_id": credit.shop_id, "waiting": True, **told}
        for folded in plan.folded:
            self.credits[folded] = {**self.credits[folded], "waiting": False}

    def _guard(self, plan: Plan, books: Books, entries: Mapping[str, Any], back: Mapping[str, Any]) -> None:
        stale = (
            (plan.payable is not None and books.payable["version"] != self.payable["version"])
            or (plan.shop is not None and books.shop["version"] != self.shop["version"])
            or any(not self.credits[folded]["waiting"] for folded in plan.folded)
            or any(credit.id in self.credits for credit in plan.credits)
            or any(self._is_stale(row) for row in plan.rows)
        )
        if stale or entries.keys() & self.entries.keys() or back.keys() & self.refunds.keys():
            raise MovedError

    def _is_stale(self, row: Row) -> bool:
        known = self.rows.get((row.collection, str(row.document["_id"])))
        if row.change is None:
            return known is not None
        return known is None or known["version"] != row.document["version"]

    def refunded(self, number: str) -> None:
        """The channel says that a refund reached the buyer."""
        change = refunds.succeeded(self.refunds[number], NOW)
        if change is not None:
            self.refunds[number] = changed(self.refunds[number], change)
            self.facts += change.facts

    def balances(self) -> dict[str, int]:
        """Account → balance, from the journal alone."""
        return {account: amount for (account, _), amount in ledger.balances(self.entries.values()).items()}

    def purse(self) -> purse.Purse:
        """The shop's balances, folded or not."""
        return purse.purse_of(self.shop).credited(self.waiting())

    def check(self) -> None:
        """The stored balances are the journal's, and nobody owes what they cannot."""
        told, own = self.balances(), self.purse()
        assert sum(told.values()) == 0
        for share in self.payable["shares"]:
            assert share["escrow"] == told.get(ledger.escrow(share["order_id"]), 0) >= 0
            assert share["refunded"] <= share["amount"]
        assert own.available == told.get(ledger.available(SHOP), 0) >= 0
        assert own.deposit == told.get(ledger.deposit(SHOP), 0) >= 0
        assert told.get(ledger.pending(SHOP), 0) == sum(settling.left(row) for row in self.of(settling.ROWS))
        assert own.receivable == -told.get(ledger.receivable(SHOP), 0) >= 0
        held = {account: amount for account, amount in told.items() if ":hold:" in account and amount}
        assert {ledger.hold(SHOP, case): amount for case, amount in own.held.items()} == held
        assert all(amount > 0 for amount in held.values())
        assert told.get(ledger.SUSPENSE, 0) == 0
        assert -told.get(ledger.CLEARING, 0) == self.collected() - self.returned()

    def collected(self) -> int:
        """What the channel took from the buyer."""
        counted = [entry for entry in self.entries.values() if entry["kind"] in ("collect", "return")]
        return -sum(p["amount"] for entry in counted for p in entry["postings"] if p["account"] == ledger.CLEARING)

    def returned(self) -> int:
        """What goes or went back to the buyer."""
        return sum(row["amount"] for row in self.refunds.values())
