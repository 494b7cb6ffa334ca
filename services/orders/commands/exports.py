"""Asking for a file of the shop's orders."""

from collections.abc import Mapping
from typing import Any

from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome
from services.chassis.errors import Refusal
from services.orders.model import exports, search
from services.orders.model.states import Actor
from services.orders.store import Store


def create_export(store: Store, cause: Cause, actor: Actor, asked: Mapping[str, Any]) -> Outcome:
    """Queue an export of what was placed until now. ``asked``: see CreateOrderExportRequest. Raises Refusal INVALID_ARGUMENT."""
    if not actor.shop_id:
        raise Refusal("PERMISSION_DENIED", "this token speaks for no shop; get one after the shop is approved")
    exports.check(asked)
    filters = {name: value for name, value in asked.items() if name != "format" and value not in ("", [])}
    search.check(filters, merchant=True)
    export_id = ids.new_id("oex")
    job = {
        "_id": export_id,
        "position": export_id,
        "shop_id": actor.shop_id,
        "format": asked["format"],
        "filters": filters,
        "state": "queued",
        "reason": "",
        "message": "",
        "orders": 0,
        "rows": 0,
        "parts": 0,
        "next_at": clock.wall_ms(),
        "working_for": actor.shop_id,
    }
    return commit.create(store.files.exports, job, cause)
