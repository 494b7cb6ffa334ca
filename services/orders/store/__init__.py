"""The collections of orders: checkouts (see ``checkouts``), their child orders, and ``placings``: what is being placed, see ``placing``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.chassis import commit, policy, regions, together
from services.chassis.commit import Cause, Transaction
from services.chassis.mongo import LETTERS, Collection, Database, Document, Index
from services.orders.model.checkout import Terms
from services.orders.model.deadlines import unpaid_until
from services.orders.store.census import Counting
from services.orders.store.checkouts import CHECKOUTS, Checkouts
from services.orders.store.files import Files
from services.orders.store.lists import BY_CHANGE, BY_STATE, BY_WORD, WITHOUT, Lists
from services.orders.store.placing import PLACINGS, Placings
from services.orders.store.serials import END, first_serial, serial

__all__ = ["COLLECTIONS", "END", "Placed", "Store", "first_serial", "serial", "terms"]

COLLECTIONS: Final = (
    CHECKOUTS,
    Collection("address_books"),
    PLACINGS,
    Collection("carriers"),
    Collection("placings", (Index(("expire_at",), expire_s=0),), timed=True),
    Collection(
        "orders",
        (
            Index(("checkout_id",)),
            Index(BY_WORD),
            Index(BY_STATE),
            Index(BY_CHANGE),
            Index(("parcels.track_no",), sparse=True),
        ),
        emits=True,
        timed=True,
    ),
    Collection("census"),
    LETTERS,
    Collection(
        "exports",
        (Index(("next_at",), sparse=True), Index(("working_for",), sparse=True), Index(("shop_id", "-position"))),
        keyed=True,
    ),
    Collection("export_blocks", (Index(("expire_at",), expire_s=0),)),
)
TIMES: Final = (
    *("auto_confirm_virtual", "delivered_confirm", "undelivered", "extension", "correction"),
    *("voucher_valid", "reversal"),
)
"""Policies in seconds that an order keeps as they were when it was placed, beside those of ``Terms``."""


def terms(now: datetime) -> Terms:
    """The policy in force at ``now``."""
    rules = policy.load("orders")
    frozen = ("pay_window", "close_slack", "ship_within", "presale_grace", "auto_confirm", "commission_bp")
    return Terms(
        pay_window=rules.span("pay_window", now),
        close_slack=rules.span("close_slack", now),
        placing_patience=rules.span("placing_patience", now),
        ship_within=rules.span("ship_within", now),
        presale_grace=rules.span("presale_grace", now),
        auto_confirm=rules.span("auto_confirm", now),
        commission_bp=rules.value("commission_bp", now),
        commission_policy=rules.version("commission_bp", now),
        lines=rules.value("lines_per_checkout", now),
        quantity=rules.value("quantity_per_sku", now),
        text_length=rules.value("text_length", now),
        notes_length=rules.value("notes_length", now),
        vouchers=rules.value("vouchers_per_order", now),
        versions=tuple(rules.version(name, now) for name in (*frozen, *TIMES)),
        regions=regions.load(),
        times={f"{name}_s": rules.value(name, now) for name in TIMES},
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """A placed checkout with its child orders."""

    checkout: Document
    orders: Sequence[Document]
    replayed: bool = False


class Store:
    """Reads of orders' database, and the one write of several documents."""

    def __init__(self, database: Database) -> None:
        """Keep the collections at hand."""
        self.database = database
        self.checkouts = Checkouts(database)
        self.orders = database["orders"]
        self.address_books = database["address_books"]
        self.carriers = database["carriers"]
        self.lists = Lists(self.orders)
        self.placings = Placings(database, self.checkouts)
        self.counting = Counting(database)
        self.files = Files(database)

    def checkout(self, checkout_id: str) -> Document | None:
        """One checkout."""
        return self.checkouts.found([checkout_id]).get(checkout_id)

    def order(self, order_id: str) -> Document | None:
        """One order."""
        return self.orders.find_one({"_id": order_id})

    def address_book(self, buyer_id: str) -> Document | None:
        """The addresses of a buyer; None before the first."""
        return self.address_books.find_one({"_id": buyer_id})

    def carrier(self, name: str) -> Document | None:
        """A carrier that may tell of parcels."""
        return self.carriers.find_one({"_id": name})

    def orders_of(self, checkout_id: str) -> list[Document]:
        """The child orders of a checkout, in the order of its lines."""
        found = together.find_by(self.orders, "checkout_id", [checkout_id], WITHOUT).get(checkout_id, [])
        return sorted(found, key=lambda order: order["position"])

    def count_orders_of(self, checkout_id: str) -> int:
        """How many orders a checkout has."""
        return int(self.orders.count_documents({"checkout_id": checkout_id}))

    def orders_by_id(self, order_ids: Sequence[str]) -> list[Document]:
        """These orders, as many as there are, by id."""
        found = self.orders.find({"_id": {"$in": list(order_ids)}}, WITHOUT)
        return sorted(found, key=lambda order: str(order["_id"]))

    def carried(self, company: str, track_no: str, limit: int) -> list[str]:
        """Ids of at most ``limit`` orders that have something in that parcel."""
        query = {"parcels.track_no": track_no}
        found = self.orders.find(query, {"parcels.company": 1, "parcels.track_no": 1}).limit(limit)
        wanted = {"company": company, "track_no": track_no}
        return sorted(order["_id"] for order in found if wanted in order["parcels"])

    def begin(self, placing: Document, cause: Cause, due: datetime) -> Document | None:
        """Write down that a checkout is being placed, unless it was; answers the checkout that is there. See ``Placings``."""
        return self.placings.begin(commit.prepare(self.checkouts.rows, placing, cause), due)

    def place(self, checkout: Document, orders: Sequence[Document], cause: Cause) -> Placed:
        """One write: the checkout and its child orders come to be.

        Raises Taken or Shortfall when the checkout is there already, or an order id is another's.
        """
        whole = commit.prepare(self.checkouts.rows, checkout, cause)
        prepared = [self._prepared(order, cause) for order in orders]
        transaction = Transaction(self.database.client).insert(self.orders, *prepared)
        together.commit(self.checkouts.place(transaction, whole))
        return Placed(whole, prepared)

    def _prepared(self, order: Document, cause: Cause) -> Document:
        part = cause.part(f"order{order['position']}")
        prepared = commit.prepare(self.orders, order, part, due=unpaid_until(order))
        return {**prepared, "serial": serial(prepared["created_at"], order["_id"])}
