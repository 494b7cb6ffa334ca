"""The events that orders promises, made from the order as it will be."""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis.decisions import Fact

Values = Mapping[str, Any]
MISMATCH: Final = "amount_mismatch"
"""Why money is not taken that was paid at a price of before."""
_SOLD: Final = ("product_id", "sku_id", "name", "quantity", "price", "product_version")


def sold_lines(order: Values, units: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """The lines as catalog takes or releases them; of those in ``units`` (line number from 1 → quantity) so many, where it is said."""
    found = [{name: line[name] for name in _SOLD} for line in order["lines"]]
    if units is None:
        return found
    return [{**found[number - 1], "quantity": quantity} for number, quantity in sorted(units.items())]


def paid(order: Values) -> Fact:
    """The order's share of a payment arrived."""
    names = ("checkout_id", "shop_id", "account_id", "buyer_id", "openid", "amount", "currency", "paid_at")
    return Fact(
        "jishi.orders.order.paid.v1",
        {
            "order_id": order["_id"],
            **{name: order[name] for name in names},
            "transaction_id": order["transaction_id"],
            "lines": sold_lines(order),
        },
    )


def closed(order: Values, reason: str, refund: int, units: Mapping[int, int] | None = None) -> Fact:
    """The order ended. ``refund``: minor units of it still held, which payments gives back. ``units`` (line → quantity): what comes back to
    the warehouse; None: all that was reserved.
    """
    return Fact(
        "jishi.orders.order.closed.v1",
        {
            "order_id": order["_id"],
            "checkout_id": order["checkout_id"],
            "shop_id": order["shop_id"],
            "lines": sold_lines(order, units),
            "reason": reason,
            "was_paid": order["paid"] > 0,
            "amount": refund,
        },
    )


def released(checkout_id: str, reason: str) -> Fact:
    """A checkout ended without orders: an empty ``order_id`` releases everything that was reserved under its id."""
    return Fact("jishi.orders.order.closed.v1", {"checkout_id": checkout_id, "reason": reason})


def shipped(order: Values, delivery: Values) -> Fact:
    """The merchant shipped."""
    names = ("shop_id", "account_id", "buyer_id", "openid", "shipped_at")
    return Fact(
        "jishi.orders.order.shipped.v1",
        {
            "order_id": order["_id"],
            **{name: order[name] for name in names},
            "delivery_company": delivery["company"],
            "delivery_track_no": delivery["track_no"],
        },
    )


def completed(order: Values, by: str) -> Fact:
    """What is left of the escrow may settle; the commission was frozen at sale."""
    return Fact(
        "jishi.orders.order.completed.v1",
        {
            "order_id": order["_id"],
            "checkout_id": order["checkout_id"],
            "shop_id": order["shop_id"],
            "amount": max(0, order["paid"] - order["refunded"]),
            "currency": order["currency"],
            "commission_bp": order["commission_bp"],
            "commission_policy": order["commission_policy"],
            "goods_amount": sum(line["amount"] for line in order["lines"]),
            "completed_at": order["completed_at"],
            "by": by,
        },
    )


def payment_rejected(order: Values, payment_id: str, amount: int, reason: str) -> Fact:
    """Money came that the order cannot take: it must go back. Where it was not the price of now, that is told with it."""
    told = {"order_id": order["_id"], "checkout_id": order["checkout_id"], "amount": amount, "reason": reason}
    now = {"due": order["amount"], "revision": order.get("price_revision", 0)} if reason == MISMATCH else {}
    return Fact("jishi.orders.order.payment_rejected.v1", {**told, "payment_id": payment_id, **now})


def repriced(order: Values, previous: int) -> Fact:
    """The price changed before it was paid: whoever collects for it asks for another sum."""
    names = ("checkout_id", "shop_id", "amount")
    told = {"order_id": order["_id"], "previous_amount": previous, "revision": order["price_revision"]}
    return Fact("jishi.orders.order.repriced.v1", {**told, **{name: order[name] for name in names}})


def carrier_closed(order: Values) -> Fact:
    """The order that paid the freight of others it was to travel with is no more."""
    told = {name: order[name] for name in ("checkout_id", "shop_id", "carries")}
    return Fact("jishi.orders.order.carrier_closed.v1", {"order_id": order["_id"], **told})


def refund_granted(order: Values, grant: Values) -> Fact:
    """The merchant gives money back for a line."""
    told = {"order_id": order["_id"], "checkout_id": order["checkout_id"], "shop_id": order["shop_id"]}
    names = ("refund_id", "line", "quantity", "amount")
    return Fact("jishi.orders.order.refund_granted.v1", {**told, **{name: grant[name] for name in names}})


def goods_returned(order: Values, return_id: str, units: Mapping[int, int]) -> Fact:
    """Units (line → quantity) came back to stock with the refund ``return_id``."""
    told = {"order_id": order["_id"], "checkout_id": order["checkout_id"], "shop_id": order["shop_id"]}
    return Fact(
        "jishi.orders.order.goods_returned.v1",
        {**told, "return_id": return_id, "lines": sold_lines(order, units)},
    )
