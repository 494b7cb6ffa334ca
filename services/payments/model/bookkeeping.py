"""Whose day an entry belongs to: the keys by which bills and reconciliation find it, written with it and never changed.

``books`` of an entry holds ``"<shop>|<day>"`` for every shop whose money it moves (business days in CST: what the merchant's bill
counts in) and ``"channel|<day>"`` where it moves what the channel holds (wall-clock days: the channel knows no other).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from services.chassis.calendar import day
from services.payments.model import ledger
from services.payments.model.ledger import Entry
from services.payments.model.plan import Document

CHANNEL: Final = "channel"


def book(whose: str, cst_day: str) -> str:
    """The key of one shop's (or the ``CHANNEL``'s) entries of one day."""
    return f"{whose}|{cst_day}"


def owners(payable: Document | None) -> dict[str, str]:
    """order id → shop id, as the payable knows them."""
    return {share["order_id"]: share["shop_id"] for share in payable["shares"]} if payable is not None else {}


def shop_of(account: str, owned: Mapping[str, str]) -> str:
    """Whose money is in an account: the shop's, also while it waits in escrow for its order; empty for all other accounts."""
    kind, _, rest = account.partition(":")
    name = rest.partition(":")[0]
    if kind == "shop":
        return name
    return owned.get(name, "") if kind in ("order", "share") else ""


def document(entry: Entry, owned: Mapping[str, str], now: datetime, wall: datetime) -> dict[str, Any]:
    """The entry as it is stored, with its books and, in each posting of a shop's money, the shop."""
    stored = entry.document()
    shops = set()
    for posting in stored["postings"]:
        if shop_id := shop_of(posting["account"], owned):
            posting["shop"] = shop_id
            shops.add(shop_id)
    books = [book(shop_id, day(now)) for shop_id in sorted(shops)]
    if any(posting["account"] == ledger.CLEARING for posting in stored["postings"]):
        books.append(book(CHANNEL, day(wall)))
    return {**stored, "books": books}
