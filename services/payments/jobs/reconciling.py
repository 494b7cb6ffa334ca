"""Reconciling a channel day: it may be killed anywhere and be done again from the start."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from services.chassis import clock, commit
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.payments.model import channel_bill, reconciling
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.model.channel_bill import PAYMENT, Billed
from services.payments.model.plan import Books, Plan
from services.payments.model.reconciling import Found, Key, Known, Movement, Step
from services.payments.store import Store, days
from services.payments.store import reconciling as rows
from services.payments.store.posting import post
from services.payments.store.wallets import heard

CURRENCY: Final = "CNY"
"""The channel's bill knows no other."""
_log = get(__name__)
Keep = Callable[[], None]


class Channel(Protocol):
    """What reconciliation asks the channel; see ``provider``."""

    def bill(self, cst_day: str) -> bytes:
        """The channel's bill of a day."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""


def reconcile(store: Store, channel: Channel, row: Document, keep: Keep) -> None:
    """Compare a day with the channel's bill, post what differs, and plan the next day.

    Raises Refusal UNAVAILABLE while the channel is away, BrokenBillError for a bill that does not add up: it is tried again.
    """
    cst_day = str(row["_id"])
    content = channel.bill(cst_day)
    theirs = channel_bill.read(content)
    ours = rows.movements(store, cst_day)
    keep()
    billed = reconciling.grouped(theirs)
    found, matched = reconciling.compare(ours, billed, _known(store, channel, cst_day, ours, billed))
    _write_down(store, cst_day, found, keep)
    _heal(store, channel, found, keep)
    told = {
        "ledger": channel_bill.totals([(key[0], one.amount) for key, one in ours.items()]),
        "channel": channel_bill.totals([(one.item, one.amount) for one in theirs]),
        "matched": matched,
        "bill_sha256": hashlib.sha256(content).hexdigest(),
    }
    days.begin_day(store, days.next_day(cst_day))
    _done(store, row, told)


def _done(store: Store, row: Document, told: Mapping[str, Any]) -> None:
    """The day is reconciled; one that was not over yet is looked at again when it is."""
    again = days.due_at(row["_id"])
    over = clock.wall_ms() >= again
    values = {**told, "state": "done", "reconciled_at": clock.wall()}
    change = Change(set=values, unset=("next_at",)) if over else Change(set={**values, "next_at": again})
    cause = Cause(f"job:reconciled:{row['_id']}:{row['version']}:{row['next_at']}")
    commit.change(store.reconciliations, row["_id"], cause, lambda _: change, fetch=False)


def _known(
    store: Store,
    channel: Channel,
    cst_day: str,
    ours: Mapping[Key, Movement],
    theirs: Mapping[Key, Sequence[Billed]],
) -> Known:
    """What is asked about the keys that only one side has: mostly nothing."""
    there = [key for key in theirs if key not in ours]
    trades, paid = rows.trades(store, [theirs[key][0].out_trade_no for key in there])
    next_door: dict[Key, str] = {}
    if any(key not in theirs for key in ours):
        for other in (days.next_day(cst_day, -1), days.next_day(cst_day)):
            next_door |= {(one.item, one.number): other for one in channel_bill.read(channel.bill(other))}
    return Known(rows.movements_elsewhere(store, there), next_door, trades, paid)


def _write_down(store: Store, cst_day: str, found: Sequence[Found], keep: Keep) -> None:
    """Post the differences that are new, take back those that are gone, pair those of two days."""
    others = rows.open_by_number(store, [one.number for one in found], cst_day)
    for step in reconciling.steps(found, rows.differences_of(store, cst_day), others):
        keep()
        # Another process, or a person, was faster: what is left to do is seen by the next run of this day.
        with contextlib.suppress(Shortfall, Taken):
            _taken(store, cst_day, step)


def _taken(store: Store, cst_day: str, step: Step) -> None:
    if step.found is None:
        if step.difference is not None:
            rows.clear(store, step.difference, "corrected", Cause(f"job:clear:{step.difference['_id']}"))
        return
    row = reconciling.row(cst_day, step.found, step.generation, CURRENCY)
    cause = Cause(f"job:{step.action}:{row['_id']}")
    writing = Transaction(store.client)
    _log.warning("difference found", difference=row["_id"], kind=step.found.kind, amount=step.found.amount)
    if step.difference is None:
        writing.insert(store.differences, commit.prepare(store.differences, row, cause))
        post(store, Plan(entries=(reconciling.posting(row),)), Books(None), cause, writing)
        return
    paired = {"state": "resolved", "resolution": "other_day", "entry_id": "", "resolved_at": clock.business()}
    pair = {**row, **paired, "cleared_by": reconciling.clearing(step.difference, "other_day").id}
    pair["other_day"] = step.difference["day"]
    writing.insert(store.differences, commit.prepare(store.differences, pair, cause))
    rows.clear(store, step.difference, "other_day", cause, writing)


def _heal(store: Store, channel: Channel, found: Sequence[Found], keep: Keep) -> None:
    """What was paid for a trade of ours and never told is asked for and collected, or goes back to the buyer where it is too late."""
    for one in found:
        if one.kind == "missing" and one.missing_in == "ledger" and one.item == PAYMENT:
            keep()
            try:
                success = success_of(channel.trade(one.out_trade_no))
                if success is not None:
                    heard(store, success)
            except (ChannelRefusedError, Refusal) as error:
                _log.error("missing payment not collected", out_trade_no=one.out_trade_no, why=str(error))
