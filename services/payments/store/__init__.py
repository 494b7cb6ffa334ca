"""The collections of payments.

``payables``: one a checkout, with its attempts, shares and escrow; ``entries``: the journal, never changed; ``shops``: balances
that debits guard; ``credits``: money credited to a shop and not yet folded into its balances; ``refunds``: the way back.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from services.chassis.mongo import DAY_S, Collection, Database, Document, Index

COLLECTIONS: Final = (
    Collection(
        "payables",
        (Index(("trade_nos",), unique=True), Index(("next_at",), sparse=True)),
        keyed=True,
        emits=True,
        timed=True,
    ),
    Collection("entries", (Index(("refs",)),)),
    Collection("shops", keyed=True),
    Collection(
        "credits",
        (Index(("waiting",), sparse=True), Index(("next_at",), sparse=True), Index(("expire_at",), expire_s=0)),
    ),
    Collection(
        "refunds",
        (Index(("checkout_id",)), Index(("order_id",)), Index(("order_ids",)), Index(("next_at",), sparse=True)),
        emits=True,
    ),
)
FOLD_BATCH: Final = 200
"""Credits folded in one transaction."""
FOLDED_KEPT_S: Final = 7 * DAY_S
"""A folded credit says nothing that its entry does not; it is kept for a while to look at."""


class Store:
    """Typed questions to the database of payments."""

    def __init__(self, database: Database) -> None:
        """Over one database."""
        self.database = database
        self.client = database.client
        self.payables = database["payables"]
        self.entries = database["entries"]
        self.shops = database["shops"]
        self.credits = database["credits"]
        self.refunds = database["refunds"]

    def payable(self, checkout_id: str) -> Document | None:
        """The payable of a checkout."""
        return self.payables.find_one({"_id": checkout_id})

    def by_trade_no(self, out_trade_no: str) -> Document | None:
        """The payable that has an attempt of this number."""
        return self.payables.find_one({"trade_nos": out_trade_no})

    def shop(self, shop_id: str) -> Document | None:
        """A shop's balance document."""
        return self.shops.find_one({"_id": shop_id})

    def waiting_credits(self, shop_id: str, limit: int = FOLD_BATCH) -> list[Document]:
        """Credits that wait to be folded into the shop's balances, ``limit`` of them (0: all)."""
        return list(self.credits.find({"waiting": shop_id}).limit(limit))

    def entry(self, entry_id: str) -> Document | None:
        """A journal entry."""
        return self.entries.find_one({"_id": entry_id})

    def entries_of(self, ref: str, after: Sequence[Any] | None, limit: int) -> list[Document]:
        """Entries that touch ``ref``, oldest first, after (posted_at, id)."""
        query: dict[str, Any] = {"refs": ref}
        if after is not None:
            posted_at, entry_id = after
            later = {"posted_at": {"$gt": posted_at}}
            query["$or"] = [later, {"posted_at": posted_at, "_id": {"$gt": entry_id}}]
        return list(self.entries.find(query).sort([("posted_at", 1), ("_id", 1)]).limit(limit))

    def refund(self, refund_id: str) -> Document | None:
        """A refund by its number."""
        return self.refunds.find_one({"_id": refund_id})

    def refunds_of(self, query: Document) -> list[Document]:
        """Refunds by checkout_id and/or order_id, oldest first; a payment has at most 50."""
        return sorted(self.refunds.find(query), key=_created)

    def trial(self) -> list[Document]:
        """Debits and credits of all entries by kind of account and currency: ``[{_id: {kind, currency}, debits, credits}]``."""
        positive = {"$cond": [{"$gt": ["$postings.amount", 0]}, "$postings.amount", 0]}
        negative = {"$cond": [{"$lt": ["$postings.amount", 0]}, {"$subtract": [0, "$postings.amount"]}, 0]}
        group = {
            "_id": {"kind": "$postings.kind", "currency": "$currency"},
            "debits": {"$sum": negative},
            "credits": {"$sum": positive},
        }
        return list(self.entries.aggregate([{"$unwind": "$postings"}, {"$group": group}]))

    def escrows(self) -> list[Document]:
        """What the payables hold in escrow: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$shares.escrow"}}
        return list(self.payables.aggregate([{"$unwind": "$shares"}, {"$group": group}]))

    def all_shops(self) -> Iterator[Document]:
        """The balances of every shop."""
        return iter(self.shops.find({}, {"currency": 1, "available": 1, "deposit": 1, "receivable": 1, "held": 1}))

    def all_waiting_credits(self) -> Iterator[Document]:
        """Every credit that is not folded yet."""
        return iter(self.credits.find({"waiting": {"$exists": True}}))


def _created(document: Document) -> tuple[datetime, str]:
    return document["created_at"], document["_id"]
