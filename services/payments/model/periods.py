"""What moved on a shop's accounts in a day or a month (CST), summed when entries are sealed: balances of the past without the whole journal.

::

    {_id: "shop:day:2026-01-05", owner: shop, span: day | month, period: "2026-01-05", moved: {currency: {pocket: {debits, credits}}}}

``pocket``: available, pending, hold, deposit, receivable, …: the part of ``shop:{id}:{pocket}`` that all cases share.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from services.chassis import calendar
from services.payments.model.plan import Document

DAY: Final = "day"
MONTH: Final = "month"
Moved = dict[tuple[str, str], int]
"""(currency, pocket) → balance or movement in minor units."""


def pocket_of(account: str, shop_id: str) -> str:
    """``shop:s:hold:c`` → ``hold`` for shop ``s``; empty for every other account."""
    parts = account.split(":")
    return parts[2] if parts[0] == "shop" and parts[1] == shop_id else ""


def owners(entry: Document) -> list[str]:
    """Shops whose accounts an entry moves."""
    accounts = (posting["account"].split(":") for posting in entry["postings"])
    return list(dict.fromkeys(parts[1] for parts in accounts if parts[0] == "shop"))


def moved(entries: Iterable[Document], shop_id: str) -> Moved:
    """What entries move on the accounts of a shop."""
    found: Moved = defaultdict(int)
    for entry in entries:
        for posting in entry["postings"]:
            if pocket := pocket_of(posting["account"], shop_id):
                found[entry["currency"], pocket] += posting["amount"]
    return dict(found)


def row_id(owner: str, span: str, period: str) -> str:
    """The id of a period's row."""
    return f"{owner}:{span}:{period}"


def additions(entries: Iterable[Document]) -> dict[str, dict[str, Any]]:
    """Row id → the row as these entries alone make it; ``added`` beside it: dotted field → what is added to a row that is there."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        day = calendar.day(entry["posted_at"])
        for posting in entry["postings"]:
            parts = posting["account"].split(":")
            if parts[0] != "shop":
                continue
            side = "credits" if posting["amount"] > 0 else "debits"
            for span, period in ((DAY, day), (MONTH, day[:7])):
                row = rows.setdefault(
                    row_id(parts[1], span, period),
                    {"owner": parts[1], "span": span, "period": period, "moved": {}, "added": defaultdict(int)},
                )
                sides = row["moved"].setdefault(entry["currency"], {}).setdefault(parts[2], {"debits": 0, "credits": 0})
                sides[side] += abs(posting["amount"])
                row["added"][f"moved.{entry['currency']}.{parts[2]}.{side}"] += abs(posting["amount"])
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


def first_of_day(when: datetime) -> datetime:
    """The beginning of the CST day of ``when``."""
    return when.astimezone(calendar.CST).replace(hour=0, minute=0, second=0, microsecond=0)
