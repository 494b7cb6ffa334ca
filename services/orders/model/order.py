"""What commands and timers do to one order. Each answers with the Change of one conditional write, or raises Refusal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import KEEP, Change, Fact, Keep
from services.chassis.errors import invalid
from services.orders.model import delivery, facts
from services.orders.model.states import TIMER, Move, Order, State, Step, allowed, target

TIMELINE_KEPT: Final = 200
"""Entries an order keeps; the oldest but the first go."""
REASON_LENGTH: Final = 200
NOTHING: Final = Change()


def entry(action: str, step: Step, note: str = "") -> dict[str, Any]:
    """One line of the timeline: who did what, when, by which event."""
    return {
        "at": step.at,
        "actor": step.actor.kind,
        "actor_id": step.actor.subject,
        "action": action,
        "note": note,
        "event": step.event,
    }


def changed(
    order: Order,
    line: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    push: Mapping[str, list[Any]] = NOTHING.push,
    facts: tuple[Fact, ...] = (),
    due: datetime | Keep | None = KEEP,
    answer: Any = None,
) -> Change:
    """A change of ``fields`` that leaves ``line`` in the timeline."""
    kept, added = dict(fields), {name: list(items) for name, items in push.items()}
    told = order["timeline"]
    if len(told) < TIMELINE_KEPT:
        added["timeline"] = [dict(line)]
    else:
        kept["timeline"] = [told[0], *told[2 - TIMELINE_KEPT :], dict(line)]
    return Change(set=kept, push=added, facts=facts, due=due, answer=answer)


# ----------------------------------------------------------------------------------------------------------------- commands


def cancel(order: Order, step: Step, reason: str) -> Change:
    """Buyer or merchant ends the order before it is shipped; what was paid goes back, what was reserved or sold returns.

    Raises Refusal INVALID_ARGUMENT (a merchant must give a reason), WRONG_STATE.
    """
    told = reason.strip()
    if len(told) > REASON_LENGTH:
        raise invalid("reason", f"at most {REASON_LENGTH} characters")
    if step.actor.kind == "merchant" and not told:
        raise invalid("reason", "tell the buyer why the order is cancelled")
    change = close(order, Move.CANCEL, step, step.actor.kind, note=told)
    answer = {
        "order_id": order["_id"],
        "state": change.set["state"],
        "closed_at": step.at,
        "refund_amount": held(order),
    }
    return replace(change, answer=answer)


def close(
    order: Order,
    move: Move,
    step: Step,
    reason: str,
    *,
    note: str = "",
    tell: bool = True,
    stock_returns: bool = True,
    also: Change = NOTHING,
) -> Change:
    """To closed by ``move``, telling (``tell``) payments what is still held and catalog what comes back.

    ``also`` holds what else the same cause sets and pushes. Raises Refusal WRONG_STATE.
    """
    fields = {
        "state": target(order, move, step.actor).value,
        "closed_at": step.at,
        "close_reason": reason,
        **also.set,
    }
    after = {**order, **fields}
    told = (facts.closed(after, reason, held(after), stock_returns=stock_returns),) if tell else ()
    return changed(order, entry("closed", step, note or reason), fields, push=also.push, facts=told, due=None)


def held(order: Order) -> int:
    """Minor units that were collected for the order and have not gone back."""
    left: int = order["paid"] - order["refunded"]
    return max(0, left)


def ship(order: Order, step: Step, asked: Mapping[str, Any]) -> Change:
    """The merchant sent the goods. ``asked``: see ``delivery.parcel``. Raises Refusal INVALID_ARGUMENT, WRONG_STATE."""
    state = target(order, Move.SHIP, step.actor)
    parcel = delivery.parcel(asked)
    auto_confirm_at = step.at + timedelta(seconds=order["terms"]["auto_confirm_s"])
    fields = {
        "state": state.value,
        "shipped_at": step.at,
        "auto_confirm_at": auto_confirm_at,
        "late_shipment": order["late_shipment"] or step.at > order["ship_by"],
        "delivery": parcel,
    }
    answer = {name: fields[name] for name in ("state", "shipped_at", "auto_confirm_at")}
    return changed(
        order,
        entry("shipped", step, f"{parcel['company_name']} {parcel['track_no']}".strip()),
        fields,
        facts=(facts.shipped({**order, **fields}, parcel),),
        due=None if order["in_dispute"] else auto_confirm_at,
        answer={"order_id": order["_id"], **answer},
    )


def confirm(order: Order, step: Step) -> Change:
    """The buyer has the goods: what is held may settle. Raises Refusal WRONG_STATE, also while a dispute is open."""
    change = complete(order, Move.CONFIRM, step)
    return replace(change, answer={"order_id": order["_id"], "state": change.set["state"], "completed_at": step.at})


def complete(order: Order, move: Move, step: Step) -> Change:
    """To completed by ``move``. Raises Refusal WRONG_STATE."""
    fields = {"state": target(order, move, step.actor).value, "completed_at": step.at}
    return changed(
        order,
        entry("completed", step),
        fields,
        facts=(facts.completed({**order, **fields}, step.actor.kind),),
        due=None,
    )


# ------------------------------------------------------------------------------------------------------------------- timers


def overdue(order: Order, now: datetime) -> Change | None:
    """What the timer of an order does at ``now``: close the unpaid, note the late, complete the received. None: not yet.

    A timer that has nothing left to do is cleared.
    """
    step = Step(now, TIMER)
    if allowed(order, Move.EXPIRE, TIMER):
        return close(order, Move.EXPIRE, step, "timeout") if now >= unpaid_until(order) else None
    if allowed(order, Move.AUTO_CONFIRM, TIMER):
        return complete(order, Move.AUTO_CONFIRM, step) if now >= order["auto_confirm_at"] else None
    if order["state"] == State.PAID and not order["late_shipment"]:
        return (
            changed(order, entry("late", step), {"late_shipment": True}, due=None) if now >= order["ship_by"] else None
        )
    return Change(due=None)


def unpaid_until(order: Order) -> datetime:
    """When an unpaid order closes: a little after ``pay_by``, so that a payment made in time finds it open."""
    moment: datetime = order["pay_by"] + timedelta(seconds=order["terms"]["close_slack_s"])
    return moment
