"""Giving up a payment (关闭订单), or reversing one by code (撤销): it can no longer be paid at the channel."""

from typing import Any, Protocol

from services.chassis import commit
from services.chassis.commit import Cause
from services.chassis.errors import Refusal, not_found
from services.payments.commands.collecting import Attempted
from services.payments.model import payable
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.model.whose import Whose
from services.payments.store import Store
from services.payments.store.posting import collected
from services.payments.store.reversing import reverse

GONE = ("ORDER_NOT_EXIST", "ORDERCLOSED")


class Channel(Protocol):
    """What closing asks the channel; see ``provider``."""

    def close_trade(self, out_trade_no: str) -> None:
        """Close an unpaid trade."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""

    def reverse(self, out_trade_no: str) -> None:
        """Reverse a trade paid by code."""


def close_payment(store: Store, channel: Channel, cause: Cause, buyer_id: str, payment_id: str) -> Attempted:
    """Close an open payment at the channel, then here; one that was paid meanwhile is collected.

    Raises Refusal NOT_FOUND, ALREADY_PAID, WRONG_STATE (the buyer is typing a password), CHANNEL_REFUSED, UNAVAILABLE.
    """
    number = payable.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    if found is None or found["buyer_id"] != buyer_id:
        raise not_found("payment", payment_id)
    if commit.recognised(store.payables, found, cause) is not None:
        return Attempted(found, number, replayed=True)
    state = found["payments"][payable.position(found, number)]["state"]
    if state == payable.WAITING:
        _close(store, channel, number)
    elif state != "closed":
        raise _paid(payment_id)
    outcome = commit.change(store.payables, found["_id"], cause, lambda row: payable.ended(row, number))
    if outcome.document["payments"][payable.position(outcome.document, number)]["state"] != "closed":
        raise _paid(payment_id)
    return Attempted(outcome.document, number, outcome.replayed)


def reverse_payment(store: Store, channel: Channel, cause: Cause, whose: Whose, payment_id: str) -> Attempted:
    """Reverse a payment by code: unpaid it ends, paid at the channel without our knowing it goes back.

    Where the channel does not answer the reversal is begun, and goes on by itself. Raises Refusal NOT_FOUND, ALREADY_PAID (it was collected:
    cancel the order), CONDITION_UNMET (no payment by code), CHANNEL_REFUSED, UNAVAILABLE.
    """
    number = payable.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    one = found["payments"][payable.position(found, number)] if found is not None else None
    if found is None or one is None or not whose.sees(found, one):
        raise not_found("payment", payment_id)
    if commit.recognised(store.payables, found, cause) is not None:
        return Attempted(found, number, replayed=True)
    if one["method"] != "micropay":
        raise Refusal(
            "CONDITION_UNMET", "only a payment by code is reversed; close this one", info={"condition": "micropay"}
        )
    try:
        reverse(store, channel, str(found["_id"]), number)
    except ChannelRefusedError as error:
        raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}") from error
    outcome = commit.change(store.payables, found["_id"], cause, lambda row: payable.ended(row, number))
    after = outcome.document["payments"][payable.position(outcome.document, number)]["state"]
    if after == "paid":
        message = f"payment {payment_id} was paid and collected; give the money back by cancelling the order"
        raise Refusal("ALREADY_PAID", message)
    return Attempted(outcome.document, number, outcome.replayed)


def _close(store: Store, channel: Channel, number: str) -> None:
    try:
        channel.close_trade(number)
    except ChannelRefusedError as error:
        if error.code in GONE:
            return
        if error.code == "USERPAYING":
            message = "the buyer is paying at this moment; ask again in a few seconds"
            raise Refusal("WRONG_STATE", message, retry_after_s=5) from error
        success = success_of(channel.trade(number)) if error.code == "ORDERPAID" else None
        if success is None:
            raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}") from error
        collected(store, success)
        raise _paid(payable.payment_id(number)) from error


def _paid(payment_id: str) -> Refusal:
    return Refusal("ALREADY_PAID", f"payment {payment_id} was paid; it cannot be closed any more")
