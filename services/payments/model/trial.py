"""The trial balance (试算平衡): the journal summed by kind of account, beside what the guarded documents hold."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from services.payments.model.plan import Document
from services.payments.model.purse import Purse, purse_of

Key = tuple[str, str]
"""(kind of account, currency)."""


def stored(escrows: Iterable[Document], shops: Iterable[Document], rows: Iterable[Document]) -> dict[Key, int]:
    """What the documents hold. ``escrows``: ``{_id: currency, total}``; ``rows``: credits that wait to be folded."""
    found: dict[Key, int] = defaultdict(int)
    for row in escrows:
        found["order:escrow", row["_id"]] += row["total"]
    waiting: dict[str, list[Document]] = defaultdict(list)
    for credit in rows:
        waiting[credit["shop_id"]].append(credit)
    for shop in shops:
        _add(found, purse_of(shop).credited(waiting.pop(str(shop["_id"]), [])), shop["currency"])
    for shop_id, credited in waiting.items():  # of a shop that accounts has not told of yet
        _add(found, Purse(shop_id, 0, 0, 0, {}).credited(credited), "CNY")
    return dict(found)


def beside(kind: str, totals: Iterable[Document]) -> dict[Key, int]:
    """What rows beside the guarded documents hold of one kind of account. ``totals``: ``{_id: currency, total}``."""
    return {(kind, row["_id"]): row["total"] for row in totals}


def _add(found: dict[Key, int], purse: Purse, currency: str) -> None:
    found["shop:available", currency] += purse.available
    found["shop:deposit", currency] += purse.deposit
    found["shop:hold", currency] += sum(purse.held.values())
    found["shop:receivable", currency] -= purse.receivable


def table(sums: Iterable[Document], held: Mapping[Key, int]) -> list[dict[str, Any]]:
    """Rows of the table, by currency and kind. ``sums``: ``{_id: {kind, currency}, debits, credits}``."""
    rows: dict[Key, dict[str, Any]] = {
        key: {"kind": key[0], "currency": key[1], "debits": 0, "credits": 0, "balance": 0, "stored": amount}
        for key, amount in held.items()
    }
    for one in sums:
        key = (one["_id"]["kind"], one["_id"]["currency"])
        row = rows.setdefault(key, {"kind": key[0], "currency": key[1]})
        row |= {name: one[name] for name in ("debits", "credits")}
        row["balance"] = one["credits"] - one["debits"]
    return sorted(rows.values(), key=lambda row: (row["currency"], row["kind"]))


def is_balanced(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Σ of each currency is 0, and every stored figure is the ledger's."""
    totals: dict[str, int] = defaultdict(int)
    for row in rows:
        totals[row["currency"]] += row["balance"]
        if row.get("stored", row["balance"]) != row["balance"]:
            return False
    return not any(totals.values())
