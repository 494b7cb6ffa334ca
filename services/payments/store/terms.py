"""Terms of single shops that differ from the policy: when they settle.

Few shops have some, and each completed order asks: what differs is read for all of them at once, twice a second.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from services.chassis import clock, policy
from services.chassis.events import Event
from services.chassis.mongo import Database

FRESH_S: Final = 0.5
"""How old what a process knows may be: an admin's word on a shop holds a moment later."""
_lock: Final = threading.Lock()
_known: Final[dict[str, tuple[float, Mapping[str, int]]]] = {}


def collecting_terms(_database: Database, event: Event) -> Mapping[str, Any]:
    """A payment that was rejected, with how long before the end the channel is asked about what may still be paid."""
    before = policy.load("payments").span("last_query_before", clock.business())
    return {**event.data, "last_query_before": before}


def settlement_terms(database: Database, event: Event) -> Mapping[str, Any]:
    """``orders.order.completed`` with ``settlement_days`` of its shop and the ``settlement_rule`` that says so."""
    data, own = event.data, own_days(database)
    rules, when = policy.load("payments"), data.get("completed_at") or clock.business()
    days, rule = rules.value("settlement_days", when), rules.version("settlement_days", when)
    if data["shop_id"] in own:
        days, rule = own[data["shop_id"]], "settlement_days@shop"
    return {**data, "completed_at": when, "settlement_days": days, "settlement_rule": f"{rule}: T+{days}"}


def own_days(database: Database) -> Mapping[str, int]:
    """Shop id → days of T+n, of every shop that has terms of its own."""
    with _lock:
        at, found = _known.get(database.name, (0.0, {}))
        if at and clock.monotonic() - at < FRESH_S:
            return found
    query = {"settlement_days": {"$gte": 0}}
    read = {row["_id"]: row["settlement_days"] for row in database["shops"].find(query, {"settlement_days": 1})}
    with _lock:
        _known[database.name] = (clock.monotonic(), read)
    return read
