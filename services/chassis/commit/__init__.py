"""The only place that writes: one command, event or timer = one conditional write.

``documents``: one document (``create``, ``change``). ``transactions``: several documents, all or nothing (``Transaction``).
"""

from services.chassis.commit.documents import (
    APPLIED_KEPT,
    APPLIED_SPILL,
    OUTBOX_LIMIT,
    PATIENCE_S,
    TIMER_SLOTS,
    Cause,
    Decide,
    Outcome,
    Rows,
    Taken,
    answered,
    applied,
    change,
    copy,
    create,
    created,
    created_before,
    prepare,
    recognised,
    render,
    spill,
    write,
)
from services.chassis.commit.transactions import HANDLED_KEPT, Shortfall, Transaction, settled

__all__ = [
    "APPLIED_KEPT",
    "APPLIED_SPILL",
    "HANDLED_KEPT",
    "OUTBOX_LIMIT",
    "PATIENCE_S",
    "TIMER_SLOTS",
    "Cause",
    "Decide",
    "Outcome",
    "Rows",
    "Shortfall",
    "Taken",
    "Transaction",
    "answered",
    "applied",
    "change",
    "copy",
    "create",
    "created",
    "created_before",
    "prepare",
    "recognised",
    "render",
    "settled",
    "spill",
    "write",
]
