"""Batches of views."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.catalog.model import viewing
from services.catalog.store import SERVICE, Store
from services.chassis import calendar, clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome
from services.chassis.decisions import Fact
from services.chassis.errors import invalid


def record_views(store: Store, cause: Cause, begin_time: datetime | None, seen: Sequence[Mapping[str, Any]]) -> Outcome:
    """Keep a batch and promise that it is counted: one insert. ``begin_time``: wall time.

    Raises Refusal INVALID_ARGUMENT, IDEMPOTENCY_KEY_REUSED.
    """
    rules, now = policy.load(SERVICE), clock.business()
    viewing.check_batch(seen, rules.value("view_batch", now))
    if begin_time is None:
        raise invalid("begin_time", "say when the first of these views was")
    day = calendar.day(min(begin_time + timedelta(milliseconds=clock.offset_ms()), now))
    batch_id = ids.derived_id("views", cause.id)
    views = viewing.folded(seen, day, viewing.classes(rules.value("view_channels", now)))
    fact = Fact("jishi.catalog.views.recorded.v1", {"batch_id": batch_id, "day": day, "views": views})
    return commit.create(store.view_batches, {"_id": batch_id, "day": day}, cause, facts=(fact,), natural=True)
