"""The books in memory: plans of the model applied to plain documents, with the guards that the database would keep."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis.decisions import Change, Fact
from services.payments.model import bookkeeping, deposits, ledger, payable, purse, settling, sharing, wallet
from services.payments.model import refund as refunds
from services.payments.model.plan import Books, Plan, Row

NOW = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
PAY_BY = NOW + timedelta(minutes=30)
TERMS = payable.Terms(timedelta(seconds=60), timedelta(hours=2), 5, ("trade_life@2014-05-29",))
SHOP = "shop_a"
FRIEND = "shop_b"
"""Another shop, which gets parts of what SHOP earns."""
TOP_UP = timedelta(days=3)


CITING = frozenset({"settle", "withdraw", "refund", "repay", "redirect"})
"""Kinds of entries that bring the rule they were computed by, or what caused them; others cite a rule where they are posted."""


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
    """One payable, two shops, and what was written."""

    payable: dict[str, Any]
    shops: dict[str, dict[str, Any]]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    credits: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(collection, id) → documents beside the books."""
    now: datetime = NOW

    @classmethod
    def opened(cls, *amounts: int, attempts: int = 1) -> "World":
        """A checkout that may be paid by ``attempts`` payments n0, n1, …"""
        told = checkout(*amounts)
        document = payable.opened(told, attempt("n0", "native", told["amount"]), TERMS) | {"version": 1}
        for number in range(1, attempts):
            more = payable.add_attempt(document, attempt(f"n{number}", "jsapi", told["amount"]), 5, NOW)
            assert more is not None
            document = changed(document, more)
        told = {"account_id": "a", "name": "s", "state": "open", "currency": "CNY"}
        shops = {name: purse.new_shop({**told, "shop_id": name}, 1) | {"version": 1} for name in (SHOP, FRIEND)}
        return cls(document, shops)

    @property
    def shop(self) -> dict[str, Any]:
        """The balances of the shop whose orders are paid."""
        return self.shops[SHOP]

    def books(self, order: str = "", shop: str = SHOP) -> Books:
        """What a decision (on an order) reads; documents are replaced, never changed in place."""
        beside = self.rows.get((settling.ROWS, f"settle:{order}")), self.rows.get((sharing.ROWS, order))
        return Books(self.payable, self.shops[shop], self.waiting(shop), *beside)

    def of(self, collection: str) -> list[dict[str, Any]]:
        """All documents of a collection beside the books."""
        return [row for (name, _), row in sorted(self.rows.items()) if name == collection]

    def waiting(self, shop: str = SHOP) -> list[dict[str, Any]]:
        """Credits that are not folded."""
        return [row for row in self.credits.values() if row["waiting"] and row["shop_id"] == shop]

    def write(self, plan: Plan, books: Books) -> None:
        """All of it or nothing, as ``store.posting.post`` does. Raises MovedError."""
        plan = wallet.to_wallet(plan)
        owned = bookkeeping.owners(self.payable)
        when = {"posted_at": self.now, "written_at": 0}
        new_entries = {
            entry.id: bookkeeping.document(entry, owned, self.now, self.now) | when for entry in plan.entries
        }
        new_refunds, told = {}, []
        for refund in plan.refunds:
            new_refunds[refund.id], facts = refunds.row(refund, self.now, 1)
            new_refunds[refund.id]["version"] = 1
            told += facts
        self._guard(plan, books, new_entries, new_refunds)
        self.facts += told
        for row in plan.rows:
            key = row.collection, str(row.document["_id"])
            document = row.document if row.change is None else changed(row.document, row.change)
            self.rows[key] = {"version": 1, **document}
        if plan.payable is not None:
            self.payable = changed(self.payable, plan.payable)
            self.facts += plan.payable.facts
        if plan.shop is not None:
            change = deposits.watched(books.shop, plan.shop, self.now, TOP_UP)
            self.shops[books.shop["_id"]] = changed(books.shop, change)
        self.entries |= new_entries
        self.refunds |= new_refunds
        self._into_wallets(plan)
        for credit in plan.credits:
            told = {"pocket": credit.pocket, "amount": credit.amount, "case_id": credit.case_id}
            self.credits[credit.id] = {"_id": credit.id, "shop_id": credit.shop_id, "waiting": True, **told}
        for folded in plan.folded:
            self.credits[folded] = {**self.credits[folded], "waiting": False}

    def _into_wallets(self, plan: Plan) -> None:
        for refund in plan.refunds:
            if wallet.is_spent(refund.out_trade_no) and refund.amount:
                row = self.rows["wallets", refund.buyer_id]
                more = {"balance": row["balance"] + refund.amount, "version": row["version"] + 1}
                self.rows["wallets", refund.buyer_id] = row | more

    def _guard(self, plan: Plan, books: Books, entries: Mapping[str, Any], back: Mapping[str, Any]) -> None:
        stale = (
            (plan.payable is not None and books.payable["version"] != self.payable["version"])
            or (plan.shop is not None and books.shop["version"] != self.shops[books.shop["_id"]]["version"])
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

    def purse(self, shop: str = SHOP) -> purse.Purse:
        """The shop's balances, folded or not."""
        return purse.purse_of(self.shops[shop]).credited(self.waiting(shop))

    def check(self) -> None:
        """The stored balances are the journal's, and nobody owes what they cannot."""
        told = self.balances()
        assert sum(told.values()) == 0
        for share in self.payable["shares"]:
            assert share["escrow"] == told.get(ledger.escrow(share["order_id"]), 0) >= 0
            assert share["refunded"] <= share["amount"]
        for shop in self.shops:
            self._check_shop(shop, told)
        assert told.get(ledger.pending(SHOP), 0) == sum(settling.left(row) for row in self.of(settling.ROWS))
        assert told.get(ledger.SUSPENSE, 0) == 0
        assert all(entry["terms"] for entry in self.entries.values() if entry["kind"] in CITING)
        assert -told.get(ledger.CLEARING, 0) == self.collected() + self.topped_up() - self.returned()

    def _check_shop(self, shop: str, told: Mapping[str, int]) -> None:
        own, stored = self.purse(shop), self.shops[shop]
        assert own.available == told.get(ledger.available(shop), 0) >= 0
        assert own.deposit == told.get(ledger.deposit(shop), 0) >= 0
        assert own.receivable == -told.get(ledger.receivable(shop), 0) >= 0
        assert not (stored["available"] and stored["receivable"]), "what is owed is taken from what is available"
        held = {
            account: amount for account, amount in told.items() if account.startswith(f"shop:{shop}:hold:") and amount
        }
        assert {ledger.hold(shop, case): amount for case, amount in own.held.items()} == held
        assert all(amount > 0 for amount in held.values())

    def collected(self) -> int:
        """What the channel took from the buyer for the checkout."""
        return self._took("collect", "return")

    def topped_up(self) -> int:
        """What it took for wallets."""
        return self._took("topup")

    def _took(self, *kinds: str) -> int:
        counted = [entry for entry in self.entries.values() if entry["kind"] in kinds]
        return -sum(p["amount"] for entry in counted for p in entry["postings"] if p["account"] == ledger.CLEARING)

    def returned(self) -> int:
        """What goes or went back to the buyer through the channel."""
        through = (row for row in self.refunds.values() if not wallet.is_spent(row["out_trade_no"]))
        return sum(row["amount"] for row in through)
