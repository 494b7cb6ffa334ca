"""What one cause does to the books: values that the store writes in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis.decisions import Change
from services.payments.model.ledger import Entry

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Credit:
    """Money credited to a shop without touching its balance document: a row that the next debit or the timer folds in.

    ``pocket``: available, deposit or hold (of ``case_id``). Its id is that of the entry that credits.
    """

    id: str
    shop_id: str
    pocket: str
    amount: int
    case_id: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where part of a refund came from: escrow, hold, available, deposit, indemnity or payment (one that was returned whole)."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back to the buyer. ``id`` is its number at the channel (商户退款单号), fixed by its cause.

    What belongs to one order has its ``order_id``; a payment that is returned whole has the ``order_ids`` that it was meant for.
    """

    id: str
    checkout_id: str
    out_trade_no: str
    transaction_id: str
    amount: int
    total: int
    currency: str
    cause: str
    buyer_id: str
    order_id: str = ""
    order_ids: tuple[str, ...] = ()
    shop_id: str = ""
    case_id: str = ""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A document beside the books: a new one of ``collection``, or with ``change`` this version of it changed.

    ``due``: when the timer of a new one fires (UTC business time).
    """

    collection: str
    document: Document
    change: Change | None = None
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What a decision looks at: a payable, the shop's balance document, and the credits that wait to be folded into it.

    ``pending``: what was settled for the order and has not matured (T+n); ``sharing``: what of it waits to be shared (分账).
    """

    payable: Document | None
    shop: Document | None = None
    credits: Sequence[Document] = ()
    pending: Document | None = None
    sharing: Document | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one cause writes, all or nothing. ``folded``: ids of credit rows that ``shop`` now contains."""

    payable: Change | None = None
    shop: Change | None = None
    entries: tuple[Entry, ...] = ()
    refunds: tuple[Refund, ...] = ()
    credits: tuple[Credit, ...] = ()
    folded: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
