"""When time moves an order: what it waits for, told from the order alone."""

from datetime import datetime, timedelta
from typing import Any, Final

from services.orders.model import parcels, presale, scripts, vouchers
from services.orders.model.states import Order, State

MOVING: Final = frozenset({State.PAID, State.SHIPPED})
"""States in which parcels are on their way."""


def unpaid_until(order: Order) -> datetime:
    """When an unpaid order closes: a little after ``pay_by``, so that a payment made in time finds it open."""
    moment: datetime = order["pay_by"] + _span(order, "close_slack_s")
    return moment


def next_due(order: Order) -> datetime | None:
    """The next moment (UTC) at which the timer has something to do; None when time alone changes nothing any more."""
    state = order["state"]
    if state == State.AWAITING_PAYMENT:
        return unpaid_until(order)
    if state not in MOVING:
        return None
    if state == State.PAID and vouchers.is_voucher_order(order):
        return vouchers.due(order)
    moments = [moment for parcel in order.get("parcels", ()) if (moment := scripts.due(parcel)) is not None]
    if state == State.PAID and "ship_by" in order and not order["late_shipment"] and parcels.left(order):
        moments.append(order["ship_by"])
    if state == State.PAID and order["late_shipment"] and not order["in_dispute"] and not order.get("first_sent_at"):
        moments += [moment] if (moment := presale.missed_at(order)) is not None else []
    if state == State.SHIPPED and not order["in_dispute"]:
        moments.append(order["auto_confirm_at"])
    return min(moments, default=None)


def confirm_at(order: Order) -> datetime:
    """When a shipped order completes by itself (自动确认收货): so long after shipping, or after the carrier reported its last parcel delivered,
    whichever comes first; later by what the buyer took more. A parcel that got lost or was returned puts it off (``undelivered_s``), and the
    time begins anew when one is found again or sent again (``confirm_from``).
    """
    travelling: list[Any] = [parcel for parcel in order.get("parcels", ()) if parcel["need_delivery"]]
    usual = "auto_confirm_virtual_s" if not travelling and is_virtual(order) else "auto_confirm_s"
    moment: datetime = (order.get("confirm_from") or order["shipped_at"]) + _span(order, usual)
    if any(map(parcels.is_undelivered, travelling)) and "undelivered_s" in order["terms"]:
        moment += _span(order, "undelivered_s")
    heard = [parcel.get("delivered_heard_at") for parcel in travelling]
    if heard and all(heard) and "delivered_confirm_s" in order["terms"]:
        moment = min(moment, max(heard) + _span(order, "delivered_confirm_s"))
    return moment + _span(order, "extension_s") if order.get("confirmation_extended") else moment


def nothing_arrived(order: Order) -> bool:
    """Whether all that was sent got lost or went back, by what the carriers told last."""
    sent = order.get("parcels", ())
    return bool(sent) and all(map(parcels.is_undelivered, sent)) and "undelivered_s" in order["terms"]


def is_virtual(order: Order) -> bool:
    """Nothing of the order travels (虚拟商品)."""
    return all(line.get("fulfilment") == "virtual" for line in order["lines"])


def _span(order: Order, name: str) -> timedelta:
    return timedelta(seconds=order["terms"][name])
