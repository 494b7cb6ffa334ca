"""What a carrier says of a parcel: the same event twice is one, and late news does not undo newer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from services.chassis.errors import Refusal, Violation, invalid
from services.orders.model import deadlines, scripts
from services.orders.model.parcels import is_undelivered
from services.orders.model.states import Order, State

Parcel = Mapping[str, Any]
STATUSES: Final = ("collected", "in_transit", "out_for_delivery", "delivered", "lost", "returned")
"""Of two events of one moment the later of these holds."""
NOTABLE: Final = frozenset({"delivered", "lost", "returned"})
"""What the order's timeline tells of."""
_ID_LENGTH: Final = 64
_TEXT_LENGTH: Final = 200


def checked(events: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The events as they are kept. Raises Refusal INVALID_ARGUMENT naming every wrong field of ``events[i]``."""
    wrong = []
    for number, event in enumerate(events):
        path = f"events[{number}]"
        if not 0 < len(event["event_id"]) <= _ID_LENGTH:
            wrong.append(
                Violation(f"{path}.event_id", f"the carrier's number of the event, 1 to {_ID_LENGTH} characters")
            )
        if event["status"] not in STATUSES:
            wrong.append(Violation(f"{path}.status", f"must be one of {', '.join(STATUSES)}"))
        if event.get("occurred_at") is None or event["occurred_at"] > now:
            wrong.append(Violation(f"{path}.occurred_at", "say when it happened; not a moment to come"))
        wrong += [
            Violation(f"{path}.{name}", f"at most {_TEXT_LENGTH} characters")
            for name in ("place", "text")
            if len(event[name]) > _TEXT_LENGTH
        ]
    if wrong:
        raise Refusal("INVALID_ARGUMENT", f"{wrong[0].field}: {wrong[0].message}", tuple(wrong))
    return [dict(event) for event in events]


def heard(parcel: Parcel, events: Sequence[Mapping[str, Any]], now: datetime, most: int) -> dict[str, Any]:
    """The parcel after its carrier told ``events``, heard at ``now``: known ones are passed over, the newest by its own time holds.

    Raises Refusal INVALID_ARGUMENT for more than ``most`` events in all.
    """
    kept = {event["event_id"]: event for event in parcel["events"]}
    new = {event["event_id"]: event for event in events if event["event_id"] not in kept}
    if len(kept) + len(new) > most:
        raise invalid("events", f"a parcel keeps at most {most} events")
    told = sorted([*kept.values(), *new.values()], key=age)
    after = {**parcel, "events": told}
    if told:
        after |= {"status": told[-1]["status"], "status_at": told[-1]["occurred_at"]}
    if after.get("status") != "delivered":
        after["delivered_heard_at"] = None
    elif after.get("delivered_heard_at") is None:
        after["delivered_heard_at"] = now
    return after


def age(event: Mapping[str, Any]) -> tuple[datetime, int]:
    """By what the newest event is found: the carrier's time, and the place of its status in ``STATUSES``."""
    return event["occurred_at"], STATUSES.index(event["status"])


def played(order: Order, now: datetime) -> list[dict[str, Any]] | None:
    """The order's parcels after the mock carrier told what its scripts say up to ``now``; None where nothing is due."""
    if not any(_is_due(parcel, now) for parcel in order.get("parcels", ())):
        return None
    return [_played(parcel, now) if _is_due(parcel, now) else dict(parcel) for parcel in order["parcels"]]


def _is_due(parcel: Parcel, now: datetime) -> bool:
    moment = scripts.due(parcel)
    return moment is not None and moment <= now


def _played(parcel: Parcel, now: datetime) -> dict[str, Any]:
    events, script = scripts.told(parcel, now)
    after = dict(parcel)
    for event in events:  # each was told when it happened, however late the timer ran
        after = heard(after, [event], event["occurred_at"], len(after["events"]) + 1)
    return {**after, "script": script}


def fields(order: Order, parcels: Sequence[Parcel], now: datetime) -> dict[str, Any]:
    """What changes in an order whose parcels are ``parcels`` from ``now`` on: they, and when it completes by itself.

    The buyer's time begins anew with a parcel that was lost or returned and is on its way again.
    """
    changed: dict[str, Any] = {"parcels": [dict(parcel) for parcel in parcels]}
    if order["state"] == State.SHIPPED:
        now_and_then = zip(map(is_undelivered, order.get("parcels", ())), map(is_undelivered, parcels), strict=False)
        if any(was and not still for was, still in now_and_then):
            changed["confirm_from"] = now
        changed["auto_confirm_at"] = deadlines.confirm_at({**order, **changed})
    return changed


def news(before: Sequence[Parcel], after: Sequence[Parcel]) -> str:
    """What the timeline tells of: which parcels came to be delivered, lost or returned; empty when none did."""
    return "; ".join(
        f"{new['company_name']} {new['track_no']}: {new['status']}"
        for old, new in zip(before, after, strict=True)
        if new.get("status") in NOTABLE and new["status"] != old.get("status")
    )
