"""The vouchers of an order, and their codes for the one who bought them."""

import base64
import io
from typing import Any, Final

import segno

from services.chassis.codes import Codes
from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.orders.model import vouchers as model
from services.orders.model.states import Actor, sees
from services.orders.store import Store

_SCALE: Final = 6
"""Pixels of one module: some 350 pixels a side, which every till's scanner reads off a telephone."""


def vouchers(store: Store, codes: Codes, actor: Actor, order_id: str) -> dict[str, Any]:
    """{order_id, vouchers: [{voucher, line, state, code, redeemed_at, redeemed_by}], valid_until}; codes only for the buyer, of what is valid.

    Raises Refusal NOT_FOUND, for another's order too.
    """
    order = _order(store, actor, order_id)
    until = {"valid_until": order["vouchers_until"]} if order.get("vouchers_until") else {}
    return {
        "order_id": order_id,
        "vouchers": [_shown(codes, actor, order_id, each) for each in model.states(order)],
        **until,
    }


def voucher(store: Store, codes: Codes, actor: Actor, order_id: str, number: int) -> dict[str, Any]:
    """One voucher, for its buyer with the QR image of its code as PNG in a data: URI. Raises Refusal NOT_FOUND."""
    order = _order(store, actor, order_id)
    found = next((each for each in model.states(order) if each["voucher"] == number), None)
    if found is None:
        raise not_found("voucher", model.text(order_id, number))
    shown = _shown(codes, actor, order_id, found)
    return {"voucher": shown, "qr_image": _qr_image(shown["code"])}


def _order(store: Store, actor: Actor, order_id: str) -> Document:
    order = store.order(order_id)
    if order is None or not sees(order, actor):
        raise not_found("order", order_id)
    return order


def _shown(codes: Codes, actor: Actor, order_id: str, found: dict[str, Any]) -> dict[str, Any]:
    is_theirs = actor.kind == "buyer" and found["state"] == "valid"
    return {**found, "code": codes.sign(model.text(order_id, found["voucher"])) if is_theirs else ""}


def _qr_image(code: str) -> str:
    if not code:
        return ""
    image = io.BytesIO()
    segno.make(code, error="m", micro=False).save(image, kind="png", scale=_SCALE)
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"
