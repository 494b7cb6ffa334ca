"""The sandbox's business clock."""

from datetime import datetime

from services.accounts import model
from services.accounts.store import Store
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Shortfall, Taken
from services.chassis.errors import Refusal
from services.chassis.mongo import Document


def advance_clock(store: Store, cause: Cause, seconds: int, until: datetime | None) -> tuple[int, bool]:
    """Move the business clock on: (offset in ms, whether this request had moved it before).

    Two requests at once add up; the same request twice moves once. Raises Refusal INVALID_ARGUMENT, VERSION_CONFLICT.
    """
    until_s = clock.monotonic() + commit.PATIENCE_S
    while clock.monotonic() < until_s:
        made = store.move_made(cause.id)
        if made is not None:
            outcome = commit.created_before(made, cause)
            return int(outcome.document["offset_ms"]), True
        seen = clock.read_offset(store.shared)
        now = clock.moment(clock.wall_ms() + seen)
        target = model.clock_target(now, seen, seconds, until)
        move: Document = {"_id": ids.derived_id("move", cause.id), "from_ms": seen, "offset_ms": target}
        try:
            store.move_clock(commit.prepare(store.clock_moves, move, cause), seen, target)
        except (Shortfall, Taken):  # another move came first, or our own did on an earlier try
            continue
        return target, False
    raise Refusal("VERSION_CONFLICT", "the business clock kept moving; try again", retry_after_s=1)
