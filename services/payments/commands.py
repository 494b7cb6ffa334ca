"""What payments does when asked: open a payment, hear the channel, take a deposit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from prometheus_client import Counter

from services.chassis import clock, commit, ids, policy
from services.chassis.channel_signing import SignatureRefusedError
from services.chassis.commit import Cause, Taken, Transaction
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.payments.model import ledger, payable, refund
from services.payments.model.channel import ChannelRefusedError, Notification, Trade, success_of
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Books, Credit, Plan
from services.payments.model.purse import purse_of
from services.payments.store import Store
from services.payments.store.posting import collected, post

NOTIFICATIONS: Final = Counter(
    "jishi_channel_notifications_total", "Notifications at the channel's door", ("event_type", "answer")
)
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

    The attempt is written down before the channel hears of it, under a number derived from ``cause``, so a repetition after a
    crash goes on where it stopped. Raises Refusal NOT_FOUND, ALREADY_PAID, PAYMENT_CLOSED, CHANNEL_REFUSED, UNAVAILABLE.
    """
    number = ids.derived_id("p", cause.id)[:32]
    told = orders.payable(asked["checkout_id"])
    try:
        payable.check_payable(told, buyer_id, clock.business())
    except Refusal as refusal:
        known = store.by_trade_no(number) if refusal.reason != "NOT_FOUND" else None
        if known is None:
            raise
        return Attempted(known, number, replayed=True)
    attempt = payable.attempt(number, asked["method"], told["amount"])
    outcome = _written_down(store, told, attempt, cause)
    found = outcome.document
    if found["payments"][payable.position(found, number)]["state"] == "placing":
        found = _placed(store, channel, found, number)
    return Attempted(found, number, outcome.replayed)


def _written_down(store: Store, told: Mapping[str, Any], attempt: Mapping[str, Any], cause: Cause) -> commit.Outcome:
    """The payable with this attempt: created by the first one, changed by the next."""
    terms, now = _terms(), clock.business()
    try:
        opened = payable.opened(told, attempt, terms)
        return commit.create(store.payables, opened, cause, due=payable.first_due(told, terms))
    except Taken:
        return commit.change(
            store.payables,
            told["checkout_id"],
            cause,
            lambda found: payable.add_attempt(found, attempt, terms.attempts, now),
            kind="checkout",
        )


def _terms() -> payable.Terms:
    rules, now = policy.load("payments"), clock.business()
    names = ("last_query_before", "trade_life", "attempts_per_checkout")
    return payable.Terms(
        last_query_before=rules.span(names[0], now),
        trade_life=rules.span(names[1], now),
        attempts=rules.value(names[2], now),
        versions=tuple(rules.version(name, now) for name in names),
    )


def _placed(store: Store, channel: Channel, found: Document, number: str) -> Document:
    """Place the attempt at the channel and keep what the buyer needs to pay it."""
    attempt = found["payments"][payable.position(found, number)]
    wanted = Trade(
        out_trade_no=number,
        method=attempt["method"],
        description=f"集市订单 {found['_id']}",
        amount=attempt["amount"],
        currency=found["currency"],
        payer=found["buyer_id"],
    )
    try:
        told = channel.place(wanted)
    except ChannelRefusedError as error:
        return _refused(store, channel, found, number, error)
    _change(store, found, f"chn:placed:{number}", lambda document: payable.placed(document, number, told))
    return payable.shown(found, number, {**told, "state": "open"})


def _refused(store: Store, channel: Channel, found: Document, number: str, error: ChannelRefusedError) -> Document:
    """The channel does not take the trade again: it was paid, or closed, or was never welcome."""
    if error.code == "ORDERPAID":
        return _asked(store, channel, number) or found
    if error.code == "ORDERCLOSED":
        _change(store, found, f"chn:ended:{number}", lambda document: payable.ended(document, number))
        raise Refusal("PAYMENT_CLOSED", f"payment {payable.payment_id(number)} is closed; open another one")
    raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}", info={"code": error.code})


def _change(store: Store, found: Document, cause_id: str, decide: commit.Decide) -> None:
    """Change a payable we have just read, in one command where nobody was faster."""
    cause, change = Cause(cause_id), decide(found)
    if change is not None and not commit.write(store.payables, found, change, cause):
        commit.change(store.payables, found["_id"], cause, decide, kind="checkout", fetch=False)


# ------------------------------------------------------------------------------------------------------------ hearing the channel


def query_payment(store: Store, channel: Channel, buyer_id: str | None, payment_id: str) -> Attempted:
    """Ask the channel what became of a payment and collect it where it was paid. ``buyer_id`` None: whosever it is.

    Raises Refusal NOT_FOUND, UNAVAILABLE, CHANNEL_REFUSED.
    """
    number = payable.out_trade_no(payment_id)
    found = store.by_trade_no(number)
    if found is None or (buyer_id is not None and found["buyer_id"] != buyer_id):
        raise not_found("payment", payment_id)
    try:
        return Attempted(_asked(store, channel, number) or found, number)
    except ChannelRefusedError as error:
        raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}") from error


def _asked(store: Store, channel: Channel, number: str) -> Document | None:
    success = success_of(channel.trade(number))
    if success is not None:
        collected(store, success)
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
        if success is not None and collected(store, success) is None:
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


# ----------------------------------------------------------------------------------------------------------------------- deposit


def pay_deposit(store: Store, cause: Cause, shop_id: str, amount: int) -> tuple[Document, bool]:
    """The merchant pays ``amount`` (minor units) into the shop's deposit: the journal entry, and whether it was there before.

    ``shop`` beside the entry's fields: the shop's balances right after it, which are remembered for a repetition.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, IDEMPOTENCY_KEY_REUSED.
    """
    most = policy.load("payments").value("deposit_most", clock.business())
    if not 0 < amount <= most:
        raise invalid("amount", f"must be 1 to {most} fen")
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    entry = Entry(
        ids.derived_id("deposit", cause.id),
        "deposit",
        shop["currency"],
        (Posting(ledger.BANK, -amount), Posting(ledger.deposit(shop_id), amount)),
        (shop_id,),
    )
    replayed = False
    credit = Credit(entry.id, shop_id, "deposit", amount)
    try:
        remembered = Transaction(store.client).answer(store.database, cause, _balances_with(store, shop, credit))
        post(store, Plan(entries=(entry,), credits=(credit,)), Books(None), cause, remembered)
    except Taken:
        replayed = True
    found = store.entry(entry.id)
    if found is None:
        raise Refusal("UNAVAILABLE", "the deposit is being written; try again", retry_after_s=1)
    if replayed and cause.hash and found["hash"] != cause.hash:
        raise Refusal("IDEMPOTENCY_KEY_REUSED", "this idempotency key was used with another request; use a new key")
    return {**found, "shop": commit.answered(store.database, cause)}, replayed


def _balances_with(store: Store, shop: Document, credit: Credit) -> Document:
    """The shop's balances with all credits that wait and this one."""
    waiting = store.waiting_credits(shop["_id"], limit=0)
    own = {"pocket": credit.pocket, "amount": credit.amount}
    return {"_id": shop["_id"], "currency": shop["currency"], **purse_of(shop).credited([*waiting, own]).fields()}
