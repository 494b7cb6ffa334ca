"""Reversing a payment by code (撤销订单), for the jobs process and for whoever asks."""

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


def reverse(store: Store, channel: Channel, checkout_id: str, number: str) -> None:
    """End an unpaid attempt by code. First it is marked, so that a success told from now on goes back; then the channel is asked. One that was
    collected before the mark stays.

    Raises ChannelRefusedError, Refusal UNAVAILABLE: the jobs process tries it again.
    """

    def marked(found: Document) -> Change | None:
        return payable.reversing(found, number, clock.wall_ms())

    def ended(found: Document) -> Change | None:
        return payable.ended(found, number)

    commit.change(store.payables, checkout_id, Cause(f"job:reversing:{number}"), marked, fetch=False)
    found = store.by_trade_no(number)
    if found is None or found["payments"][payable.position(found, number)]["state"] != payable.REVERSING:
        return
    try:
        channel.reverse(number)
    except ChannelRefusedError as error:
        if error.code != "ORDER_NOT_EXIST":
            raise
    success = success_of(channel.trade(number))
    if success is not None:
        collected(store, success)
        return
    commit.change(store.payables, checkout_id, Cause(f"chn:ended:{number}"), ended, fetch=False)
