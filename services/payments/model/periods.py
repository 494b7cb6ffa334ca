"""What moved of a shop's money in a day or a month (CST), summed when entries are sealed: balances of the past, statements and bills
without the whole journal.

::

    {_id: "shop:day:2026-01-05", owner: shop, span: day | month, period: "2026-01-05", moved: {currency: {pocket: {debits, credits}}}}

``pocket``: escrow and frozen (what its orders hold for it), available, pending, hold (of all cases), deposit, receivable, withdrawing.
Which shop's a posting is stands in the posting: ``shop`` (see ``bookkeeping``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.chassis import calendar
from services.payments.model.plan import Document

DAY: Final = "day"
MONTH: Final = "month"
WITH_ORDERS: Final = ("escrow", "frozen")
"""Pockets of a shop's money that are accounts of its orders."""
Moved = dict[tuple[str, str], int]
"""(currency, pocket) → balance or movement in minor units."""


def pocket_of(kind: str) -> str:
    """``order:escrow`` → ``escrow``, ``shop:hold`` → ``hold``."""
    return kind.rpartition(":")[2]


def moved(entries: Iterable[Document], shop_id: str) -> Moved:
    """What entries move of a shop's money."""
    found: Moved = defaultdict(int)
    for entry in entries:
        for posting in entry["postings"]:
            if posting.get("shop") == shop_id:
                found[entry["currency"], pocket_of(posting["kind"])] += posting["amount"]
    return dict(found)


def in_currency(found: Moved, currency: str) -> dict[str, int]:
    """Pocket → minor units of one currency, those of 0 left out."""
    return {pocket: amount for (own, pocket), amount in sorted(found.items()) if own == currency and amount}


def row_id(owner: str, span: str, period: str) -> str:
    """The id of a period's row."""
    return f"{owner}:{span}:{period}"


def additions(entries: Iterable[Document]) -> dict[str, dict[str, Any]]:
    """Row id → the row as these entries alone make it; ``added`` beside it: dotted field → what is added to a row that is there."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        day = calendar.day(entry["posted_at"])
        for posting in entry["postings"]:
            owner = posting.get("shop")
            if not owner:
                continue
            pocket, side = pocket_of(posting["kind"]), "credits" if posting["amount"] > 0 else "debits"
            for span, period in ((DAY, day), (MONTH, day[:7])):
                row = rows.setdefault(
                    row_id(owner, span, period),
                    {"owner": owner, "span": span, "period": period, "moved": {}, "added": defaultdict(int)},
                )
                sides = row["moved"].setdefault(entry["currency"], {}).setdefault(pocket, {"debits": 0, "credits": 0})
                sides[side] += abs(posting["amount"])
                row["added"][f"moved.{entry['currency']}.{pocket}.{side}"] += abs(posting["amount"])
    return rows


def summed(rows: Iterable[Document], *more: Mapping[tuple[str, str], int]) -> Moved:
    """Balances after the periods of ``rows`` and these movements."""
    found: Moved = defaultdict(int)
    for row in rows:
        for currency, pockets in row["moved"].items():
            for pocket, sides in pockets.items():
                # A pocket that a row was not made with has only the sides that were moved since.
                found[currency, pocket] += sides.get("credits", 0) - sides.get("debits", 0)
    for movement in more:
        for key, amount in movement.items():
            found[key] += amount
    return dict(found)
