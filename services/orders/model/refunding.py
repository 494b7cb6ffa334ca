"""What a merchant gives back for a line of an order without a dispute (部分退款).

The order remembers each grant; what was granted of a line, and of the order with what rulings gave back, never passes what was paid. Payments gives
the money back when it hears of the grant, and tells when the buyer has it.

Units that are given back are first those that were not sent: they are no longer to be sent, and in stock again unless the merchant says
otherwise. Of those that were sent the merchant says whether they came back. Where nothing is left to send the order is shipped, if
something of it was sent; else it closes when the money is back (``outstanding.is_void``).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, wrong_state
from services.orders.model import facts, outstanding, parcels, vouchers
from services.orders.model.order import changed, entry, shipped
from services.orders.model.states import Move, Order, State, Step, target

Grant = Mapping[str, Any]
STATES: Final = (State.PAID, State.SHIPPED, State.COMPLETED)
MOST: Final = 50
"""Refunds of one payment, as the channel allows them (一笔支付最多 50 笔退款). One payment pays for all orders of a checkout."""
KEPT_FREE: Final = 6
"""Of an order's part of them: its cancellation and a ruling on each of its five cases, which nobody may refuse."""
REFUNDABLE: Final = timedelta(days=364)
"""After the payment. The channel refunds within 365 days; the last of them is for asking it until it answers."""
REASON_LENGTH: Final = 200
CAUSE: Final = "merchant"
"""The cause of such refunds as payments tells it."""


def grant(
    order: Order,
    step: Step,
    number: int,
    quantity: int,
    amount: int | None,
    reason: str,
    *,
    restock: bool | None = None,
    siblings: int = 1,
) -> Change:
    """Give back ``amount`` (minor units), or the share of ``quantity`` units, of line ``number`` (from 1).

    ``restock``: whether the units are in stock again; None: those that were not sent. ``siblings``: how many orders the checkout
    has, this one among them. Raises Refusal INVALID_ARGUMENT naming the field, WRONG_STATE, CONDITION_UNMET (in dispute, refunded too
    often, or paid too long ago).
    """
    _check(order, number, reason)
    _check_channel(order, siblings, step)
    amount, left = _amount(order, number, quantity, amount)
    if restock and not quantity:
        raise invalid("restock", "say the quantity that came back")
    row = {
        "refund_id": f"rf-{order['_id']}-m{len(grants(order)) + 1}",
        "line": number,
        "quantity": quantity,
        "amount": amount,
        "reason": reason.strip(),
        "state": "pending",
    }
    after = {**order, "line_refunds": [*grants(order), row]}
    unsent = outstanding.less(outstanding.units(order), outstanding.units(after)).get(number, 0)
    row["restocked"] = unsent if restock is None else quantity * restock
    note = f"{amount} of line {number}" + (f": {row['reason']}" if row["reason"] else "")
    change = _granted(order, after, step, row, note)
    answer = {name: row[name] for name in ("refund_id", "amount", "restocked")}
    return replace(change, answer={"order_id": order["_id"], **answer, "left": left - amount})


def _granted(order: Order, after: Order, step: Step, row: Grant, note: str) -> Change:
    """The grant written down and told; with it the order is shipped where only what is given back was left to send."""
    told = [facts.refund_granted(order, row)]
    if row["restocked"]:
        told.append(facts.goods_returned(order, row["refund_id"], {row["line"]: row["restocked"]}))
    fields: dict[str, Any] = dict(vouchers.voided(after))
    then = None
    if order["state"] == State.PAID and order.get("parcels") and not parcels.left(after):
        fields = shipped(after, target(order, Move.SHIP, step.actor), step)
        then = entry("shipped", step, "the rest was given back")
        told.append(facts.shipped({**after, **fields}, order["parcels"][-1]))
    push = {"line_refunds": [dict(row)]}
    return changed(order, entry("refund_granted", step, note), fields, then=then, push=push, facts=tuple(told))


def _amount(order: Order, number: int, quantity: int, amount: int | None) -> tuple[int, int]:
    """(What goes back, what could), in minor units. Raises Refusal INVALID_ARGUMENT."""
    line, granted = order["lines"][number - 1], grants(order)
    of_line = [each for each in granted if each["line"] == number]
    units = line["quantity"] - sum(each["quantity"] for each in of_line)
    given = sum(each["amount"] for each in of_line)
    left = min(worth(line) - given, left_of(order))
    if not 0 <= quantity <= units:
        raise invalid("quantity", f"{units} of this line are left to be refunded")
    if amount is None:
        if not quantity:
            raise invalid("amount", "say an amount, a quantity or both")
        amount = min(left, max(0, line["amount"] - given) * quantity // units)
    if not 0 < amount <= left:
        raise invalid("amount", f"must be 1 to {left}, what is left of this line and of the order")
    return amount, left


def _check(order: Order, number: int, reason: str) -> None:
    if order["state"] not in STATES:
        raise wrong_state("order", str(order["_id"]), order["state"], " or ".join(STATES))
    if order["in_dispute"]:
        message = "a dispute is open: give the money back by accepting it"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "no_dispute"})
    if not 0 < number <= len(order["lines"]):
        raise invalid("line", f"the order has {len(order['lines'])} lines, counted from 1")
    if len(reason.strip()) > REASON_LENGTH:
        raise invalid("reason", f"at most {REASON_LENGTH} characters")


def _check_channel(order: Order, siblings: int, step: Step) -> None:
    """Whether the channel will still give this back: a refund that it refuses has left our books and reached nobody."""
    most = most_grants(siblings)
    if len(grants(order)) >= most:
        of_all = f"; one payment is for {siblings} orders and is refunded at most {MOST} times" if siblings > 1 else ""
        message = (
            f"this order is refunded by line at most {most} times{of_all}: give the rest back in one, by a dispute"
        )
        raise Refusal("CONDITION_UNMET", message, info={"condition": "refunds", "most": str(most)})
    if "paid_at" in order and step.at > order["paid_at"] + REFUNDABLE:
        message = f"the channel gives nothing back {REFUNDABLE.days} days after the payment: pay the buyer another way"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "refund_time"})


def most_grants(siblings: int) -> int:
    """How often an order may be refunded by line, as one of ``siblings`` that one payment paid for.

    Each has an equal part of the channel's ``MOST``; of it some, at least half, are kept free for what cannot wait.
    """
    part = MOST // siblings
    return max(0, part - min(KEPT_FREE, part // 2 + 1))


def grants(order: Order) -> list[Grant]:
    """What was granted so far."""
    found: list[Grant] = order.get("line_refunds", [])
    return found


def worth(line: Mapping[str, Any]) -> int:
    """Minor units that were paid for a line, its freight included."""
    paid: int = line["amount"] + line["freight"] - line.get("freight_discount", 0)
    return paid


def left_of(order: Order) -> int:
    """Minor units of the order that are neither back nor granted."""
    waiting = sum(each["amount"] for each in grants(order) if each["state"] == "pending")
    return max(0, int(order["paid"] - order["refunded"] - waiting))


def succeeded(order: Order, refund_id: str, amount: int) -> dict[str, Any]:
    """The fields by which a grant is over: ``amount`` is what really went back, less where a ruling was faster."""
    rows = [
        {**each, "state": "succeeded", "amount": amount} if each["refund_id"] == refund_id else each
        for each in grants(order)
    ]
    return {"line_refunds": rows}
