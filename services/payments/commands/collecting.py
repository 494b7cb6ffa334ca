"""Collecting: open a payment, hear the channel."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from prometheus_client import Counter

from services.chassis import clock, commit, ids, policy, together
from services.chassis.channel_signing import SignatureRefusedError
from services.chassis.commit import Cause, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, not_found
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.payments.model import payable, refund, repricing
from services.payments.model.channel import ChannelRefusedError, Notification, Trade, success_of
from services.payments.model.whose import Whose
from services.payments.store import Store
from services.payments.store.wallets import heard

NOTIFICATIONS: Final = Counter(
    "jishi_channel_notifications_total", "Notifications at the channel's door", ("event_type", "answer")
)
OVERTAKEN: Final = frozenset({"ALREADY_PAID", "PAYMENT_CLOSED", "WRONG_STATE", "CHANNEL_REFUSED", "CONDITION_UNMET"})
"""Refusals that a repetition may meet although its first run went well: what it opened has gone on since."""
_log = get(__name__)


class Orders(Protocol):
    """What payments asks orders."""

    def payable(self, checkout_id: str) -> Mapping[str, Any]:
        """``{checkout_id, buyer_id, currency, amount, pay_by, state, shares: [{order_id, shop_id, amount}]}``. Raises NOT_FOUND."""


class Channel(Protocol):
    """What payments asks the channel; see ``provider``."""

    def place(self, trade: Trade) -> dict[str, str]:
        """Place a trade, or enter it again."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""

    def believe(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and open a notification. Raises SignatureRefusedError."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """One attempt of a payable, and whether this very command made it before."""

    payable: Document
    number: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What the channel is answered: an HTTP status and ``{code, message}``."""

    status: int
    code: str
    message: str = ""

    @property
    def body(self) -> bytes:
        """The JSON body."""
        return json.dumps({"code": self.code, "message": self.message}, ensure_ascii=False).encode()


# ------------------------------------------------------------------------------------------------------------ opening a payment


def create_payment(
    store: Store, orders: Orders, channel: Channel, cause: Cause, buyer_id: str, asked: Mapping[str, Any]
) -> Attempted:
    """Open a payment of a checkout (``asked``: checkout_id, method) at the channel.

    The channel is asked first, under a number derived from ``cause``, and what it answered is written down in one write. A trade
    that a crash leaves unwritten is entered again by a repetition; by nobody else, for nobody was told how to pay it.
    Raises Refusal NOT_FOUND, ALREADY_PAID, PAYMENT_CLOSED, CHANNEL_REFUSED, UNAVAILABLE.
    """
    number = ids.derived_id("p", cause.id)[:32]
    told = orders.payable(asked["checkout_id"])
    try:
        payable.check_payable(told, buyer_id, clock.business())
        return _opened(
            store, channel, cause, told, payable.attempt(number, asked["method"], told["amount"], payable.named(told))
        )
    except Refusal as refusal:
        known = store.by_trade_no(number) if refusal.reason in OVERTAKEN else None
        if known is None or commit.recognised(store.payables, known, cause) is None:
            raise
        return Attempted(known, number, replayed=True)


def _opened(
    store: Store, channel: Channel, cause: Cause, told: Mapping[str, Any], attempt: Mapping[str, Any]
) -> Attempted:
    """The attempt at the channel, then in the payable: created by the first one, changed by the next."""
    number, terms, now = attempt["out_trade_no"], payment_terms(), clock.business()
    known = store.payable(told["checkout_id"])
    if known is not None:
        if commit.recognised(store.payables, known, cause) is not None:
            return Attempted(known, number, replayed=True)
        repricing.check_in_step(known, told)
        payable.add_attempt(known, attempt, terms.attempts, now)  # refused before the channel hears of it
        repricing.caught_up(known, told)
    attempt = payable.placed(attempt, _place(store, channel, told, attempt))
    return written(store, cause, told, attempt, known)


def written(
    store: Store,
    cause: Cause,
    told: Mapping[str, Any],
    attempt: Mapping[str, Any],
    known: Document | None,
    next_at: int = 0,
) -> Attempted:
    """The attempt in its payable (``known``), which the first attempt creates. ``next_at`` (wall ms): when the jobs process asks for it, 0 never.

    Raises Refusal ALREADY_PAID, PAYMENT_CLOSED, CONDITION_UNMET, IDEMPOTENCY_KEY_REUSED.
    """
    number, terms, now = attempt["out_trade_no"], payment_terms(), clock.business()
    asking = {"next_at": next_at} if next_at else {}
    if known is None:
        first = {**payable.opened(told, attempt, terms), **asking}
        with contextlib.suppress(Taken):
            outcome = together.create(store.payables, first, cause, due=payable.first_due(told, terms))
            store.opened.keep(outcome.document)
            return Attempted(outcome.document, number, outcome.replayed)

    def decide(found: Document) -> Change | None:
        repricing.check_in_step(found, told)
        change = _added(found, told, payable.add_attempt(found, attempt, terms.attempts, now))
        return change if change is None else replace(change, set={**change.set, **asking})

    outcome = commit.change(store.payables, told["checkout_id"], cause, decide, kind="checkout")
    return Attempted(outcome.document, number, outcome.replayed)


def _added(known: Document, told: Mapping[str, Any], change: Change | None) -> Change | None:
    """Another attempt at what the checkout costs now: where its price changed, the payable follows in the same write."""
    return replace(change, set={**change.set, **repricing.caught_up(known, told)}) if change is not None else None


def payment_terms() -> payable.Terms:
    """The policy that a payable opened now lives by."""
    rules, now = policy.load("payments"), clock.business()
    names = ("last_query_before", "trade_life", "attempts_per_checkout")
    return payable.Terms(
        last_query_before=rules.span(names[0], now),
        trade_life=rules.span(names[1], now),
        attempts=rules.value(names[2], now),
        versions=tuple(rules.version(name, now) for name in names),
    )


def _place(store: Store, channel: Channel, told: Mapping[str, Any], attempt: Mapping[str, Any]) -> Mapping[str, str]:
    wanted = Trade(
        out_trade_no=attempt["out_trade_no"],
        method=attempt["method"],
        description=f"集市订单 {told['checkout_id']}",
        amount=attempt["amount"],
        currency=told["currency"],
        payer=told["buyer_id"],
        goods=store.shop_names([share["shop_id"] for share in told["shares"]]),
        pay_by=told["pay_by"],
    )
    return place(channel, wanted, attempt["payment_id"])


def place(channel: Channel, trade: Trade, name: str) -> Mapping[str, str]:
    """Place a trade at the channel: what the buyer needs to pay it. ``name`` is what the buyer knows it by.

    Raises Refusal PAYMENT_CLOSED, CHANNEL_REFUSED, UNAVAILABLE.
    """
    try:
        return channel.place(trade)
    except ChannelRefusedError as error:
        if error.code == "ORDERCLOSED":
            raise Refusal("PAYMENT_CLOSED", f"payment {name} is closed; open another one") from error
        info = {"code": error.code}
        raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}", info=info) from error


