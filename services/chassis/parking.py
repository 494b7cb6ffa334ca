"""What a person does about deliveries that were given up, and replays. ``jishi events`` puts these on the command line."""

from typing import Any

from services.chassis import clock
from services.chassis.commit import HANDLED_KEPT
from services.chassis.mongo import Database, Document


def parked(database: Database, limit: int = 100) -> list[Document]:
    """The parked deliveries of one service: ``_id``, handler, type, error, attempts, parked_at, event (or raw: undecodable bytes)."""
    return list(database["handled"].find({"state": "parked"}).limit(limit))


def retry(database: Database, row_id: str = "") -> int:
    """Let the worker run one parked delivery again (or all of the service, with fresh attempts). Answers how many."""
    again = {"$set": {"state": "waiting", "attempts": 0, "next_at": clock.wall_ms()}, "$unset": {"parked_at": ""}}
    rows = database["handled"]
    # One by one: an update of many may deadlock with a worker's transactions on the embedded database (docs/capacity.md).
    chosen = [row["_id"] for row in rows.find(_chosen(row_id), {"_id": 1})]
    return sum(rows.update_one({"_id": chosen_id, "state": "parked"}, again).modified_count for chosen_id in chosen)


def drop(database: Database, row_id: str, why: str) -> bool:
    """Give one parked delivery up for good; ``why`` is kept with its row for 30 days. False when it is not parked."""
    now = clock.wall()
    gone = {"state": "done", "dropped_at": now, "dropped_because": why, "expire_at": now + HANDLED_KEPT}
    return bool(database["handled"].update_one(_chosen(row_id), {"$set": gone}).modified_count)


def replay(publisher: Database, subscription: str, since_ms: int = 1) -> None:
    """Ask for the events that ``publisher`` (the database of the service that told them) logged since ``since_ms`` (wall ms) again.

    ``subscription``: ``<service>.<handler>``. The relay of that service sends them to this one queue; a handler that is new to it gets
    all of the log without asking. Raises LookupError for a name that does not listen to this service, naming those that do.
    """
    asked = {"$min": {"replay_from": max(1, since_ms)}}
    if publisher["subscribers"].update_one({"_id": subscription}, asked).matched_count == 0:
        known = sorted(row["_id"] for row in publisher["subscribers"].find({}, {"_id": 1}))
        raise LookupError(f"{subscription} does not listen to {publisher.name}; these do: {', '.join(known) or 'none'}")


def _chosen(row_id: str) -> dict[str, Any]:
    return {"state": "parked", **({"_id": row_id} if row_id else {})}
