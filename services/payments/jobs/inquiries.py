"""Unpaid payables: the channel is asked what became of their attempts, and the last ones are closed there."""

from collections.abc import Callable
from functools import partial

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause
from services.chassis.decisions import Change
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.jobs import line, reversing
from services.payments.model import payable
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.provider import Channel
from services.payments.store import Store
from services.payments.store.posting import collected


def run(run: JobRun) -> None:
    """Ask the channel about every attempt of a payable that it has not told of."""
    inquire(Store(run.database), line.channel(), run.row, run.keep)


def inquire(store: Store, channel: Channel, row: Document, keep: Callable[[], None]) -> None:
    """Collect what was paid and not told; at the end of the trades' life close the rest at the channel, before that those that ask
    for a price of before.

    Leaves no ``next_at`` unless an attempt by code is open.

    Raises Refusal UNAVAILABLE while the channel is away: the lease runs out and it is asked again.
    """
    over = clock.business() >= row["trades_end"]
    for number in payable.waiting(row):
        keep()
        success = success_of(channel.trade(number))
        if success is not None:
            collected(store, success)
        elif reversing.is_over(row, number):
            reversing.reverse(store, channel, row, number)
        elif (over or number in payable.void(row)) and _close_at_channel(channel, number):
            ended = partial(payable.ended, number=number)
            commit.change(store.payables, row["_id"], Cause(f"chn:ended:{number}"), ended, fetch=False)
    asked = Cause(f"job:asked:{row['_id']}:{row['next_at']}")
    commit.change(store.payables, row["_id"], asked, _looked_at, fetch=False)


def _looked_at(found: Document) -> Change:
    """Asked for: there is nothing more to do, but for an attempt by code that is still open."""
    pause_ms = int(policy.load("payments").value("micropay_poll", clock.business())) * 1000
    again = payable.next_poll(found, clock.wall_ms(), pause_ms)
    return Change(unset=("next_at",)) if again is None else Change(set={"next_at": again})


def _close_at_channel(channel: Channel, number: str) -> bool:
    """Whether the trade can no longer be paid."""
    try:
        channel.close_trade(number)
    except ChannelRefusedError as refusal:
        return refusal.code in (
            "ORDER_NOT_EXIST",
            "ORDERCLOSED",
        )  # else it was paid this moment: its notification comes
    return True
