"""The shop scans a voucher."""

from services.chassis.codes import Codes
from services.chassis.commit import Cause, Outcome
from services.chassis.errors import Refusal, invalid, not_found
from services.orders.commands.lifecycle import Decide, change_order
from services.orders.model import redeeming, vouchers
from services.orders.model.states import Actor
from services.orders.store import Store


def redeem(store: Store, codes: Codes, cause: Cause, actor: Actor, code: str, by: str) -> Outcome:
    """Take a voucher: one conditional write, so that of two scans at once one wins. ``by``: the counter or clerk.

    Answer: {order_id, voucher, line, name, sku_text, redeemed_at, redeemed_by, left, reversible_until}. Raises Refusal INVALID_ARGUMENT (no code of
    this house), NOT_FOUND (for another shop's too), ALREADY_REDEEMED, WRONG_STATE.
    """
    order_id, voucher = _read(codes, code)
    return _mine(
        store, cause, actor, order_id, voucher, lambda found, step: redeeming.redeem(found, step, voucher, by.strip())
    )


def reverse(store: Store, codes: Codes, cause: Cause, actor: Actor, code: str) -> Outcome:
    """Take a redemption back. Answer: {order_id, voucher}. Raises Refusal as ``redeem``, CONDITION_UNMET when it is too late."""
    order_id, voucher = _read(codes, code)
    return _mine(store, cause, actor, order_id, voucher, lambda found, step: redeeming.reverse(found, step, voucher))


def _mine(store: Store, cause: Cause, actor: Actor, order_id: str, voucher: int, decide: Decide) -> Outcome:
    try:
        return change_order(store, cause, actor, order_id, decide)
    except Refusal as refusal:
        if refusal.reason == "NOT_FOUND":
            raise not_found("voucher", vouchers.text(order_id, voucher)) from refusal
        raise


def _read(codes: Codes, code: str) -> tuple[str, int]:
    text = codes.read(code)
    if text is None:
        raise invalid("code", "is no voucher of this platform; scan the whole QR image")
    return vouchers.said(text)
