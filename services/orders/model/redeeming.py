"""Redeeming vouchers and taking it back: each the Change of one conditional write of the order."""

from datetime import timedelta
from typing import Any

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, not_found, wrong_state
from services.orders.model import vouchers
from services.orders.model.order import changed, entry
from services.orders.model.states import Order, State, Step


def redeem(order: Order, step: Step, voucher: int, by: str) -> Change:
    """The shop takes the voucher, for good after the reversal window. ``by``: the counter or clerk, in the shop's words.

    The last voucher completes the order once it cannot be taken back. Raises Refusal INVALID_ARGUMENT, NOT_FOUND, ALREADY_REDEEMED
    (saying when and by whom), WRONG_STATE (closed, refunded, lapsed, in dispute).
    """
    if len(by) > vouchers.BY_LENGTH:
        raise invalid("redeemed_by", f"at most {vouchers.BY_LENGTH} characters")
    line = _voucher(order, voucher)
    row = vouchers.redemption(order, voucher)
    if row is not None:
        told = {"redeemed_at": row["redeemed_at"].isoformat(), "redeemed_by": row["redeemed_by"]}
        who = f" by {row['redeemed_by']}" if row["redeemed_by"] else ""
        message = f"this voucher was redeemed at {told['redeemed_at']}{who}; it counts once"
        raise Refusal("ALREADY_REDEEMED", message, info=told)
    if order["state"] != State.PAID or order["in_dispute"]:
        standing = f"{order['state']} and in dispute" if order["in_dispute"] else order["state"]
        raise wrong_state("voucher's order", str(order["_id"]), standing, "paid and not in dispute")
    if voucher in vouchers.refunded(order):
        raise wrong_state("voucher", vouchers.text(order["_id"], voucher), "refunded", "one that is still valid")
    if step.at >= order["vouchers_until"]:
        raise wrong_state("voucher", vouchers.text(order["_id"], voucher), "lapsed", "one that is still valid")
    made = {"voucher": voucher, "line": line, "redeemed_at": step.at, "redeemed_by": by}
    rows = [*order.get("redemptions", ()), made]
    fields = {
        "redemptions": rows,
        "first_sent_at": order.get("first_sent_at") or step.at,
    }
    bought = order["lines"][line - 1]
    answer = {
        "order_id": order["_id"],
        **made,
        "name": bought["name"],
        "sku_text": bought["sku_text"],
        "left": vouchers.units(order) - len(rows) - len(vouchers.refunded({**order, **fields})),
        "reversible_until": step.at + timedelta(seconds=order["terms"]["reversal_s"]),
    }
    return changed(order, entry("redeemed", step, f"{voucher} {by}".strip()), fields, answer=answer)


def reverse(order: Order, step: Step, voucher: int) -> Change:
    """The shop takes a redemption back: the voucher counts again. Within the order's terms, while the order is not completed.

    Raises Refusal NOT_FOUND, WRONG_STATE (not redeemed, order ended), CONDITION_UNMET (too late).
    """
    _voucher(order, voucher)
    row = vouchers.redemption(order, voucher)
    if row is None:
        raise wrong_state("voucher", vouchers.text(order["_id"], voucher), "not redeemed", "one that is")
    until = row["redeemed_at"] + timedelta(seconds=order["terms"]["reversal_s"])
    if step.at >= until:
        message = f"a redemption can be taken back until {until.isoformat()}; agree on a refund instead"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "reversal", "until": until.isoformat()})
    if order["state"] != State.PAID:
        raise wrong_state("voucher's order", str(order["_id"]), order["state"], "paid")
    left = [each for each in order["redemptions"] if each["voucher"] != voucher]
    fields: dict[str, Any] = {"redemptions": left}
    if not left:
        fields["first_sent_at"] = None
    fields |= vouchers.voided({**order, **fields})
    answer = {"order_id": order["_id"], "voucher": voucher}
    return changed(order, entry("redemption_reversed", step, str(voucher)), fields, answer=answer)


def _voucher(order: Order, voucher: int) -> int:
    line = vouchers.line_of(order, voucher) if order["paid"] and vouchers.is_voucher_order(order) else 0
    if not line:
        raise not_found("voucher", vouchers.text(order["_id"], voucher))
    return line
