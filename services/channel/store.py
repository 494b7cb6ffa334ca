"""The channel's one collection. A trade, its refunds and its notifications are one document, so each step is one write.

Every write but the insert is conditional on ``rev``, the count of writes its reader has seen, or (the unread payment) on the state.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from services.channel.model.billing import payment_day
from services.channel.model.notice import next_due, next_notice
from services.channel.model.script import READ_FIRST, Fault, NotifyPlan
from services.channel.model.values import (
    EventType,
    Notice,
    NoticeState,
    Order,
    Refund,
    RefundStatus,
    Success,
    Trade,
    TradeState,
)
from services.chassis.calendar import day
from services.chassis.mongo import Collection, Database, Document, Index

TRADES: Final = Collection(
    "trades",
    indexes=(
        Index(("numbers",), unique=True),
        Index(("bill_days",), sparse=True),
    ),
    timed=True,
)
"""``_id`` is the merchant's out_trade_no. ``due_at``: next_due(). ``bill_days``: CST days on whose bill the trade or a refund stands.

``numbers``: under which it is found besides, each of one trade only: ``prepay:``, ``transaction:`` (once it is paid), ``refund:`` (of each). One
index for all three: every trade is written three times, and each index costs the embedded database as much as a small read.
"""
PREPAY: Final = "prepay"
TRANSACTION: Final = "transaction"
REFUND: Final = "refund"

_OMIT: Final[tuple[object, ...]] = (None, "", (), [])


def _plain(value: Order | Refund | Notice | NotifyPlan | Success | Trade) -> Document:
    """The fields of a value as a document, without the empty ones (a sparse unique index must not see them)."""
    held = ((name, getattr(value, name)) for name in value.__slots__)
    return {name: one for name, one in held if one not in _OMIT}


def _number(kind: str, value: str) -> str:
    return f"{kind}:{value}"


def _numbers(trade: Trade) -> list[str]:
    found = [_number(PREPAY, trade.prepay_id)]
    if trade.transaction_id:
        found.append(_number(TRANSACTION, trade.transaction_id))
    return found + [_number(REFUND, one.out_refund_no) for one in trade.refunds]


def to_document(trade: Trade) -> Document:
    """A trade as it is stored."""
    document = _plain(trade)
    document["numbers"] = _numbers(trade)
    order = _plain(trade.order)
    document["_id"] = order.pop("out_trade_no")
    document["order"] = order
    document["scripted"] = trade.fault in READ_FIRST
    if trade.plan is not None:
        document["plan"] = _plain(trade.plan)
    if trade.refunds:
        document["refunds"] = [_plain(one) for one in trade.refunds]
    if trade.notices:
        document["notices"] = [_plain(one) for one in trade.notices]
    due_at = next_due(trade)
    if due_at is not None:
        document["due_at"] = due_at
    if trade.paid_at is not None:
        document["bill_days"] = sorted(
            {payment_day(trade.paid_at, trade.fault), *(day(one.created_at) for one in trade.refunds)}
        )
    return document


def _held(kind: type, document: Document) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in document.items() if name in names}


def _order(document: Document) -> Order:
    told = {"notify_url": "", **document["order"]}
    return Order(**{**told, "out_trade_no": document["_id"], "goods": tuple(told.get("goods", ()))})


def to_trade(document: Document) -> Trade:
    """A stored document as a trade."""
    held = _held(Trade, document)
    held["order"] = _order(document)
    held["state"] = TradeState(document["state"])
    held["fault"] = Fault(document["fault"])
    if "plan" in document:
        held["plan"] = NotifyPlan(**document["plan"])
    held["refunds"] = tuple(
        Refund(**{**one, "status": RefundStatus(one["status"])}) for one in document.get("refunds", ())
    )
    held["notices"] = tuple(
        Notice(**{**one, "event_type": EventType(one["event_type"]), "state": NoticeState(one["state"])})
        for one in document.get("notices", ())
    )
    return Trade(**held)


class Store:
    """The trades of the channel."""

    def __init__(self, database: Database) -> None:
        """Use ``database``, the channel's own."""
        self._trades = database[TRADES.name]

    def declare(self) -> None:
        """Create the indexes that are not there yet."""
        for index in TRADES.all_indexes():
            options: dict[str, Any] = {name: True for name in ("unique", "sparse") if getattr(index, name)}
            self._trades.create_index([(key, 1) for key in index.keys], **options)

    def ping(self) -> None:
        """Raise PyMongoError where the database does not answer."""
        self._trades.database.command("ping")

    def insert(self, trade: Trade) -> bool:
        """Keep a new trade. False: that out_trade_no is already there."""
        try:
            self._trades.insert_one(to_document(trade))
        except DuplicateKeyError:
            return False
        return True

    def pay_unread(self, prepay_id: str, success: Success) -> bool:
        """The common payment in one write: a NOTPAY trade, no script, not another buyer's. False: nothing changed, read and see."""
        guard: Document = {
            "numbers": _number(PREPAY, prepay_id),
            "state": TradeState.NOTPAY.value,
            "scripted": False,
        }
        if success.payer:
            guard["order.openid"] = {"$in": [None, success.payer]}
        put = _plain(success) | {"state": TradeState.SUCCESS.value, "bill_days": [day(success.paid_at)]}
        if success.notices:
            put["notices"] = [_plain(one) for one in success.notices]
        due_at = next_notice(success.notices)
        if due_at is not None:
            put["due_at"] = due_at
        update = {"$set": put, "$push": {"numbers": _number(TRANSACTION, success.transaction_id)}, "$inc": {"rev": 1}}
        return self._trades.update_one(guard, update).modified_count == 1

    def amend(self, old: Trade, new: Trade) -> bool:
        """Write what differs between ``old`` (as read) and ``new``. False: somebody wrote in between, read again.

        Raises DuplicateKeyError where a refund number or transaction id belongs to another trade.
        """
        before, after = to_document(old), to_document(new)
        change: Document = {"$inc": {"rev": 1}}
        if put := {name: value for name, value in after.items() if before.get(name) != value}:
            change["$set"] = put
        if drop := {name: "" for name in before if name not in after}:
            change["$unset"] = drop
        return self._trades.update_one({"_id": old.order.out_trade_no, "rev": old.rev}, change).modified_count == 1

    def _one(self, query: Document) -> Trade | None:
        document = self._trades.find_one(query)
        return None if document is None else to_trade(document)

    def by_number(self, out_trade_no: str) -> Trade | None:
        """The trade the merchant calls ``out_trade_no``."""
        return self._one({"_id": out_trade_no})

    def by_transaction(self, transaction_id: str) -> Trade | None:
        """The paid trade with the channel's own number."""
        return self._one({"numbers": _number(TRANSACTION, transaction_id)})

    def by_prepay(self, prepay_id: str) -> Trade | None:
        """The trade behind a cashier."""
        return self._one({"numbers": _number(PREPAY, prepay_id)})

    def by_refund(self, out_refund_no: str) -> Trade | None:
        """The trade that was refunded under ``out_refund_no``."""
        return self._one({"numbers": _number(REFUND, out_refund_no)})

    def due(self, now_ms: int, besides: Iterable[str], limit: int) -> list[Trade]:
        """At most ``limit`` trades with something to do at ``now_ms``, without those numbered in ``besides``."""
        query: Document = {"due_at": {"$gt": 0, "$lte": now_ms}}
        skip = set(besides)
        found = self._trades.find(query).limit(limit + len(skip))
        return [to_trade(document) for document in found if document["_id"] not in skip][:limit]

    def billed(self, cst_day: str) -> Iterator[Trade]:
        """The trades that stand on the bill of a CST day (``"2026-01-05"``)."""
        return (to_trade(document) for document in self._trades.find({"bill_days": cst_day}))
