"""What events mean to an order: ``decide(order or None, event data, step) → apply | done | stale | early``.

Each recognises its own effect from the order alone, so that asking again after it was applied answers done. A fact that carries
money is never stale: it is recorded, or answered with ``order.payment_rejected``, or waits for what must come first.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision, Verdict, apply
from services.orders.model import facts, keys, outstanding, refunding, vouchers
from services.orders.model.order import changed, close, entry
from services.orders.model.states import CATALOG, PAYMENTS, Move, Order, State, Step, allowed, target

Data = Mapping[str, Any]
OF_THE_PAYMENT: Final = frozenset({"cancelled", "dispute", refunding.CAUSE})
"""Causes of refunds of money that the order took; ``rejected`` is money it did not take, the others never reached it."""

NO_ORDERS_MONEY: Final = Decision(Verdict.STALE, why="a whole payment went back that no order ever saw")


# ----------------------------------------------------------------------------------------------------------------- payments


def paid(order: Order | None, share: Data, data: Data, step: Step) -> Decision:
    """payment.succeeded for one order: ``share`` {order_id, amount} of the payment ``data``.

    Taken when the order waits for exactly this amount, else rejected by an event of its own.
    """
    if order is None:
        return EARLY
    if data["payment_id"] == order["payment_id"] or _rejected_before(order, data["payment_id"]):
        return DONE
    reason = _cannot_take(order, share["amount"])
    if reason:
        return _rejected(order, share["amount"], data["payment_id"], reason, step)
    paid_at = data.get("paid_at", step.at)
    fields = {
        "state": target(order, Move.PAY, PAYMENTS).value,
        "paid": share["amount"],
        "paid_at": paid_at,
        "payment_id": data["payment_id"],
        "transaction_id": data["transaction_id"],
        **_until(order, paid_at),
        "keys": keys.joined(order, *keys.of_payment(data["payment_id"], data["transaction_id"])),
    }
    told = (facts.paid({**order, **fields}),)
    return apply(changed(order, entry("paid", step, data["transaction_id"]), fields, facts=told))


def _until(order: Order, paid_at: datetime) -> dict[str, datetime]:
    """By when what was paid is to be had: goods shipped, vouchers redeemed."""
    if vouchers.is_voucher_order(order):
        return {"vouchers_until": paid_at + timedelta(seconds=order["terms"]["voucher_valid_s"])}
    return {"ship_by": _ship_by(order, paid_at)}


def _ship_by(order: Order, paid_at: datetime) -> datetime:
    """When the order is late: so long after its payment, or on the latest day that a presale (预售) of one of its lines promised."""
    usual: datetime = paid_at + timedelta(seconds=order["terms"]["ship_within_s"])
    promised: list[datetime] = [line["ship_by"] for line in order["lines"] if "ship_by" in line]
    return max([usual, *promised])


def all_paid(orders: Mapping[str, Order], data: Data, step: Step) -> Decision:
    """payment.succeeded as a whole: early while any order is missing, done when every order has dealt with its share."""
    decisions = [paid(orders.get(share["order_id"]), share, data, step) for share in data["shares"]]
    verdicts = {decision.verdict for decision in decisions}
    if Verdict.EARLY in verdicts:
        return EARLY
    return apply() if Verdict.APPLY in verdicts else DONE


def _rejected_before(order: Order, payment_id: str) -> bool:
    return any(row["payment_id"] == payment_id for row in order["rejected_payments"])


def _cannot_take(order: Order, amount: int) -> str:
    if not allowed(order, Move.PAY, PAYMENTS):
        return "closed" if order["state"] == State.CLOSED else "already_paid"
    return "" if amount == order["amount"] else facts.MISMATCH


def _rejected(order: Order, amount: int, payment_id: str, reason: str, step: Step) -> Decision:
    row = {"payment_id": payment_id, "amount": amount, "reason": reason, "rejected_at": step.at}
    told = (facts.payment_rejected(order, payment_id, amount, reason),)
    line = entry("payment_rejected", step, reason)
    return apply(
        changed(order, line, {"rejected": order["rejected"] + amount}, push={"rejected_payments": [row]}, facts=told)
    )


def refunded(order: Order | None, data: Data, step: Step) -> Decision:
    """refund.succeeded: a fact beside the state. An open order whose money all went back closes, and so does one of which nothing was
    sent and nothing is left to send.

    What was not sent is still in the warehouse, so catalog is told; of a shipped order nothing is left to tell.
    """
    if not data["order_id"]:
        return NO_ORDERS_MONEY
    if order is None:
        return EARLY
    if any(row["refund_id"] == data["refund_id"] for row in order["refunds"]):
        return DONE
    cause, amount = data["cause"], data["amount"]
    row = {"refund_id": data["refund_id"], "cause": cause, "case_id": data["case_id"], "amount": amount}
    push = {"refunds": [{**row, "refunded_at": data.get("refunded_at", step.at)}]}
    line = entry("refunded", step, cause)
    if cause == "rejected":
        if not order["rejected"]:
            return EARLY
        return apply(changed(order, line, {"returned": order["returned"] + amount}, push=push))
    if cause not in OF_THE_PAYMENT:
        return apply(changed(order, line, {}, push=push))
    if not order["paid"]:
        return EARLY
    fields: dict[str, Any] = {"refunded": order["refunded"] + amount}
    fields |= refunding.succeeded(order, data["refund_id"], amount) if cause == refunding.CAUSE else {}
    is_over = fields["refunded"] >= order["paid"] or outstanding.is_void({**order, **fields})
    if is_over and allowed(order, Move.REFUND, PAYMENTS):
        unshipped = order["state"] == State.PAID
        return apply(close(order, Move.REFUND, step, "refunded", tell=unshipped, also=Change(set=fields, push=push)))
    return apply(_voided(order, line, fields, push["refunds"][0]))


def _voided(order: Order, line: Data, fields: Data, row: Data) -> Change:
    """The refund ``row`` beside the state. Vouchers that no longer count by it are in stock again."""
    after = {**order, **fields, "refunds": [*order["refunds"], row]}
    fields = {**fields, **vouchers.voided(after)}
    void = outstanding.less(outstanding.units(order), outstanding.units(after))
    if not void:
        return changed(order, line, fields, push={"refunds": [row]})
    told = (facts.goods_returned(order, row["refund_id"], void),)
    return changed(order, line, fields, push={"refunds": [{**row, "restocked": outstanding.lines(void)}]}, facts=told)


# ------------------------------------------------------------------------------------------------------------------ catalog


def ran_out(order: Order | None, _data: Data, step: Step) -> Decision:
    """reservation.failed: a paid order whose stock is gone closes, and its money goes back. Nothing returns to the warehouse."""
    if order is None or order["state"] == State.AWAITING_PAYMENT:
        return EARLY
    if allowed(order, Move.RUN_OUT, CATALOG) and not order.get("first_sent_at"):
        return apply(close(order, Move.RUN_OUT, step, "out_of_stock", stock_returns=False))
    return DONE if order.get("close_reason") == "out_of_stock" else STALE


# ----------------------------------------------------------------------------------------------------------------- disputes


def case_opened(order: Order | None, data: Data, step: Step) -> Decision:
    """case.opened: the overlay 维权中; nothing completes by itself from here."""
    if order is None:
        return EARLY
    if _case(order, data["case_id"]) is not None:
        return DONE
    if not order["paid"]:
        return STALE if order["state"] == State.CLOSED else EARLY
    row = {"case_id": data["case_id"], "kind": data["kind"], "opened_at": step.at}
    line = entry("case_opened", step, data["kind"])
    fields = {"in_dispute": True, "keys": keys.joined(order, keys.in_dispute(order["shop_id"]))}
    return apply(changed(order, line, fields, push={"cases": [row]}))


def case_closed(order: Order | None, data: Data, step: Step) -> Decision:
    """case.closed: the overlay goes with the last open case, and a shipped order completes by itself again.

    Where the case paid something back it waits for that refund, so that an order refunded in full does not complete meanwhile.
    """
    if order is None:
        return EARLY
    case = _case(order, data["case_id"])
    if case is None:
        return STALE if order["state"] == State.CLOSED and not order["paid"] else EARLY
    if case.get("closed_at") is not None:
        return DONE
    if data["refunded"] and not any(row["case_id"] == data["case_id"] for row in order["refunds"]):
        return EARLY
    ended = {**case, "closed_at": step.at, "outcome": data["outcome"]}
    cases = [ended if row["case_id"] == data["case_id"] else row for row in order["cases"]]
    in_dispute = any(row.get("closed_at") is None for row in cases)
    line = entry("case_closed", step, data["outcome"])
    fields = {"in_dispute": in_dispute, "cases": cases}
    if not in_dispute:
        fields["keys"] = keys.without(order, keys.in_dispute(order["shop_id"]))
    if outstanding.is_void({**order, **fields}):  # its units were given back while the dispute was open
        return apply(close({**order, "in_dispute": in_dispute}, Move.REFUND, step, "refunded", also=Change(set=fields)))
    return apply(changed(order, line, fields))


def _case(order: Order, case_id: str) -> Mapping[str, Any] | None:
    for row in order["cases"]:
        if row["case_id"] == case_id:
            found: Mapping[str, Any] = row
            return found
    return None
