"""Payments by code that stay open: asked for every few seconds, and reversed at the channel when their time is over (撤销)."""

from typing import Any, Protocol

from services.chassis import clock, commit
from services.chassis.commit import Cause
from services.chassis.decisions import Change
from services.chassis.mongo import Document
from services.payments.model import payable
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.store import Store
from services.payments.store.posting import collected


class Channel(Protocol):
    """What reversing asks the channel; see ``provider``."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""

    def reverse(self, out_trade_no: str) -> None:
        """Reverse a trade."""


def is_over(row: Document, number: str) -> bool:
    """Whether this attempt is one by code whose time is over, or whose reversal was begun."""
    one = row["payments"][payable.position(row, number)]
    return bool(one["method"] == "micropay" and clock.wall_ms() >= one["reverse_at"])


def reverse(store: Store, channel: Channel, row: Document, number: str) -> None:
    """End an unpaid attempt by code. First it is marked, so that a success told from now on goes back; then the channel is asked.

    Raises ChannelRefusedError, Refusal UNAVAILABLE: it is tried again.
    """

    def marked(found: Document) -> Change | None:
        return payable.reversing(found, number)

    def ended(found: Document) -> Change | None:
        return payable.ended(found, number)

    commit.change(store.payables, row["_id"], Cause(f"job:reversing:{number}"), marked, fetch=False)
    try:
        channel.reverse(number)
    except ChannelRefusedError as error:
        if error.code != "ORDER_NOT_EXIST":
            raise
    success = success_of(channel.trade(number))
    if success is not None:
        collected(store, success)
        return
    commit.change(store.payables, row["_id"], Cause(f"chn:ended:{number}"), ended, fetch=False)
