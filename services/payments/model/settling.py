"""T+n settlement (结算周期): what a completed order gave is the shop's at once, and available n natural days (CST) later.

One row an order waits for its own moment, so no document is written by all orders of a shop::

    {_id: "settle:{order}", order_id, checkout_id, shop_id, currency, amount, settled, waiting: shop_id}

``amount``: what is still pending of ``settled``: a case that is opened meanwhile holds from it first.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.chassis import calendar
from services.chassis.decisions import DONE, Change, Decision
from services.payments.model import ledger
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Document, Plan, Row

ROWS = "maturing"


def matures_at(data: Mapping[str, Any]) -> datetime | None:
    """The beginning of the CST day ``settlement_days`` after completion; None where it is available at once."""
    days = data.get("settlement_days", 0)
    if days <= 0:
        return None
    completed: datetime = data["completed_at"]
    return calendar.next_day(completed) + timedelta(days=days - 1)


def row_id(order_id: str) -> str:
    """The id of an order's row: that of the entry that settled it."""
    return f"settle:{order_id}"


def row(payable: Document, credit: Credit, order_id: str, due: datetime) -> Row:
    """What waits until ``due``."""
    document = {
        "_id": row_id(order_id),
        "order_id": order_id,
        "checkout_id": str(payable["_id"]),
        "shop_id": credit.shop_id,
        "currency": payable["currency"],
        "amount": credit.amount,
        "settled": credit.amount,
        "matures_at": due,
        "waiting": credit.shop_id,
    }
    return Row(ROWS, document, due=due)


def left(pending: Document | None) -> int:
    """What is still pending of an order's row."""
    return int(pending["amount"]) if pending is not None and "waiting" in pending else 0


def taken(pending: Document, amount: int) -> Row:
    """The row after ``amount`` was taken from it; an empty one waits no more."""
    rest = pending["amount"] - amount
    over: dict[str, Any] = {"unset": ("waiting",), "due": None} if rest == 0 else {}
    return Row(ROWS, pending, Change(set={"amount": rest}, **over))


def matured(pending: Document, now: datetime) -> Plan | Decision:
    """The timer of a row: what is still pending is available now. DONE where nothing is or its time has not come."""
    amount, shop_id = left(pending), pending["shop_id"]
    if not amount or pending["matures_at"] > now:
        return DONE
    number = f"mature:{pending['order_id']}"
    sides = (Posting(ledger.pending(shop_id), -amount), Posting(ledger.available(shop_id), amount))
    entry = Entry(number, "mature", pending["currency"], sides, (pending["checkout_id"], pending["order_id"]))
    return Plan(
        entries=(entry,),
        credits=(Credit(number, shop_id, "available", amount),),
        rows=(taken(pending, amount),),
    )
