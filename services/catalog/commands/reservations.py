"""Reserving stock for a checkout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.catalog.model import stock
from services.catalog.model.stock import Line
from services.catalog.store import SERVICE, Store
from services.catalog.store.fresh import Fresh
from services.catalog.store.reserving import Reserver
from services.chassis import clock, commit, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken
from services.chassis.errors import Refusal, wrong_state
from services.chassis.mongo import Document
from services.chassis.together import SharedReads, Together

ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what to hold for which checkout, until when it may be paid, and when it is let go at the latest (UTC)."""

    cause: Cause
    checkout_id: str
    buyer_id: str
    pay_by: datetime
    lines: list[Line]
    due: datetime


class Desk:
    """What reserving needs, kept for the life of a server: the store, shared reads and transactions, shops read a moment ago."""

    def __init__(self, store: Store, shops: "Fresh[Document]") -> None:
        """One for a server."""
        self.store, self.shops, self._reserver = store, shops, Reserver(store)
        self.stock: SharedReads[str] = SharedReads(store.stock_by_id)
        self.together: Together[Asked] = Together(self._reserve)

    def _reserve(self, asked: Sequence[Asked]) -> list[tuple[Document, Exception | None] | Exception]:
        """Requests that wait at the same time: one read of their products, one transaction. (row, why it was not written) each."""
        products = self.store.products_by_id({line.product_id for one in asked for line in one.lines})
        prepared = [self._prepared(one, products) for one in asked]
        rows = [row for row in prepared if not isinstance(row, Exception)]
        written = iter(self._reserver.write(rows))
        return [row if isinstance(row, Exception) else (row, next(written)) for row in prepared]

    def _prepared(self, asked: Asked, products: Mapping[str, Document]) -> Document | Exception:
        try:
            return _prepare(self, asked, products)
        except Exception as error:  # noqa: BLE001 - its caller gets it
            return error


def reserve(
    desk: Desk, cause: Cause, checkout_id: str, buyer_id: str, pay_by: datetime, asked: list[Document]
) -> Outcome:
    """Hold every line for ``checkout_id`` until ``pay_by`` (UTC) and some time more, or none.

    Idempotent by ``checkout_id``. The outcome's document has ``lines`` as the buyer saw them. Raises Refusal INVALID_ARGUMENT,
    NOT_FOR_SALE, OUT_OF_STOCK, BUY_LIMIT_REACHED (each naming ``lines[i]``), WRONG_STATE when the reservation has ended,
    IDEMPOTENCY_KEY_REUSED when it holds other lines. ``asked``: [{product_id, sku_id, quantity}].
    """
    now = clock.business()
    if not checkout_id or not buyer_id:
        raise Refusal("INVALID_ARGUMENT", "a reservation needs a checkout_id and a buyer_id")
    lines = [Line(line["product_id"], line["sku_id"], line["quantity"]) for line in asked]
    stock.check_lines(lines, policy.load(SERVICE).value("reservation_lines", now))
    due = pay_by + policy.load(SERVICE).span("reservation_grace", now)
    wanted = Asked(cause, checkout_id, buyer_id, pay_by, lines, due)
    for _ in range(ATTEMPTS):
        try:
            row, problem = desk.together.ask(wanted)
        except Refusal:
            if (before := _before(desk.store, checkout_id, lines)) is not None:
                return before
            raise
        if problem is None:
            return Outcome(row)
        if isinstance(problem, Shortfall):
            _refuse(desk, row)
        elif not isinstance(problem, Taken):
            raise problem
        elif (before := _before(desk.store, checkout_id, lines)) is not None:
            return before
    raise Refusal("VERSION_CONFLICT", "the stock of these products kept changing; try again", retry_after_s=1)


def _prepare(desk: Desk, asked: Asked, products: Mapping[str, Document]) -> Document:
    frozen = []
    for number, line in enumerate(asked.lines):
        product = products.get(line.product_id)
        frozen.append(stock.freeze(line, number, product, _shop(desk, product["shop_id"]) if product else None))
    bought = _bought(desk.store, asked.buyer_id, frozen)
    over = stock.over_limit(frozen, bought)
    if over is not None:
        raise over
    row: Document = {
        "_id": asked.checkout_id,
        "buyer_id": asked.buyer_id,
        "pay_by": asked.pay_by,
        "lines": frozen,
        "parts": {line["shop_id"]: stock.HELD for line in frozen},
        "policy": policy.load(SERVICE).version("reservation_grace", clock.business()),
        "first": [product_id for product_id in stock.limited(frozen) if product_id not in bought],
    }
    return commit.prepare(desk.store.reservations, row, asked.cause, due=asked.due)


def _shop(desk: Desk, shop_id: str) -> Document | None:
    return desk.shops.get(shop_id, lambda: desk.store.shop(shop_id))


def _bought(store: Store, buyer_id: str, lines: list[Document]) -> dict[str, int]:
    wanted = stock.limited(lines)
    if not wanted:
        return {}
    rows = store.purchases.find({"_id": {"$in": [f"{product_id}:{buyer_id}" for product_id in wanted]}})
    return {row["product_id"]: row["quantity"] for row in rows}


def _before(store: Store, checkout_id: str, lines: list[Line]) -> Outcome | None:
    """The reservation that is there, if it answers this request."""
    row = store.reservations.find_one({"_id": checkout_id})
    if row is None:
        return None
    if stock.HELD not in row["parts"].values():
        raise wrong_state("reservation", checkout_id, "ended", "one that is still held; begin a new checkout")
    asked = [(line.product_id, line.sku_id, line.quantity) for line in lines]
    if asked != [(line["product_id"], line["sku_id"], line["quantity"]) for line in row["lines"]]:
        raise Refusal("IDEMPOTENCY_KEY_REUSED", f"checkout {checkout_id} holds other lines; begin a new checkout")
    return Outcome(row, replayed=True, changed=False)


def _refuse(desk: Desk, row: Document) -> None:
    """Why the reservation did not fit, when it still does not; silent when it might by now."""
    lines: list[Any] = row["lines"]
    available = {sku: found["available"] for sku, found in desk.stock.get(stock.summed(lines)).items()}
    bought = _bought(desk.store, row["buyer_id"], lines)
    refusal = stock.out_of_stock(lines, available) or stock.over_limit(lines, bought)
    if refusal is not None:
        raise refusal
