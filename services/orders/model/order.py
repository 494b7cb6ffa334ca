"""What commands and timers do to one order. Each answers with the Change of one conditional write, or raises Refusal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import KEEP, Change, Fact, Keep
from services.chassis.errors import Refusal, wrong_state
from services.orders.model import facts, outstanding, parcels, presale, reasons, scripts, tracking, vouchers
from services.orders.model.deadlines import MOVING, confirm_at, next_due, nothing_arrived
from services.orders.model.states import TIMER, Move, Order, State, Step, allowed, target

TIMELINE_KEPT: Final = 200
"""Entries an order keeps; the oldest but the first go."""
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
    then: Mapping[str, Any] | None = None,
    push: Mapping[str, list[Any]] = NOTHING.push,
    facts: tuple[Fact, ...] = (),
    answer: Any = None,
) -> Change:
    """A change of ``fields`` that leaves ``line`` (and ``then`` what follows from it) in the timeline, and the timer set to what the
    order waits for then.
    """
    kept, added = dict(fields), {name: list(items) for name, items in push.items()}
    told, new = order["timeline"], [dict(line), *([dict(then)] if then else [])]
    room = TIMELINE_KEPT - len(new)
    if len(told) <= room:
        added["timeline"] = new
    else:
        kept["timeline"] = [told[0], *told[1 - room :], *new]
    after = {**fields, **{name: [*order.get(name, ()), *items] for name, items in push.items()}}
    return Change(set=kept, push=added, facts=facts, due=moved(order, after), answer=answer)


def moved(order: Order, fields: Mapping[str, Any]) -> datetime | Keep | None:
    """The timer of the order once ``fields`` are changed; kept where that is no other moment."""
    due = next_due({**order, **fields})
    return KEEP if due == next_due(order) else due


# ----------------------------------------------------------------------------------------------------------------- commands


def cancel(order: Order, step: Step, reason: str, code: str = "") -> Change:
    """Buyer or merchant ends the order before anything is sent; what was paid goes back, what was reserved or sold returns.

    ``reason`` in their own words, ``code`` one of ``reasons.CODES``. Raises Refusal INVALID_ARGUMENT, WRONG_STATE.
    """
    code, told = reasons.checked(step.actor.kind, code, reason)
    if order.get("first_sent_at") and allowed(order, Move.CANCEL, step.actor):
        raise wrong_state(
            "order", str(order["_id"]), "partly shipped", "one of which nothing was sent or redeemed; agree on a refund"
        )
    why = Change(set={"cancel_reason": code, "cancel_text": told})
    change = close(order, Move.CANCEL, step, step.actor.kind, note=told or code, also=why)
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
    """To closed by ``move``, telling (``tell``) payments what is still held and catalog what comes back: of a paid order what the buyer was
    still to get. The orders whose freight it carries pay for themselves from here (``pricing.uncarried``).

    ``also`` holds what else the same cause sets and pushes. Raises Refusal WRONG_STATE.
    """
    back = outstanding.units(order) if stock_returns else {}
    fields = {
        "state": target(order, move, step.actor).value,
        "closed_at": step.at,
        "close_reason": reason,
        **({"stock_back": outstanding.lines(back)} if back and order["paid"] else {}),
        **also.set,
    }
    after = {**order, **fields}
    told: tuple[Fact, ...] = ()
    if tell:
        told = (facts.closed(after, reason, held(after), back if order["paid"] else None),)
    if order.get("carries"):
        told += (facts.carrier_closed(after),)
    return changed(order, entry("closed", step, note or reason), fields, push=also.push, facts=told)


def held(order: Order) -> int:
    """Minor units that were collected for the order and have not gone back."""
    left: int = order["paid"] - order["refunded"]
    return max(0, left)


def ship(order: Order, step: Step, asked: Mapping[str, Any], most: int = 1, *, sandbox: bool = False) -> Change:
    """The merchant sent some or all of what is left. ``asked``, ``most``, ``sandbox``: see ``parcels.packed``.

    The order is shipped once everything was sent. Raises Refusal INVALID_ARGUMENT, WRONG_STATE.
    """
    state = target(order, Move.SHIP, step.actor)
    if vouchers.is_voucher_order(order):
        raise Refusal("CONDITION_UNMET", "vouchers are redeemed, not shipped", info={"condition": "goods"})
    parcel = parcels.packed(order, step, asked, most, sandbox=sandbox)
    first = {name: parcel[name] for name in ("need_delivery", "company", "company_name", "track_no")}
    fields: dict[str, Any] = {
        "parcels": [*parcels.all_of(order), parcel],
        "delivery": order.get("delivery") or first,
        "first_sent_at": order.get("first_sent_at") or step.at,
    }
    told = f"{parcel['company_name']} {parcel['track_no']}".strip()
    answer = {"order_id": order["_id"], "state": order["state"], "parcel": parcel["parcel"]}
    if parcels.left({**order, **fields}):
        return changed(order, entry("sent", step, told), fields, answer=answer)
    fields |= shipped({**order, **fields}, state, step)
    sent = (facts.shipped({**order, **fields}, parcel),)
    answer |= {name: fields[name] for name in ("state", "shipped_at", "auto_confirm_at")}
    return changed(order, entry("shipped", step, told), fields, facts=sent, answer=answer)


def shipped(order: Order, state: State, step: Step) -> dict[str, Any]:
    """The fields of an order of which nothing is left to send."""
    late = order["late_shipment"] or step.at > order["ship_by"]
    fields: dict[str, Any] = {"state": state.value, "shipped_at": step.at, "late_shipment": late}
    return {**fields, "auto_confirm_at": confirm_at({**order, **fields})}


def correct(order: Order, step: Step, number: int, asked: Mapping[str, Any], *, sandbox: bool = False) -> Change:
    """Another carrier or tracking number for parcel ``number``, within the time of the order's terms; at any time for one that was lost or
    returned, whose goods are sent again.

    Raises Refusal INVALID_ARGUMENT, WRONG_STATE, CONDITION_UNMET (too late).
    """
    if order["state"] not in MOVING:
        raise wrong_state("order", str(order["_id"]), order["state"], "paid or shipped")
    found = parcels.corrected(order, step, number, asked, sandbox=sandbox)
    before, after = parcels.all_of(order)[number - 1], found[number - 1]
    until = before["sent_at"] + timedelta(seconds=order["terms"].get("correction_s", 0))
    if step.at > until and not parcels.is_undelivered(before):
        message = f"a number can be corrected until {until.isoformat()}; tell the buyer the right one"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "correction", "until": until.isoformat()})
    fields = tracking.fields(order, found, step.at)
    if number == 1:
        fields["delivery"] = {name: after[name] for name in order["delivery"]}
    note = f"{before['company_name']} {before['track_no']} → {after['company_name']} {after['track_no']}"
    answer = {"order_id": order["_id"], "parcel": after}
    return changed(order, entry("parcel_corrected", step, note), fields, answer=answer)


def tracked(
    order: Order, step: Step, company: str, track_no: str, asked: Mapping[str, Any], most: int
) -> Change | None:
    """The carrier tells of a parcel: ``asked`` {events, script}; None for an order that has ended, which nothing moves any more.

    Raises Refusal INVALID_ARGUMENT.
    """
    if order["state"] not in MOVING:
        return None
    events, before = tracking.checked(asked["events"], step.at), parcels.all_of(order)
    after = []
    for parcel in before:
        is_it = (parcel["company"], parcel["track_no"]) == (company, track_no)
        told = tracking.heard(parcel, events, step.at, most) if is_it else dict(parcel)
        script = {"script": scripts.started(asked["script"], step.at)} if is_it and asked.get("script") else {}
        after.append({**told, **script})
    return _heard(order, step, after)


def _heard(order: Order, step: Step, after: list[dict[str, Any]]) -> Change:
    """Only what is notable stands in the timeline: the parcel itself keeps every event."""
    fields = tracking.fields(order, after, step.at)
    if news := tracking.news(parcels.all_of(order), after):
        return changed(order, entry("tracked", step, news), fields)
    return Change(set=fields, due=moved(order, fields))


def extend(order: Order, step: Step) -> Change:
    """The buyer takes more time before the order completes by itself (延长收货), once.

    Raises Refusal WRONG_STATE, CONDITION_UNMET the second time.
    """
    target(order, Move.CONFIRM, step.actor)
    if order.get("confirmation_extended"):
        message = "the time to confirm was extended already; open a dispute where something is wrong with the goods"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "extended_once"})
    if "extension_s" not in order["terms"]:
        raise Refusal("CONDITION_UNMET", "this order's terms know no extension", info={"condition": "extension"})
    fields: dict[str, Any] = {"confirmation_extended": True}
    fields["auto_confirm_at"] = confirm_at({**order, **fields})
    answer = {"order_id": order["_id"], "auto_confirm_at": fields["auto_confirm_at"]}
    return changed(order, entry("extended", step), fields, answer=answer)


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
    )


# ------------------------------------------------------------------------------------------------------------------- timers


def overdue(order: Order, now: datetime) -> Change | None:
    """What the timer of an order does at ``now``: close the unpaid, the missed presale, what lapsed unredeemed and what never arrived, play the mock
    carrier, note the late, complete the received and the redeemed.

    None: not yet. A timer that has nothing left to do is cleared.
    """
    due = next_due(order)
    if due is None or due > now:
        return Change(due=due)
    step = Step(now, TIMER)
    if allowed(order, Move.EXPIRE, TIMER):
        return close(order, Move.EXPIRE, step, "timeout")
    if allowed(order, Move.AUTO_CONFIRM, TIMER) and due == order["auto_confirm_at"]:
        if nothing_arrived(order):
            return close(order, Move.UNDELIVERED, step, "undelivered")
        return complete(order, Move.AUTO_CONFIRM, step)
    if order["state"] == State.PAID and vouchers.is_voucher_order(order):
        if order.get("redemptions"):
            return complete(order, Move.USED, step)
        return close(order, Move.LAPSE, step, "lapsed")
    heard = tracking.played(order, now)
    if heard is not None:
        return _heard(order, step, heard)
    if presale.is_missed(order, now) and not order.get("first_sent_at"):
        return close(order, Move.MISS, step, presale.REASON, also=Change(set={"late_shipment": True}))
    return changed(order, entry("late", step), {"late_shipment": True})
