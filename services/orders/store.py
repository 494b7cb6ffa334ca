"""The collections of orders: checkouts, and their child orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.chassis import clock, commit, policy, together
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change
from services.chassis.mongo import Collection, Database, Document, Index
from services.orders.model.checkout import Terms
from services.orders.model.order import unpaid_until

COLLECTIONS: Final = (
    Collection("checkouts", keyed=True, emits=True, timed=True),
    Collection(
        "orders",
        (
            Index(("checkout_id",)),
            Index(("buyer_id", "serial")),
            Index(("shop_id", "serial")),
            Index(("shop_id", "state", "serial")),
        ),
        emits=True,
        timed=True,
    ),
)
_RANDOM_BITS: Final = 22
_FIRST: Final = datetime(2014, 5, 29, tzinfo=UTC)
_LAST: Final = 2**63 - 1


def serial(created_at: datetime, order_id: str) -> int:
    """Orders sort by this: business milliseconds since 2014-05-29, then the random bits of the order's id."""
    return first_serial(created_at) | (int(order_id) & ((1 << _RANDOM_BITS) - 1))


def first_serial(moment: datetime) -> int:
    """The lowest serial of orders placed at ``moment`` or later; where 63 bits end (in 2084), all later ones share it."""
    since_ms = clock.ms(moment) - clock.ms(_FIRST)
    return min(max(0, since_ms), _LAST >> _RANDOM_BITS) << _RANDOM_BITS


def terms(now: datetime) -> Terms:
    """The policy in force at ``now``."""
    rules = policy.load("orders")
    frozen = ("pay_window", "close_slack", "ship_within", "auto_confirm", "commission_bp")
    return Terms(
        pay_window=rules.span("pay_window", now),
        close_slack=rules.span("close_slack", now),
        placing_patience=rules.span("placing_patience", now),
        ship_within=rules.span("ship_within", now),
        auto_confirm=rules.span("auto_confirm", now),
        commission_bp=rules.value("commission_bp", now),
        commission_policy=rules.version("commission_bp", now),
        lines=rules.value("lines_per_checkout", now),
        quantity=rules.value("quantity_per_sku", now),
        text_length=rules.value("text_length", now),
        notes_length=rules.value("notes_length", now),
        versions=tuple(rules.version(name, now) for name in frozen),
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
        self.checkouts = database["checkouts"]
        self.orders = database["orders"]

    def checkout(self, checkout_id: str) -> Document | None:
        """One checkout."""
        return self.checkouts.find_one({"_id": checkout_id})

    def order(self, order_id: str) -> Document | None:
        """One order."""
        return self.orders.find_one({"_id": order_id})

    def orders_of(self, checkout_id: str) -> list[Document]:
        """The child orders of a checkout, in the order of its lines."""
        found = self.orders.find({"checkout_id": checkout_id}, {"timeline": 0, "applied": 0, "outbox": 0})
        return sorted(found, key=lambda order: order["position"])

    def page(self, where: Mapping[str, Any], low: int, high: int, limit: int) -> list[Document]:
        """Orders with ``low`` ≤ serial < ``high``, newest first. Both bounds, because the embedded database uses no half range."""
        query = {**where, "serial": {"$gte": low, "$lt": high}}
        without = {"timeline": 0, "applied": 0, "outbox": 0}
        return list(self.orders.find(query, without).sort("serial", -1).limit(limit))

    def bounds(self, created_from: datetime | None, created_to: datetime | None) -> tuple[int, int]:
        """The serials of orders placed in [from, to); a bound that is not said lies at the end of time."""
        low = first_serial(created_from) if created_from else 0
        return low, first_serial(created_to) if created_to else _LAST

    def place(self, checkout: Document, change: Change, orders: Sequence[Document], cause: Cause) -> list[Document]:
        """One write: the child orders come to be and the checkout is placed. Answers the orders as they were inserted.

        Raises Shortfall when the checkout has moved, Taken when an order id is another's.
        """
        prepared = [self._prepared(order, cause) for order in orders]
        transaction = Transaction(self.database.client).change(self.checkouts, checkout, change, cause.part("placed"))
        together.commit(transaction.insert(self.orders, *prepared))
        return prepared

    def _prepared(self, order: Document, cause: Cause) -> Document:
        part = cause.part(f"order{order['position']}")
        prepared = commit.prepare(self.orders, order, part, due=unpaid_until(order))
        return {**prepared, "serial": serial(prepared["created_at"], order["_id"])}
