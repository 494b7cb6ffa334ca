"""The price of an order that is not paid yet: what its merchant takes off the goods or the freight, and orders that travel together.

A change is a discount like any other: a row ``{kind, ref, amount, payer, of}``, ``of`` the goods or the freight, split over the lines by largest
remainder. Nothing rises above what the buyer agreed to when the order was placed. Whoever pays for the order is told by
``order.repriced``; ``price_revision`` counts, so that the newest price wins whatever comes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, invalid, wrong_state
from services.orders.model import amounts, facts
from services.orders.model.order import changed, entry
from services.orders.model.states import Order, State, Step

Row = Mapping[str, Any]
CHANGE: Final = "merchant_change"
MERGED: Final = "merged_shipping"
GOODS: Final = "goods"
FREIGHT: Final = "freight"
LATER: Final = frozenset({CHANGE, MERGED})
"""Kinds of discounts that come after the placing."""
MERGED_MOST: Final = 50
"""Orders that travel together."""


def change_price(order: Order, step: Step, goods: int | None, freight: int | None) -> Change:
    """The merchant asks for less: minor units for all goods, for the freight; None: as it is.

    Raises Refusal INVALID_ARGUMENT naming the field, WRONG_STATE.
    """
    _check_unpaid(order)
    if goods is None and freight is None:
        raise invalid("goods_amount", "say goods_amount, freight or both")
    rows = list(order["discounts"])
    for of, wanted, field, whole in (
        (GOODS, goods, "goods_amount", order["goods_amount"]),
        (FREIGHT, freight, "freight", order["freight"]),
    ):
        if wanted is None:
            continue
        rows = [row for row in rows if not (row["kind"] == CHANGE and _of(row) == of)]
        most = whole - sum(row["amount"] for row in rows if _of(row) == of)
        if not 0 <= wanted <= most:
            raise invalid(field, f"must be 0 to {most}, what the buyer agreed to; to ask for more, cancel the order")
        if wanted < most:
            rows.append(_row(CHANGE, str(order["_id"]), most - wanted, of))
    return _repriced(order, step, rows, "price_changed")


def merge(orders: Sequence[Order], step: Step) -> list[Change]:
    """Several unpaid orders travel together: all freight but the dearest is taken off; a change for each, in their order.

    Raises Refusal INVALID_ARGUMENT (naming ``order_ids``), WRONG_STATE.
    """
    for order in orders:
        _check_unpaid(order)
    for name in ("shop_id", "buyer_id", "address", "currency"):
        other = next((order for order in orders if order[name] != orders[0][name]), None)
        if other is not None:
            raise invalid(
                "order_ids", f"order {other['_id']} has another {name}; only what goes to one buyer at one address"
            )
    changes = _together(orders, [order["discounts"] for order in orders], step, "shipping_merged")
    return [change for _, change in changes]


def uncarried(orders: Sequence[Order], carrier: str, step: Step) -> list[tuple[Order, Change]]:
    """The order ``carrier``, with which the freight of these was merged, has closed: of those that are still unpaid the dearest carries now.

    Its own freight is asked for again, the others stay merged with it; what was paid stays as it was paid.
    """
    waiting = [order for order in orders if order["state"] == State.AWAITING_PAYMENT and _is_carried(order, carrier)]
    own = [[row for row in order["discounts"] if not _is_by(row, carrier)] for order in waiting]
    return _together(waiting, own, step, "shipping_unmerged") if waiting else []


def _together(
    orders: Sequence[Order], rows: Sequence[Sequence[Row]], step: Step, action: str
) -> list[tuple[Order, Change]]:
    """Beside ``rows``, the discounts of each, all freight but the dearest is taken off; the order that pays it notes what it ``carries``."""
    left = [_freight_left(order, own) for order, own in zip(orders, rows, strict=True)]
    dearest = left.index(max(left))
    carrier = str(orders[dearest]["_id"])
    changes = []
    for number, (order, own, freight) in enumerate(zip(orders, rows, left, strict=True)):
        saved = [] if number == dearest or not freight else [_row(MERGED, carrier, freight, FREIGHT)]
        change = _repriced(order, step, [*own, *saved], action)
        if not change.set and saved:  # merged with another than before, at the same price
            change = replace(change, set={"discounts": [*own, *saved]})
        changes.append((order, change))
    order, change = changes[dearest]
    carried = [str(each["_id"]) for each, freight in zip(orders, left, strict=True) if freight and each is not order]
    carries = list(dict.fromkeys([*order.get("carries", ()), *carried]))
    if carries != order.get("carries", []):
        changes[dearest] = (order, replace(change, set={**change.set, "carries": carries}))
    return changes


def _is_by(row: Row, carrier: str) -> bool:
    return bool(row["kind"] == MERGED and row["ref"] == carrier)


def _is_carried(order: Order, carrier: str) -> bool:
    return any(_is_by(row, carrier) for row in order["discounts"])


def _freight_left(order: Order, rows: Sequence[Row]) -> int:
    taken = sum(row["amount"] for row in rows if _of(row) == FREIGHT)
    return int(order["freight"] - taken)


def _row(kind: str, ref: str, amount: int, of: str) -> dict[str, Any]:
    return {"kind": kind, "ref": ref, "amount": amount, "payer": "merchant", "of": of}


def _of(row: Row) -> str:
    return str(row.get("of") or GOODS)


def _check_unpaid(order: Order) -> None:
    if order["state"] != State.AWAITING_PAYMENT:
        raise wrong_state("order", str(order["_id"]), order["state"], State.AWAITING_PAYMENT)


def _repriced(order: Order, step: Step, rows: Sequence[Row], action: str) -> Change:
    fields = discounted(order, rows)
    if fields["amount"] <= 0:
        message = "leave at least 1 fen to be paid for the order; cancel it where it costs nothing"
        raise Refusal("INVALID_ARGUMENT", f"goods_amount: {message}", (Violation("goods_amount", message),))
    revision = order.get("price_revision", 0) + 1
    answer = {
        "order_id": order["_id"],
        "amount": fields["amount"],
        "goods_amount": sum(line["amount"] for line in fields["lines"]),
        "freight": order["freight"] - sum(line["freight_discount"] for line in fields["lines"]),
    }
    if fields["amount"] == order["amount"]:
        return Change(answer={**answer, "price_revision": revision - 1})
    after = {**order, **fields, "price_revision": revision}
    line = entry(action, step, f"{order['amount']} → {fields['amount']}")
    change = changed(
        order, line, {**fields, "price_revision": revision}, facts=(facts.repriced(after, order["amount"]),)
    )
    return replace(change, answer={**answer, "price_revision": revision})


def discounted(order: Order, rows: Sequence[Row]) -> dict[str, Any]:
    """The money of an order with these discounts: ``lines``, ``discounts``, ``discount`` (of goods and freight), ``amount``."""
    lines = order["lines"]
    goods = amounts.spread([row for row in rows if _of(row) == GOODS], [line["goods_amount"] for line in lines])
    freight = amounts.spread([row for row in rows if _of(row) == FREIGHT], [line["freight"] for line in lines])
    priced = [
        {
            **line,
            "discount": amounts.total(own),
            "amount": line["goods_amount"] - amounts.total(own),
            "freight_discount": amounts.total(carried),
        }
        for line, own, carried in zip(lines, goods, freight, strict=True)
    ]
    discount = amounts.total(rows)
    return {
        "lines": priced,
        "discounts": [dict(row) for row in rows],
        "discount": discount,
        "amount": order["goods_amount"] - discount + order["freight"],
    }


def as_placed(order: Order) -> Order:
    """The order with the money it was placed with."""
    rows = [row for row in order["discounts"] if row["kind"] not in LATER]
    return order if len(rows) == len(order["discounts"]) else {**order, **discounted(order, rows)}
