"""What the buyer of a paid order is still to get: what was neither sent or redeemed nor given back."""

from collections.abc import Mapping
from typing import Any

from services.orders.model import parcels, vouchers
from services.orders.model.states import Order, State


def units(order: Order) -> dict[int, int]:
    """Line number (from 1) → units that are still to be sent, or vouchers that are still to be redeemed; lines without are not in it."""
    if order["state"] != State.PAID:
        return {}
    return vouchers.left(order) if vouchers.is_voucher_order(order) else parcels.left(order)


def lines(found: Mapping[int, int]) -> list[dict[str, int]]:
    """The same as rows: [{line, quantity}]."""
    return [{"line": number, "quantity": quantity} for number, quantity in found.items()]


def less(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    """What of ``before`` is not in ``after``."""
    gone = {number: quantity - after.get(number, 0) for number, quantity in before.items()}
    return {number: quantity for number, quantity in gone.items() if quantity > 0}


def is_void(order: Order) -> bool:
    """Whether nothing was sent and nothing ever will be, since all units were given back: what is left of the money (the freight) goes back too.

    Not while a dispute is open, or money is on its way.
    """
    waits = any(row["state"] == "pending" for row in order.get("line_refunds", ()))
    begun: Any = order.get("first_sent_at")
    return order["state"] == State.PAID and not (begun or order["in_dispute"] or waits or units(order))
