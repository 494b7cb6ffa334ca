"""Collections of disputes.

``cases``: one document a case: ``_id`` (case id), order_id, checkout_id, shop_id, buyer_id, kind, state, claim, refunded (fen),
ruling, rejected_rulings, timeline, order (snapshot), ``open_order`` (the order id while the case is open: at most one open case an order),
``number_in_order`` (order id and the case's number in it, from 1: the count of an order's cases is exact however many open at once).
"""

from datetime import datetime
from typing import Any, Final

from services.chassis import paging
from services.chassis.mongo import Collection, Database, Document, Index

COLLECTIONS: Final = (
    Collection(
        "cases",
        indexes=(
            Index(("open_order",), unique=True, sparse=True),
            Index(("number_in_order",), unique=True, sparse=True),
            Index(("order_id",)),
            Index(("buyer_id", "-opened_at")),
            Index(("shop_id", "-opened_at")),
            Index(("state", "-opened_at")),
        ),
        keyed=True,
        emits=True,
        timed=True,
    ),
)
_BEGINNING: Final = datetime.fromisoformat("2014-05-29T00:00:00+00:00")


class Store:
    """The cases."""

    def __init__(self, database: Database) -> None:
        """Open the collections in disputes' own database."""
        self.database = database
        self.cases = database["cases"]

    def case(self, case_id: str) -> Document | None:
        """One case."""
        return self.cases.find_one({"_id": case_id})

    def cases_of_order(self, order_id: str) -> list[Document]:
        """The cases an order has had: ids, what they refunded (fen), and whether they are open (``open_order``)."""
        return list(self.cases.find({"order_id": order_id}, {"refunded": 1, "open_order": 1}))

    def page(self, filters: dict[str, Any], size: int, token: str) -> tuple[list[Document], str]:
        """A page of cases, newest first, and the token of the next. Filters are equalities on indexed fields."""
        bound = paging.decode(token, filters, datetime, list)
        last = bound[0] if bound else None
        condition: dict[str, Any] = {**filters, "opened_at": {"$gte": _BEGINNING, **({"$lte": last} if last else {})}}
        if bound:
            condition["_id"] = {"$nin": bound[1]}
        found = list(self.cases.find(condition).sort([("opened_at", -1), ("_id", -1)]).limit(size + 1))
        if len(found) <= size:
            return found, ""
        page = found[:size]
        edge = page[-1]["opened_at"]
        seen = [row["_id"] for row in page if row["opened_at"] == edge]
        if bound and last == edge:
            seen += bound[1]
        return page, paging.encode(filters, [edge, seen])
