"""A shop's balances at a moment of the past, from the sums of sealed periods and the entries of one day: for balances, statements and bills."""

from datetime import datetime, timedelta
from typing import Final

from services.chassis import calendar
from services.chassis.errors import Refusal
from services.payments.model import periods
from services.payments.model.periods import Moved
from services.payments.store import Store, sealing
from services.payments.store.bills import entries_of

READS: Final = 8
"""How often it is read again because a block was sealed meanwhile."""


def balances_at(store: Store, shop_id: str, until: datetime) -> Moved:
    """A shop's money after everything posted *before* ``until`` (UTC business time): (currency, pocket) → minor units.

    Reads a row a month, a row a day of the last month, the entries of the last day, and what is not sealed yet. Raises Refusal
    UNAVAILABLE when the journal is sealed faster than it can be read.
    """
    for _ in range(READS):
        before = _upto(store)
        found = _balances(store, shop_id, until)
        if before == _upto(store):
            return found
    raise Refusal("UNAVAILABLE", "the ledger is being sealed; try again", retry_after_s=1)


def _upto(store: Store) -> int:
    """The number of the last block, which is in the sums. Raises Refusal UNAVAILABLE while these are made anew."""
    summed, last = int(sealing.standing(store).get("summed", 0)), sealing.head(store)
    if last is not None and summed < last["number"]:
        raise Refusal("UNAVAILABLE", "the sums of the ledger are being made anew; try again", retry_after_s=5)
    return summed


def _balances(store: Store, shop_id: str, until: datetime) -> Moved:
    midnight = calendar.day_start(until)
    today, month = calendar.day(midnight), calendar.month(midnight)
    own = {"owner": shop_id}
    rows = [
        *store.sums.find({**own, "span": periods.MONTH, "period": {"$gte": "", "$lt": month}}),
        *store.sums.find({**own, "span": periods.DAY, "period": {"$gte": f"{month}-", "$lt": today}}),
    ]
    since = entries_of(store, shop_id, today) if until > midnight else ()
    older = (entry for entry in sealing.unsealed_of(store, shop_id) if entry["posted_at"] < midnight)
    moved = periods.moved((entry for entry in since if entry["posted_at"] < until), shop_id)
    return periods.summed(rows, moved, periods.moved(older, shop_id))


def after(moment: datetime) -> datetime:
    """The first moment that is not ``moment`` any more: the database keeps whole milliseconds."""
    return moment + timedelta(milliseconds=1)
