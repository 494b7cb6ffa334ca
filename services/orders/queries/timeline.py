"""An order's timeline: who did what, when, by which event."""

from datetime import datetime
from typing import Any

from services.chassis import clock, paging
from services.chassis.errors import not_found
from services.orders.model.states import PLATFORM, Actor, Order, sees
from services.orders.store import Store

Line = dict[str, Any]


def page(store: Store, actor: Actor, order_id: str, size: int, token: str) -> tuple[list[Line], str]:
    """Up to ``size`` entries, the oldest first, and the token of the next page.

    The cursor is the moment of the last entry and how many of that moment were shown: entries only come at the end, and where an order has
    so many that old ones go, none is shown twice. Raises Refusal NOT_FOUND, for another's order too, INVALID_PAGE_TOKEN.
    """
    found = store.order(order_id)
    if found is None or not sees(found, actor):
        raise not_found("order", order_id)
    last = paging.decode(token, {"timeline": order_id}, int, int)
    lines = _after(found, *last) if last else list(found["timeline"])
    shown = lines[:size]
    if len(lines) == len(shown):
        return [told(line, actor) for line in shown], ""
    at = clock.ms(shown[-1]["at"])
    before = int(last[1]) if last and last[0] == at else 0
    seen = before + sum(clock.ms(line["at"]) == at for line in shown)
    return [told(line, actor) for line in shown], paging.encode({"timeline": order_id}, [at, seen])


def _after(order: Order, at_ms: int, seen: int) -> list[Line]:
    moments = [(clock.ms(_at(line)), line) for line in order["timeline"]]
    of_that = [line for at, line in moments if at == at_ms]
    return of_that[seen:] + [line for at, line in moments if at > at_ms]


def _at(line: Line) -> datetime:
    moment: datetime = line["at"]
    return moment


def told(line: Line, actor: Actor) -> Line:
    """An entry as ``actor`` is told it: who of the other side it was is their business."""
    own = actor.kind in PLATFORM or actor.kind == "service" or line["actor"] == actor.kind
    return line if own else {**line, "actor_id": ""}
