"""Disputes' store, commands and reactions on a real database; only orders is played, by a dictionary."""

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

from services.chassis import clock, events
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.errors import not_found
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.chassis.timers import Timers
from services.disputes import commands
from services.disputes.model import Party
from services.disputes.store import Store
from services.disputes.worker import WORKER

BUYER, OTHER_BUYER = Party("buyer", "u1", "u1"), Party("buyer", "u2", "u2")
MERCHANT, OTHER_SHOP = Party("merchant", "m1", "s1"), Party("merchant", "m2", "s2")
FIRST, SECOND = Party("platform", "a1"), Party("platform", "a2")
RULING = {
    "liability": "merchant",
    "remedy": "refund_full",
    "payer": "merchant",
    "amount": 0,
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "照片与描述不符",
}
_keys = itertools.count()


def fresh(key: str = "", body: str = "h") -> Cause:
    """The cause of a command: a new one each time, or that of a client's key."""
    return Cause(f"cmd:{key or next(_keys)}", body)


class Orders(dict[str, dict[str, Any]]):
    """Orders as their buyers may see them."""

    def order(self, order_id: str) -> dict[str, Any]:
        if order_id not in self:
            raise not_found("order", order_id)
        return self[order_id]

    def put(self, order_id: str = "1", **fields: Any) -> None:
        whole = {
            "order_id": order_id,
            "checkout_id": f"c{order_id}",
            "shop_id": "s1",
            "state": "paid",
            "amount": 250_000,
            "refunded": 0,
            "refunds": [],
            "currency": "CNY",
            "lines": [{"product_id": "p", "sku_id": "k", "name": "连衣裙", "quantity": 1, "price": 250_000}],
            "paid_at": clock.business(),
        }
        self[order_id] = {**whole, **fields}


class House:
    """What the tests do to disputes."""

    def __init__(self, database) -> None:
        self.database, self.store, self.orders = database, Store(database), Orders()
        self.intake = Intake("disputes", database, WORKER.handlers, Presence("disputes", "test", "worker"))
        self.timers = Timers("disputes", database, WORKER.timers, Presence("disputes", "test", "worker"))

    def open(self, order_id: str = "1", amount: int = 0, cause: Cause | None = None) -> dict[str, Any]:
        asked = {"order_id": order_id, "kind": "refund_only", "amount": amount, "reason": "破了"}
        return commands.open_case(self.store, self.orders, cause or fresh(), BUYER, asked).document

    def queued(self, amount: int = 0, order_id: str = "1") -> str:
        """A case in the platform's queue; its id."""
        case_id = self.open(order_id, amount)["_id"]
        commands.refuse(self.store, fresh(), MERCHANT, case_id, "没有破", ["发货照片"])
        commands.escalate(self.store, fresh(), BUYER, case_id, "照片为证")
        return str(case_id)

    def rule(self, case_id: str, who: Party = FIRST, **ruling: Any) -> dict[str, Any]:
        return commands.rule(self.store, fresh(), who, case_id, {**RULING, **ruling}).document

    def wait(self, span: timedelta) -> None:
        """Move the clock on and let what is due happen."""
        clock.see(clock.offset_ms() + int(span.total_seconds() * 1000))
        self.timers.sweep()

    def facts(self, case_id: str) -> list[tuple[str, dict[str, Any]]]:
        """(type, data) of what the case has told, in order."""
        told = self.store.case(case_id).get("outbox", [])
        return [(envelope["type"].split(".")[3], dict(events.unpack(envelope).data)) for envelope in told]

    def refunded(self, case_id: str, amount: int, at: datetime | None = None) -> Result:
        """Payments tells that a case's money reached the buyer."""
        data = {
            "refund_id": f"rf-{case_id}",
            "case_id": case_id,
            "amount": amount,
            "cause": "dispute",
            "refunded_at": at or clock.business(),
        }
        envelope = events.pack(
            Fact("jishi.payments.refund.succeeded.v1", data),
            entity=f"payments.refunds:rf-{case_id}",
            subject=f"rf-{case_id}",
            sequence=1,
            causation="",
            traceparent="",
        )
        return self.intake.receive("close_when_refunded", json.dumps(envelope).encode())
