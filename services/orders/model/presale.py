"""Presales (预售) that are missed: the promised day has passed, and so much more time, and nothing was shipped. The buyer gets the money back."""

from datetime import datetime, timedelta
from typing import Final

from services.orders.model.states import TIMER, Move, Order, allowed

REASON: Final = "presale_missed"


def missed_at(order: Order) -> datetime | None:
    """When a paid order is given back: a grace after the latest day that its presale lines promised. None for one without such a promise.

    Orders that were placed before there was such a grace keep the terms they were placed under.
    """
    promised: list[datetime] = [line["ship_by"] for line in order["lines"] if "ship_by" in line]
    grace_s = order["terms"].get("presale_grace_s")
    return max(promised) + timedelta(seconds=grace_s) if promised and grace_s is not None else None


def is_missed(order: Order, now: datetime) -> bool:
    """Whether the order is to be closed now, its money going back."""
    moment = missed_at(order)
    if moment is None or order.get("first_sent_at"):
        return False
    return now >= moment and allowed(order, Move.MISS, TIMER) is not None
