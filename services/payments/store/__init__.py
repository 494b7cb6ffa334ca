"""The collections of payments.

``payables``: one a checkout, with its attempts, shares and escrow; ``entries``: the journal, never changed; ``shops``: balances
that debits guard; ``credits``: money credited to a shop and not yet folded into its balances; ``refunds``: the way back; ``blocks``:
the journal's seal; ``sums``: what moved of a shop's money in each day and month; ``reconciliations``: the channel's days; ``differences``: what they found.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from services.chassis import together
from services.chassis.fresh import Fresh
from services.chassis.mongo import DAY_S, LETTERS, Collection, Database, Document, Index
from services.payments.store.opened import Opened

COLLECTIONS: Final = (
    Collection(
        "payables",
        (Index(("trade_nos",), unique=True), Index(("next_at",), sparse=True)),
        emits=True,
        timed=True,
    ),
    Collection("entries", (Index(("refs", "posted_at")), Index(("written_at",)), Index(("books",)))),
    Collection("shops", (Index(("settlement_days",), sparse=True),), keyed=True, timed=True),
    Collection("reconciliations", (Index(("next_at",), sparse=True),)),
    Collection("differences", (Index(("day", "_id")), Index(("number",)))),
    Collection(
        "credits",
        (Index(("waiting",), sparse=True), Index(("next_at",), sparse=True), Index(("expire_at",), expire_s=0)),
    ),
    Collection(
        "refunds",
        (Index(("checkout_id",)), Index(("order_id",)), Index(("order_ids",)), Index(("next_at",), sparse=True)),
        emits=True,
    ),
    # T+n: what was settled and is not available yet; see model/settling.py.
    Collection("maturing", (Index(("waiting",), sparse=True),), timed=True),
    # Shops' money on its way to a bank; see model/withdrawals.py.
    Collection(
        "withdrawals",
        (Index(("shop_id", "-created_at")), Index(("next_at",), sparse=True), Index(("open",), sparse=True)),
    ),
    # Red packets and what buyers got out of them; see model/packets.py.
    Collection("packets", (Index(("sent_by",), unique=True),), timed=True),
    Collection("wallets"),
    # Frozen parts of orders whose profit is shared; see model/sharing.py.
    Collection("sharings", timed=True),
    Collection("topups", (Index(("next_at",), sparse=True),)),
    # The ledger's seal and what it sums; see store/sealing.py.
    Collection("blocks", (Index(("number",)), Index(("reached",)), Index(("entries.id",)))),
    Collection("sealing", (Index(("next_at",), sparse=True),)),
    Collection("sums", (Index(("owner", "span", "period")),)),
    LETTERS,
)
FOLD_BATCH: Final = 200
"""Credits folded in one transaction."""
FOLDED_KEPT_S: Final = 7 * DAY_S
"""A folded credit says nothing that its entry does not; it is kept for a while to look at."""


NAMES_KEPT_S: Final = 60.0
"""A shop's name is only shown: it may be so old."""


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
        self.maturing = database["maturing"]
        self.sharings = database["sharings"]
        self.packets = database["packets"]
        self.wallets = database["wallets"]
        self.topups = database["topups"]
        self.withdrawals = database["withdrawals"]
        self.blocks = database["blocks"]
        self.sealing = database["sealing"]
        self.sums = database["sums"]
        self.reconciliations = database["reconciliations"]
        self.differences = database["differences"]
        self.opened = Opened()
        self._names: Fresh[str] = Fresh(NAMES_KEPT_S)

    def payable(self, checkout_id: str) -> Document | None:
        """The payable of a checkout."""
        return together.find(self.payables, [checkout_id]).get(checkout_id)

    def by_trade_no(self, out_trade_no: str) -> Document | None:
        """The payable that has an attempt of this number."""
        found = together.find_by(self.payables, "trade_nos", [out_trade_no], {}).get(out_trade_no)
        return found[0] if found else None

    def shop(self, shop_id: str) -> Document | None:
        """A shop's balance document."""
        return self.shops.find_one({"_id": shop_id})

    def shop_names(self, shop_ids: Sequence[str]) -> tuple[str, ...]:
        """The names of these shops, as far as accounts has told of them; up to a minute old, for they are only shown."""
        return tuple(sorted({name for one in shop_ids if (name := self._name(one))}))

    def _name(self, shop_id: str) -> str:
        with contextlib.suppress(LookupError):
            return self._names.get(shop_id, lambda: self._told_name(shop_id)) or ""
        return ""

    def _told_name(self, shop_id: str) -> str:
        """Raises LookupError while accounts has not told of the shop: that is not kept."""
        found = self.shops.find_one({"_id": shop_id}, {"name": 1})
        if found is None:
            raise LookupError(shop_id)
        return str(found["name"])

    def waiting_credits(self, shop_id: str, limit: int = FOLD_BATCH) -> list[Document]:
        """Credits that wait to be folded into the shop's balances, ``limit`` of them (0: all)."""
        return list(self.credits.find({"waiting": shop_id}).limit(limit))

    def pending(self, order_id: str) -> Document | None:
        """What was settled of an order and waits or waited for its day (T+n)."""
        return self.maturing.find_one({"_id": f"settle:{order_id}"})

    def sharing(self, order_id: str) -> Document | None:
        """The frozen part of an order whose profit is shared."""
        return self.sharings.find_one({"_id": order_id})

    def all_frozen(self) -> list[Document]:
        """What is frozen for sharing in all: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$frozen"}}
        return list(self.sharings.aggregate([{"$group": group}]))

    def pending_of(self, shop_id: str) -> int:
        """What is pending of a shop, in minor units."""
        group = {"_id": None, "total": {"$sum": "$amount"}}
        found = self.maturing.aggregate([{"$match": {"waiting": shop_id}}, {"$group": group}])
        return sum(row["total"] for row in found)

    def entry(self, entry_id: str) -> Document | None:
        """A journal entry."""
        return self.entries.find_one({"_id": entry_id})

    def entries_of(
        self, ref: str, after: Sequence[Any] | None, limit: int, within: tuple[datetime, datetime] | None = None
    ) -> list[Document]:
        """Entries that touch ``ref``, oldest first, after (posted_at, id). ``within``: posted from the first to before the second."""
        query: dict[str, Any] = {"refs": ref}
        if within is not None:
            query["posted_at"] = {"$gte": within[0], "$lt": within[1]}
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

    def trial(self, at: datetime | None = None) -> list[Document]:
        """Debits and credits of all entries by kind of account and currency: ``[{_id: {kind, currency}, debits, credits}]``.

        ``at``: of those posted until then.
        """
        positive = {"$cond": [{"$gt": ["$postings.amount", 0]}, "$postings.amount", 0]}
        negative = {"$cond": [{"$lt": ["$postings.amount", 0]}, {"$subtract": [0, "$postings.amount"]}, 0]}
        group = {
            "_id": {"kind": "$postings.kind", "currency": "$currency"},
            "debits": {"$sum": negative},
            "credits": {"$sum": positive},
        }
        until: list[Document] = [{"$match": {"posted_at": {"$lte": at}}}] if at is not None else []
        return list(self.entries.aggregate([*until, {"$unwind": "$postings"}, {"$group": group}]))

    def escrows(self) -> list[Document]:
        """What the payables hold in escrow: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$shares.escrow"}}
        return list(self.payables.aggregate([{"$unwind": "$shares"}, {"$group": group}]))

    def withdrawals_of(self, shop_id: str, after: Sequence[Any] | None, limit: int) -> list[Document]:
        """A shop's withdrawals, newest first, after (created_at, id)."""
        query: dict[str, Any] = {"shop_id": shop_id}
        if after is not None:
            created_at, row_id = after
            earlier = {"created_at": {"$lt": created_at}}
            query["$or"] = [earlier, {"created_at": created_at, "_id": {"$lt": row_id}}]
        return list(self.withdrawals.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit))

    def withdrawn_since(self, shop_id: str, since: datetime) -> int:
        """What the shop has asked for since then and the bank has not refused or returned, in minor units."""
        counted: Document = {"shop_id": shop_id, "created_at": {"$gte": since}, "state": {"$ne": "failed"}}
        group = {"_id": None, "total": {"$sum": "$amount"}}
        return sum(row["total"] for row in self.withdrawals.aggregate([{"$match": counted}, {"$group": group}]))

    def all_withdrawing(self) -> list[Document]:
        """What is on its way to banks in all: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$amount"}}
        return list(self.withdrawals.aggregate([{"$match": {"open": {"$exists": True}}}, {"$group": group}]))

    def all_packets(self) -> list[Document]:
        """What is left in red packets: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$left"}}
        return list(self.packets.aggregate([{"$group": group}]))

    def all_wallets(self) -> list[Document]:
        """What buyers' wallets hold: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$balance"}}
        return list(self.wallets.aggregate([{"$group": group}]))

    def withdrawing_of(self, shop_id: str) -> int:
        """What is on its way to the shop's bank, in minor units."""
        found = self.withdrawals.find({"open": shop_id}, {"amount": 1})
        return sum(row["amount"] for row in found)

    def all_pending(self) -> list[Document]:
        """What is pending in all: ``[{_id: currency, total}]``."""
        group = {"_id": "$currency", "total": {"$sum": "$amount"}}
        return list(self.maturing.aggregate([{"$match": {"waiting": {"$exists": True}}}, {"$group": group}]))

    def all_shops(self) -> Iterator[Document]:
        """The balances of every shop."""
        return iter(self.shops.find({}, {"currency": 1, "available": 1, "deposit": 1, "receivable": 1, "held": 1}))

    def all_waiting_credits(self) -> Iterator[Document]:
        """Every credit that is not folded yet."""
        return iter(self.credits.find({"waiting": {"$exists": True}}))


def _created(document: Document) -> tuple[datetime, str]:
    return document["created_at"], document["_id"]
