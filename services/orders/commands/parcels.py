"""What is sent, and what carriers tell of it."""

from collections.abc import Mapping
from typing import Any

import orjson

from services.chassis import clock, policy
from services.chassis.commit import Cause, Outcome
from services.chassis.errors import invalid, not_found
from services.chassis.webhook_signing import signed
from services.orders.commands import carriers
from services.orders.commands.lifecycle import change_order
from services.orders.model import order
from services.orders.model.states import Actor, sees
from services.orders.store import Store


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
    """The mock carrier tells of a parcel: ``asked`` {delivery_company, delivery_track_no, events, script}. Answer: {order_ids: those of the
    caller's that have something in it}.

    It signs what it says and is believed as the others are (``carriers.verified``). One conditional write an order, each under its own part of
    the cause: a repetition goes on where the first attempt stopped. Raises Refusal NOT_FOUND (also for another shop's parcel),
    INVALID_ARGUMENT.
    """
    company, track_no = asked["delivery_company"].strip(), asked["delivery_track_no"].strip()
    if not asked["events"] and not asked["script"]:
        raise invalid("events", "say what the carrier tells, or choose a script")
    now = clock.business()
    most = policy.load("orders").value("tracking_events", now)
    carried = store.orders_by_id(store.carried(company, track_no, carriers.ORDERS_IN_ONE_PARCEL))
    mine = [found for found in carried if sees(found, actor)]
    if not mine:
        raise not_found("parcel", f"{company} {track_no}")
    order_ids, again = [found["_id"] for found in mine], []
    if asked["events"]:
        body = orjson.dumps({"parcels": [{"track_no": track_no, "events": asked["events"]}]})
        secret, now_s = carriers.mock_secret(store), clock.wall_ms() // 1000
        headers = signed(secret, cause.id, body, now_s=now_s)
        under = carriers.verified(store, company, headers, body, signed_by=carriers.MOCK)
        again += [
            carriers.tell_order(store, under, order_id, company, track_no, asked["events"]) for order_id in order_ids
        ]
    if asked["script"]:
        begun = {"events": [], "script": asked["script"]}
        again += [
            change_order(
                store,
                cause.part(order_id),
                actor,
                order_id,
                lambda known, step: order.tracked(known, step, company, track_no, begun, most),
            ).replayed
            for order_id in order_ids
        ]
    return Outcome(mine[0], {"order_ids": order_ids}, replayed=all(again))
