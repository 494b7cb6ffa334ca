"""What is sent, and what carriers tell of it."""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis import clock, policy
from services.chassis.commit import Cause, Outcome
from services.chassis.errors import invalid, not_found
from services.orders.commands.lifecycle import change_order
from services.orders.model import order
from services.orders.model.states import Actor, sees
from services.orders.store import Store

ORDERS_IN_ONE_PARCEL: Final = 50
"""More orders than that do not travel together."""


def ship(
    store: Store, cause: Cause, actor: Actor, order_id: str, parcel: Mapping[str, Any], *, sandbox: bool = False
) -> Outcome:
    """The merchant sent some or all of the goods: ``parcel`` as ``parcels.packed`` takes it.

    Answer: {order_id, state, parcel, shipped_at and auto_confirm_at once all was sent}. Raises Refusal NOT_FOUND, INVALID_ARGUMENT,
    WRONG_STATE.
    """
    most = policy.load("orders").value("parcels_per_order", clock.business())
    return change_order(
        store, cause, actor, order_id, lambda found, step: order.ship(found, step, parcel, most, sandbox=sandbox)
    )


def correct(
    store: Store, cause: Cause, actor: Actor, order_id: str, asked: Mapping[str, Any], *, sandbox: bool = False
) -> Outcome:
    """Another number for a parcel: ``asked`` {parcel, delivery_company, delivery_track_no, is_others}.

    Answer: {order_id, parcel}. Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE, CONDITION_UNMET.
    """
    return change_order(
        store,
        cause,
        actor,
        order_id,
        lambda found, step: order.correct(found, step, asked["parcel"], asked, sandbox=sandbox),
    )


def track(store: Store, cause: Cause, actor: Actor, asked: Mapping[str, Any]) -> Outcome:
    """The carrier tells of a parcel: ``asked`` {delivery_company, delivery_track_no, events, script}. Answer: {order_ids: those that have
    something in it}.

    One conditional write an order, each under its own part of the cause: a repetition goes on where the first attempt stopped. Raises
    Refusal NOT_FOUND (also for another shop's parcel), INVALID_ARGUMENT.
    """
    company, track_no = asked["delivery_company"].strip(), asked["delivery_track_no"].strip()
    if not asked["events"] and not asked["script"]:
        raise invalid("events", "say what the carrier tells, or choose a script")
    now = clock.business()
    most = policy.load("orders").value("tracking_events", now)
    carried = store.orders_by_id(store.carried(company, track_no, ORDERS_IN_ONE_PARCEL))
    mine = [found for found in carried if sees(found, actor)]
    if not mine:
        raise not_found("parcel", f"{company} {track_no}")
    heard = [
        change_order(
            store,
            cause.part(found["_id"]),
            actor,
            found["_id"],
            lambda known, step: order.tracked(known, step, company, track_no, asked, most),
        )
        for found in mine
    ]
    answer = {"order_ids": [found["_id"] for found in mine]}
    return Outcome(mine[0], answer, replayed=all(outcome.replayed for outcome in heard))
