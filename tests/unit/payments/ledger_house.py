"""Payments' ledger alone on a real database: entries posted, credits folded, the journal sealed; no channel and no broker."""

import json
from datetime import datetime, timedelta
from typing import Any

from services.chassis import clock, commit, events, mongo
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.jobs import Jobs
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.payments import jobs, queries
from services.payments.jobs import sealing
from services.payments.model import ledger, payable, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Credit, Plan
from services.payments.store import COLLECTIONS, Store
from services.payments.store.posting import collected, post
from services.payments.worker import WORKER

SHOP = "shop_1"
OTHER = "shop_2"


class Ledger:
    """One journal and the shops whose accounts it moves."""

    def __init__(self, world) -> None:
        self.database = world.database("payments")
        mongo.declare(self.database, COLLECTIONS)
        self.store, self.number = Store(self.database), 0
        Jobs("payments", self.database, jobs.JOBS, Presence("payments", "tests", "jobs")).stand()
        for shop_id in (SHOP, OTHER):
            told = {"shop_id": shop_id, "account_id": "a", "name": "茶铺", "state": "open", "currency": "CNY"}
            self.store.shops.insert_one(
                {**purse.new_shop(told, 1), "version": 1, "applied": [], "created_by": f"test:{shop_id}"}
            )

    def earn(self, amount: int, shop_id: str = SHOP, name: str = "") -> str:
        """Money comes to a shop's available."""
        self.number += 1
        identity = name or f"settle:o{self.number}"
        sides = (Posting(ledger.CLEARING, -amount), Posting(ledger.available(shop_id), amount))
        entry = Entry(identity, "settle", "CNY", sides, (f"o{self.number}",))
        credit = Credit(identity, shop_id, "available", amount)
        post(self.store, Plan(entries=(entry,), credits=(credit,)), Books(None), Cause(f"evt:settle:{identity}"))
        return identity

    def paid(self, amount: int, shop_id: str = SHOP) -> tuple[str, str]:
        """A checkout of one order, collected: its id and the order's."""
        self.number += 1
        checkout_id, order_id = f"chk_{self.number}", f"10{self.number:017d}"
        told = {
            "checkout_id": checkout_id,
            "buyer_id": "buyer",
            "currency": "CNY",
            "amount": amount,
            "pay_by": clock.business() + timedelta(minutes=30),
            "shares": [{"order_id": order_id, "shop_id": shop_id, "amount": amount}],
        }
        terms = payable.Terms(timedelta(seconds=60), timedelta(hours=2), 5, ())
        number = f"p{self.number}"
        attempt = payable.placed(payable.attempt(number, "native", amount), {"code_url": "c"})
        commit.create(
            self.store.payables, payable.opened(told, attempt, terms), Cause(f"cmd:open:{self.number}"), natural=True
        )
        collected(self.store, Success(number, f"42{self.number:026d}", amount, "CNY"))
        return checkout_id, order_id

    def hear(self, event_type: str, checkout_id: str, **data: Any) -> Result:
        """Another service's event arrives at the worker."""
        self.number += 1
        told = {"checkout_id": checkout_id, "shop_id": SHOP, **data}
        envelope = events.pack(
            Fact(event_type, told),
            entity=f"x:{checkout_id}",
            subject=checkout_id,
            sequence=self.number,
            causation="",
            traceparent="",
        )
        intake = Intake("payments", self.database, WORKER.handlers, Presence("payments", "tests", "worker"))
        name = next(one.name for one in WORKER.handlers if one.event_type == event_type)
        return intake.receive(name, json.dumps(envelope).encode())

    def complete(self, checkout_id: str, order_id: str, commission_bp: int = 200) -> Result:
        told = {"order_id": order_id, "commission_bp": commission_bp, "commission_policy": "commission_bp@2014-05-29"}
        done = {"completed_at": clock.business(), "goods_amount": 1 << 40}
        return self.hear("jishi.orders.order.completed.v1", checkout_id, **told, **done)

    def fire(self, collection: str) -> int:
        """Fire every timer of a collection that is due; how many."""
        timer = next(one for one in WORKER.timers if one.collection == collection)
        due = list(self.database[collection].find({"due_at": {"$gt": 0, "$lte": clock.business_ms()}}))
        for row in due:
            timer.fire(self.database, row, clock.business(), Cause(f"tmr:{collection}:{row['_id']}:{row['version']}"))
        return len(due)

    def purse(self) -> dict[str, int]:
        """The shop's balances; the trial balance holds."""
        rows, balanced = queries.trial_balance(self.store)
        assert balanced, rows
        view = queries.balance_view(*queries.balance(self.store, SHOP))
        return {name: value for name, value in view.items() if isinstance(value, int) and value}

    def seal(self) -> int:
        return sealing.seal_all(self.store, lambda: None)

    def fold(self, shop_id: str = SHOP) -> None:
        jobs.fold_all(self.store, shop_id, lambda: None)

    def shop(self, shop_id: str = SHOP) -> dict[str, Any]:
        found = self.store.shop(shop_id)
        assert found is not None
        return found

    def pass_time(self, **span: float) -> datetime:
        """Move the business clock; where it is now."""
        clock.see(clock.offset_ms() + int(timedelta(**span).total_seconds() * 1000))
        return clock.business()
