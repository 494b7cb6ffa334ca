"""A shop's balances at a moment of the past, from the sums of sealed periods and the entries of one day."""

from datetime import datetime, timedelta
from typing import Final

from services.chassis import calendar
from services.chassis.errors import Refusal
from services.payments.model import periods
from services.payments.model.periods import Moved
from services.payments.store import Store, sealing

READS: Final = 8
"""How often it is read again because a block was sealed meanwhile."""


def balances_at(store: Store, shop_id: str, until: datetime) -> Moved:
    """The balances of a shop's accounts after everything posted *before* ``until`` (UTC business time): (currency, pocket) → minor units.

    Reads a row a month, a row a day of the last month, the entries of the last day, and what is not sealed yet. Raises Refusal
    UNAVAILABLE when the journal is sealed faster than it can be read.
    """
    for _ in range(READS):
        before = sealing.head(store)
        found = _summed(store, shop_id, until)
        after = sealing.head(store)
        if (before or {}).get("number") == (after or {}).get("number"):
            return found
    raise Refusal("UNAVAILABLE", "the ledger is being sealed; try again", retry_after_s=1)


def _summed(store: Store, shop_id: str, until: datetime) -> Moved:
    day = periods.first_of_day(until)
    month = calendar.day(day)[:7]
    own = {"owner": shop_id}
    rows = [
        *store.periods.find({**own, "span": periods.MONTH, "period": {"$gte": "", "$lt": month}}),
        *store.periods.find({**own, "span": periods.DAY, "period": {"$gte": f"{month}-", "$lt": calendar.day(day)}}),
    ]
    today = store.entries_of(shop_id, None, 0, (day, until))
    ids = [row["_id"] for row in sealing.unsealed(store).rows]
    older = store.entries.find({"_id": {"$in": ids}, "posted_at": {"$lt": day}}) if ids else ()
    return periods.summed(rows, periods.moved(today, shop_id), periods.moved(older, shop_id))


def after(moment: datetime) -> datetime:
    """The first moment that is not ``moment`` any more: the database keeps whole milliseconds."""
    return moment + timedelta(milliseconds=1)
