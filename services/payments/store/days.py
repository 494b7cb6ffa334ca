"""The days of the channel: when each is reconciled, and that none is forgotten."""

from datetime import date, datetime, timedelta
from typing import Final

from services.chassis import clock, commit, policy
from services.chassis.calendar import CST
from services.chassis.commit import Cause
from services.payments.store import Store

_begun: Final[set[tuple[str, str]]] = set()
"""Days that this process knows to be there; saves an insert a payment."""


def due_at(cst_day: str) -> int:
    """When a channel day is reconciled by itself: wall ms, policy ``reconcile_at`` after its end."""
    midnight = datetime.fromisoformat(cst_day).replace(tzinfo=CST) + timedelta(days=1)
    return clock.ms(midnight + policy.load("payments").span("reconcile_at", clock.wall()))


def next_day(cst_day: str, days: int = 1) -> str:
    """The day after (or ``days`` after)."""
    return (date.fromisoformat(cst_day) + timedelta(days=days)).isoformat()


def begin_day(store: Store, cst_day: str) -> None:
    """See to it that the channel day will be reconciled, once."""
    if (store.database.name, cst_day) in _begun:
        return
    row = {"_id": cst_day, "state": "pending", "next_at": due_at(cst_day)}
    commit.create(store.reconciliations, row, Cause(f"day:{cst_day}"), natural=True)
    _begun.add((store.database.name, cst_day))