# ------------------------------------------------------------------------------------------------------------ hearing the channel


def query_payment(store: Store, channel: Channel, whose: Whose, payment_id: str) -> Attempted:
    """Ask the channel what became of a payment and collect it where it was paid.

    Raises Refusal NOT_FOUND, UNAVAILABLE, CHANNEL_REFUSED.
    """
    number = payable.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    if found is None or not whose.sees(found, found["payments"][payable.position(found, number)]):
        raise not_found("payment", payment_id)
    try:
        return Attempted(_asked(store, channel, number) or found, number)
    except ChannelRefusedError as error:
        raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}") from error


def _asked(store: Store, channel: Channel, number: str) -> Document | None:
    success = success_of(channel.trade(number))
    if success is not None:
        heard(store, success)
    return store.by_trade_no(number)


def receive(store: Store, channel: Channel, headers: Mapping[str, str], body: bytes) -> Reply:
    """Take what the channel tells, once however often it tells it; the reply it gets.

    What was not signed by the channel changes nothing and is counted. Raises Refusal CONDITION_UNMET when an amount differs from
    ours, UNAVAILABLE: the channel tells it again then, and we log why.
    """
    try:
        told = channel.believe(headers, body)
    except SignatureRefusedError as error:
        _log.warning("notification refused", why=str(error))
        NOTIFICATIONS.labels("unknown", "BAD_SIGNATURE").inc()
        return Reply(401, "BAD_SIGNATURE", str(error))
    try:
        reply = _heard(store, told)
    except Refusal as refusal:
        _log.error("notification not taken", event_type=told.event_type, reason=refusal.reason, why=refusal.message)
        NOTIFICATIONS.labels(told.event_type, refusal.reason).inc()
        raise
    NOTIFICATIONS.labels(told.event_type, reply.code).inc()
    return reply


def _heard(store: Store, told: Notification) -> Reply:
    if told.event_type == "TRANSACTION.SUCCESS":
        success = success_of(told.resource)
        if success is not None and heard(store, success) is None:
            _log.error("payment of an unknown trade", out_trade_no=success.out_trade_no)
            return Reply(404, "ORDER_NOT_EXIST", "no such trade here; it will be looked at in reconciliation")
    if told.event_type == "REFUND.SUCCESS":
        return _refund_heard(store, told.resource)
    return Reply(200, "SUCCESS")  # what else it may tell (REFUND.ABNORMAL) the jobs process hears when it asks again


def _refund_heard(store: Store, resource: Mapping[str, Any]) -> Reply:
    number, now = str(resource["out_refund_no"]), clock.business()
    row = store.refund(number)
    if row is None:
        _log.error("refund of an unknown number", out_refund_no=number)
        return Reply(404, "RESOURCE_NOT_EXISTS", "no such refund here")
    if resource["amount"]["refund"] != row["amount"]:
        raise Refusal("CONDITION_UNMET", f"refund {number} is {row['amount']} fen here")
    cause = Cause(f"chn:refunded:{number}")
    commit.change(store.refunds, number, cause, lambda found: refund.succeeded(found, now), fetch=False)
    return Reply(200, "SUCCESS")
