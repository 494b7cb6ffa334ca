"""Paying with a payment code (刷卡支付, 付款码): the money moves while the request runs, so the attempt is written down first.

A merchant's till scans what the buyer's phone shows; whose code it is the channel tells. A till may scan for a checkout that is of its shop
alone.

A buyer who must type a password, or an answer that did not come, leaves the attempt open: the jobs process asks for it every few
seconds, and reverses it at the channel when its time is over. So nothing is ever paid that the payable does not know of.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause
from services.chassis.errors import Refusal, invalid
from services.chassis.mongo import Document
from services.payments.commands import collecting
from services.payments.commands.collecting import Attempted, Orders
from services.payments.model import payable
from services.payments.model.channel import ChannelRefusedError, Trade, success_of
from services.payments.model.whose import Whose
from services.payments.store import Store
from services.payments.store.posting import collected

SHAPE: Final = re.compile(r"1[0-5][0-9]{16}")
BAD_CODES: Final = ("AUTH_CODE_INVALID", "AUTHCODEEXPIRE")


class Channel(collecting.Channel, Protocol):
    """What a payment by code asks the channel; see ``provider``."""

    def code_pay(self, trade: Trade, auth_code: str) -> dict[str, Any]:
        """Pay a trade with a scanned code."""

    def reverse(self, out_trade_no: str) -> None:
        """Reverse a trade."""


def create(
    store: Store, orders: Orders, channel: Channel, cause: Cause, whose: Whose, asked: Mapping[str, Any]
) -> Attempted:
    """Pay a checkout with the code in ``asked`` (checkout_id, method, auth_code): paid, or open while the channel works on it. ``whose``: the
    checkout's buyer, or the shop whose till asks.

    Raises Refusal INVALID_ARGUMENT (the code's shape, age or use), NOT_FOUND, ALREADY_PAID, PAYMENT_CLOSED, CHANNEL_REFUSED
    (declined: try again with a new key).
    """
    if SHAPE.fullmatch(asked["auth_code"]) is None:
        raise invalid("auth_code", "must be the 18 digits of a payment code, beginning 10 to 15")
    number = ids.derived_id("p", cause.id)[:32]
    made = _before(store, cause, number)
    if made is None:
        try:
            told = orders.payable(asked["checkout_id"])
            till = whose.identity if whose.kind == "merchant" else ""
            payable.check_payable(told, told["buyer_id"] if till else whose.identity, clock.business())
            made = _written(store, cause, told, number, till)
        except Refusal:  # it may be this very command, sent twice at once, that has paid it
            made = _before(store, cause, number)
            if made is None:
                raise
    known = made.payable
    one = known["payments"][payable.position(known, number)]
    if one["state"] == payable.WAITING:
        _charge(store, channel, known, one, asked["auth_code"])
    elif one.get("decline"):
        raise _declined(one["decline"])
    return Attempted(store.by_trade_no(number) or known, number, made.replayed)


def _before(store: Store, cause: Cause, number: str) -> Attempted | None:
    """The attempt, if this command wrote it down before."""
    found = store.by_trade_no(number)
    if found is None or commit.recognised(store.payables, found, cause) is None:
        return None
    return Attempted(found, number, replayed=True)


def _written(store: Store, cause: Cause, told: Mapping[str, Any], number: str, till: str) -> Attempted:
    scanned_by = {"till": till} if till else {}
    attempt = payable.placed(
        payable.attempt(number, "micropay", told["amount"], payable.named(told)), {**_times(), **scanned_by}
    )
    known = store.payable(told["checkout_id"])
    return collecting.written(store, cause, told, attempt, known, next_at=attempt["poll_at"])


def _times() -> dict[str, Any]:
    """When the attempt is asked for and when it is given up, in wall ms."""
    rules, now, wall = policy.load("payments"), clock.business(), clock.wall_ms()
    poll, end = (int(rules.value(name, now)) * 1000 for name in ("micropay_poll", "micropay_reverse"))
    return {"poll_at": wall + poll, "reverse_at": wall + end}


def _charge(store: Store, channel: Channel, known: Document, one: Mapping[str, Any], auth_code: str) -> None:
    """Ask the channel for the money. Safe to repeat; where no answer comes the attempt stays open and the jobs process goes on."""
    number = one["out_trade_no"]
    wanted = Trade(number, "micropay", f"集市订单 {known['_id']}", one["amount"], known["currency"], known["buyer_id"])
    try:
        success = success_of(channel.code_pay(wanted, auth_code))
    except ChannelRefusedError as error:
        _ended(store, channel, known, number, error.code)
        raise _declined(error.code) from error
    except Refusal as refusal:
        if refusal.reason != "UNAVAILABLE":
            raise
        return
    if success is not None:
        collected(store, success)


def _ended(store: Store, channel: Channel, known: Document, number: str, code: str) -> None:
    """A declined attempt can no longer be paid: reversed at the channel, then closed here."""
    try:
        channel.reverse(number)
    except ChannelRefusedError as error:
        if error.code != "ORDER_NOT_EXIST":
            return  # the jobs process asks what it is, and ends it
    cause = Cause(f"chn:declined:{number}")
    commit.change(store.payables, known["_id"], cause, lambda row: payable.ended(row, number, code), fetch=False)


def _declined(code: str) -> Refusal:
    if code in BAD_CODES:
        return invalid(
            "auth_code", f"is too old, used or not a payment code ({code}); scan a fresh one, with a new key"
        )
    message = f"the payment was declined ({code}); pay another way, or scan again with a new key"
    return Refusal("CHANNEL_REFUSED", message, info={"code": code})
