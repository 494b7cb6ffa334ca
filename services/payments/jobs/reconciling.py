"""Reconciling a channel day: in parts, so that memory does not grow with the day, and resumed by whoever comes next after a kill.

Both sides are read into a temporary file and compared in the order of their numbers. After every part the row of the day remembers how
far that came; the next run reads both sides again and goes on from there, as long as they are what they were.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, Protocol

from services.chassis import clock, commit
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.jobs import line
from services.payments.jobs.sides import BEFORE, DOOR, OURS, THEIRS, Batch, Line, Sides
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
Keep = Callable[..., None]
"""``JobRun.keep``."""


class Channel(Protocol):
    """What reconciliation asks the channel; see ``provider``."""

    def bill(self, cst_day: str, into: BinaryIO) -> str:
        """Write the channel's bill of a day into a file; its SHA-256."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""


def run(run: JobRun) -> None:
    """Reconcile a day with the channel's bill."""
    reconcile(Store(run.database), line.channel(), run.row, run.keep)


def reconcile(store: Store, channel: Channel, row: Document, keep: Keep) -> None:
    """Compare a day with the channel's bill, post what differs, and plan the next day.

    Raises Refusal UNAVAILABLE while the channel is away, BrokenBillError for a bill that does not add up: it is tried again.
    """
    cst_day = str(row["_id"])
    with Sides() as sides:
        sha256 = _read(store, channel, cst_day, sides, keep)
        told = {"bill_sha256": sha256, "ledger": sides.totals(OURS), "channel": sides.totals(THEIRS)}
        after, matched = _place(row, told)
        for batch in sides.batches(after):
            found, agreeing = _compared(store, cst_day, batch)
            _write_down(store, cst_day, found, batch, keep)
            _heal(store, channel, found, keep)
            matched += agreeing
            _come_to(store, cst_day, told, batch.last, matched)
            keep()
    days.begin_day(store, days.next_day(cst_day))
    _done(store, row, {**told, "matched": matched})


# ------------------------------------------------------------------------------------------------------------ both sides, read


def _read(store: Store, channel: Channel, cst_day: str, sides: Sides, keep: Keep) -> str:
    """Everything that is compared of a day; the bill's SHA-256. The run has not got further yet: its turn does not end here."""
    sha256 = _read_bill(channel, cst_day, sides, THEIRS, keep)
    ours = ((key, one.amount, one.out_trade_no) for key, one in rows.movements(store, cst_day))
    before = (((one["item"], one["number"]), 0, one["_id"]) for one in rows.differences_of(store, cst_day))
    for side, lines in ((OURS, ours), (BEFORE, before)):
        for _ in sides.add(side, lines):
            keep(yielding=False)
    for other in (days.next_day(cst_day, -1), days.next_day(cst_day)) if sides.lacks() else ():
        _read_bill(channel, other, sides, DOOR, keep)
    return sha256


def _read_bill(channel: Channel, cst_day: str, sides: Sides, side: str, keep: Keep) -> str:
    """A day's bill into one side; its SHA-256."""
    with tempfile.TemporaryFile() as content:
        sha256 = channel.bill(cst_day, content)
        content.seek(0)
        for _ in sides.add(side, _lines(channel_bill.read(content), cst_day, sides, side)):
            keep(yielding=False)
    return sha256


def _lines(billed: Iterator[Billed], cst_day: str, sides: Sides, side: str) -> Iterator[Line]:
    """Rows of a bill; of one next door only those that the day's own bill lacks, with their day."""
    for one in billed:
        key = (one.item, one.number)
        if side == THEIRS:
            yield key, one.amount, one.out_trade_no
        elif sides.lacks(key):
            yield key, one.amount, cst_day


# ------------------------------------------------------------------------------------------------------------- how far it came


def _place(row: Document, told: Mapping[str, Any]) -> tuple[Key, int]:
    """Up to which key an earlier run has compared these very sides, and how many agreed until there."""
    place = row.get("place", {})
    if any(place.get(name) != value for name, value in told.items()):
        return ("", ""), 0
    return (place["item"], place["number"]), place["matched"]


def _come_to(store: Store, cst_day: str, told: Mapping[str, Any], last: Key, matched: int) -> None:
    place = {**told, "item": last[0], "number": last[1], "matched": matched}
    Transaction(store.client).update(store.reconciliations, {"_id": cst_day}, {"$set": {"place": place}}).commit()


def _done(store: Store, row: Document, told: Mapping[str, Any]) -> None:
    """The day is reconciled; one that was not over yet is looked at again when it is, and one asked for meanwhile at once."""
    again = days.due_at(row["_id"])
    over = clock.wall_ms() >= again
    values = {**told, "state": "done", "reconciled_at": clock.wall()}

    def decide(found: Document) -> Change:
        if found["next_at"] != row["next_at"]:
            return Change(set={**values, "state": found["state"]}, unset=("place",))
        if over:
            return Change(set=values, unset=("next_at", "place"))
        return Change(set={**values, "next_at": again}, unset=("place",))

    cause = Cause(f"job:reconciled:{row['_id']}:{row['version']}:{row['next_at']}")
    commit.change(store.reconciliations, row["_id"], cause, decide, fetch=False)


# ------------------------------------------------------------------------------------------------------------------- one part


def _compared(store: Store, cst_day: str, batch: Batch) -> tuple[list[Found], int]:
    """The differences of a part, and how many agree."""
    sums = ((key, reconciling.netted(lines)) for key, lines in batch.of(OURS).items())
    ours = {key: Movement(told[0], cst_day, told[1]) for key, told in sums if told is not None}
    theirs = {key: [Billed(*key, trade, amount) for amount, trade in found] for key, found in batch.of(THEIRS).items()}
    there = [key for key in theirs if key not in ours]
    trades, paid = rows.trades(store, [theirs[key][0].out_trade_no for key in there])
    next_door = {key: found[0][1] for key, found in batch.of(DOOR).items()}
    return reconciling.compare(ours, theirs, Known(rows.movements_elsewhere(store, there), next_door, trades, paid))


def _write_down(store: Store, cst_day: str, found: Sequence[Found], batch: Batch, keep: Keep) -> None:
    """Post the differences that are new, take back those that are gone, pair those of two days."""
    before = rows.differences(store, [told for lines in batch.of(BEFORE).values() for _, told in lines])
    others = rows.open_by_number(store, [one.number for one in found], cst_day)
    for step in reconciling.steps(found, before, others):
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
