"""What bills are made of: a shop's entries by day, and its closings, which spare the sum over all the days before."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import islice
from typing import Final

from services.chassis.calendar import day
from services.chassis.mongo import Document
from services.payments.model import bills
from services.payments.model.bookkeeping import book
from services.payments.store import Store

DAYS_AT_ONCE: Final = 100
BEFORE_IT_WAS_KNOWN: Final = timedelta(days=2)
"""A shop's first entry may be older than our copy of the shop: accounts tells of it by event."""


def entries_of(store: Store, shop_id: str, cst_day: str) -> list[Document]:
    """The shop's entries of one CST day, in the order of their time."""
    found = store.entries.find({"books": book(shop_id, cst_day)})
    return sorted(found, key=lambda entry: (entry["posted_at"], entry["_id"]))


def opening(store: Store, shop: Document, cst_day: str) -> dict[str, int]:
    """What the shop had when the day began: account → fen, from its last closing before and the entries since."""
    shop_id = str(shop["_id"])
    parts: dict[str, int] = defaultdict(int)
    known = _last_closing(store, shop_id, cst_day)
    first = date.fromisoformat(day(shop["created_at"] - BEFORE_IT_WAS_KNOWN))
    if known is not None:
        parts.update(known["accounts"])
        first = date.fromisoformat(known["day"]) + timedelta(days=1)
    days = _days(first, date.fromisoformat(cst_day))
    while batch := list(islice(days, DAYS_AT_ONCE)):
        keys = [book(shop_id, one) for one in batch]
        for entry in store.entries.find({"books": {"$in": keys}}, {"postings": 1}):
            for name, amount in bills.moved(entry, shop_id).items():
                parts[name] += amount
    return dict(parts)


def _last_closing(store: Store, shop_id: str, cst_day: str) -> Document | None:
    # One row a day on which something moved, so a few hundred a year: the last one is found among a year's, else among all.
    year_ago = (date.fromisoformat(cst_day) - timedelta(days=366)).isoformat()
    for oldest in (year_ago, ""):
        query = {"shop_id": shop_id, "day": {"$gte": oldest, "$lt": cst_day}}
        found = next(iter(store.closings.find(query).sort("day", -1).limit(1)), None)
        if found is not None:
            return found
    return None


def _days(first: date, end: date) -> Iterator[str]:
    while first < end:
        yield first.isoformat()
        first += timedelta(days=1)


def by_id(store: Store, collection: str, ids: Iterable[str], *fields: str) -> dict[str, Document]:
    """Documents of a collection by their ids."""
    wanted = sorted(set(ids))
    found = store.database[collection].find({"_id": {"$in": wanted}}, dict.fromkeys(fields, 1)) if wanted else ()
    return {str(one["_id"]): one for one in found}


def is_billed(store: Store, shop_id: str, cst_day: str) -> bool:
    """Whether anything moved for the shop on that day."""
    return store.entries.find_one({"books": book(shop_id, cst_day)}, {"_id": 1}) is not None
