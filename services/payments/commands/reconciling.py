"""What admins do about reconciliation: run a day now, end a difference."""

from typing import Any

from services.chassis import clock, commit
from services.chassis.calendar import day
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.payments.model.bills import told_day
from services.payments.store import Store
from services.payments.store.days import begin_day
from services.payments.store.reconciling import clear, report

BY_A_PERSON = ("corrected", "absorbed")
LONGEST_NOTE = 500


def reconcile(store: Store, cause: Cause, asked: str) -> tuple[dict[str, Any], bool]:
    """Have the channel day reconciled now: its report as it stood when that was asked, and whether it was asked before.

    Raises Refusal INVALID_ARGUMENT, IDEMPOTENCY_KEY_REUSED.
    """
    cst_day = told_day(asked, day(clock.wall()))
    begin_day(store, cst_day)
    now = clock.wall_ms()

    def decide(row: Document) -> Change:
        wanted = {**row, "state": "pending", "next_at": now}
        return Change(set={"state": "pending", "next_at": now}, unset=("place",), answer=report(store, wanted))

    outcome = commit.change(store.reconciliations, cst_day, cause, decide, kind="reconciliation")
    return outcome.answer, outcome.replayed


def resolve(store: Store, cause: Cause, asked: dict[str, Any]) -> tuple[Document, bool]:
    """End a difference by a person's word (``asked``: date, difference_id, resolution, note); it after that, and whether it was told.

    ``corrected``: the channel has put it right, what was posted is undone. ``absorbed``: the house bears or keeps the amount.
    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE, IDEMPOTENCY_KEY_REUSED.
    """
    resolution, note = asked["resolution"], asked["note"].strip()
    if resolution not in BY_A_PERSON:
        raise invalid("resolution", f"must be one of {', '.join(BY_A_PERSON)}")
    if not 0 < len(note) <= LONGEST_NOTE:
        raise invalid("note", f"say why, in 1 to {LONGEST_NOTE} characters")
    replayed = commit.answered(store.database, cause) is not None
    row = store.differences.find_one({"_id": asked["difference_id"], "day": asked["date"]})
    if row is None:
        raise not_found("difference", asked["difference_id"])
    if not replayed:
        if row["state"] != "open":
            raise Refusal("WRONG_STATE", f"difference {row['_id']} is resolved ({row['resolution']})")
        replayed = not _ended(store, cause, row, resolution, note)
    found = store.differences.find_one({"_id": row["_id"]})
    if found is None or found["state"] == "open":
        raise Refusal("UNAVAILABLE", "the difference kept changing; try again", retry_after_s=1)
    return found, replayed


def _ended(store: Store, cause: Cause, row: Document, resolution: str, note: str) -> bool:
    """Whether this call ended it; False: the same command had. Raises Refusal WRONG_STATE where another was faster."""
    writing = Transaction(store.client).answer(store.database, cause, row["_id"])
    try:
        clear(store, row, resolution, cause, writing, note)
    except (Shortfall, Taken):
        if commit.answered(store.database, cause) is None:
            raise Refusal("WRONG_STATE", f"difference {row['_id']} was resolved by somebody else") from None
        return False
    return True
