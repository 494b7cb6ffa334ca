"""When a market is over and every timer has fired: nothing is stuck, the seal is whole, the bills are the ledger's."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from typer.testing import CliRunner

from services.chassis import clock
from services.chassis.calendar import day
from services.chassis.settings import SERVICES
from services.cli.clocks import advance
from services.cli.main import app
from tests.backends.processes import wait_until
from tests.faults.conftest import MortalStack
from tests.faults.market import Market

DAYS = (3, 12, 40)
"""So far the clock is moved, one after the other: late, completed by themselves, unfrozen."""
OVER = {
    ("orders", "checkouts"): ("placed", "refused", "abandoned"),
    ("payments", "payables"): ("paid", "closed"),
    ("payments", "refunds"): ("succeeded",),
    ("payments", "withdrawals"): ("paid", "failed"),
    ("payments", "packets"): ("spent", "expired"),
    ("payments", "sharings"): ("finished",),
    ("payments", "topups"): ("paid", "closed", "open"),
    ("payments", "reconciliations"): ("done", "pending"),
    ("payments", "differences"): ("resolved",),
}
"""(service, collection) → the states in which a document may be for ever. A top-up nobody paid ends by the wall clock, a day not over yet waits."""


def pass_all_time(market: Market) -> None:
    """Until every timer of the trade has fired."""
    for days in DAYS:
        answer = advance(market.town.admin, days * 24 * 3600)
        assert answer["quiet"], answer


def stuck(stack: MortalStack) -> list[str]:
    """What should have ended and has not, or waits for a timer that is past."""
    found = []
    with stack.connect() as client:
        offset = clock.read_offset(client[prefix_of(stack) + "jishi"])
        late = clock.wall_ms() + offset - 10_000
        for service in SERVICES:
            database = client[prefix_of(stack) + service]
            for name in database.list_collection_names():
                past = database[name].find({"due_at": {"$gt": 0, "$lt": late}}, {"due_at": 1})
                found += [f"{service}.{name} {row['_id']}: due {(late - row['due_at']) // 1000} s ago" for row in past]
            parked = database["handled"].find({"state": {"$ne": "done"}}, {"state": 1})
            found += [f"{service}.handled {row['_id']}: {row['state']}" for row in parked]
        for (service, name), states in OVER.items():
            rows = client[prefix_of(stack) + service][name].find({"state": {"$nin": list(states)}}, {"state": 1})
            found += [f"{service}.{name} {row['_id']}: {row['state']}" for row in rows]
        orders = client[prefix_of(stack) + "orders"]["orders"].find({"state": {"$nin": ["completed", "closed"]}})
        found += [f"order {row['_id']}: {row['state']}" for row in orders if not may_wait(row)]
        waiting = client[prefix_of(stack) + "payments"]["maturing"].find({"waiting": {"$exists": True}})
        found += [f"payments.maturing {row['_id']}" for row in waiting]
        cases = client[prefix_of(stack) + "disputes"]["cases"].find({"state": {"$not": {"$regex": "^closed"}}})
        found += [f"disputes.cases {row['_id']}: {row['state']}" for row in cases]
    return found


def may_wait(order: Mapping[str, Any]) -> bool:
    """Whether only its people can move the order: paid and never sent, which is known to be late; or vouchers that are still valid."""
    return order["state"] == "paid" and (order["late_shipment"] or "vouchers_until" in order)


def prefix_of(stack: MortalStack) -> str:
    """Before the names of the stack's databases."""
    return str(stack.options.environment.get("JISHI_DB_PREFIX", ""))


def reconciled(market: Market, days: set[str]) -> None:
    """Reconciled once more, the channel's days leave no difference open."""
    for one in sorted(days):
        market.town.admin.post("/v1/reconciliations", {"date": one})
        path = f"/v1/reconciliations/{one}"

        def told(path: str = path) -> dict[str, Any]:
            found: dict[str, Any] = market.town.admin.get(path)
            return found

        wait_until(lambda read=told: read()["reconciliation"]["state"] == "done", f"{one} to be reconciled")
        found = told()
        assert found["reconciliation"]["open"] == 0, found
        assert found["reconciliation"]["ledger"] == found["reconciliation"]["channel"], found
        assert found["reconciliation"]["matched"] > 0


def sealed(stack: MortalStack, market: Market) -> None:
    """``jishi ledger verify`` and ``balances``."""
    asked = {"page_size": 200}
    wait_until(lambda: market.town.admin.get("/v1/ledger/verification", **asked)["waiting"] == 0, "all to be sealed")
    run, folder = CliRunner(), ["--data", str(stack.data)]
    done = run.invoke(app, ["ledger", "verify", "--json", *folder])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["flaws"], told["waiting"]) == (0, [], 0), done.output
    with stack.connect() as client:
        assert told["entries"] == client[prefix_of(stack) + "payments"]["entries"].count_documents({})
    done = run.invoke(app, ["ledger", "balances", "--json", *folder])
    assert (done.exit_code, json.loads(done.stdout)["balanced"]) == (0, True), done.output


def billed(stack: MortalStack, market: Market) -> None:
    """opening + movements = closing on every day of every shop, each day begins as the last one ended, and Σ shops = the ledger."""
    closings = 0
    for shop_id, days in days_of(stack).items():
        before = 0
        for one in sorted(days):
            bill = market.town.admin.get(f"/v1/shops/{shop_id}/bills/{one}", page_size=200)
            rows = list(bill["rows"])
            while bill.get("next_page_token"):
                bill = market.town.admin.get(
                    f"/v1/shops/{shop_id}/bills/{one}", page_size=200, page_token=bill["next_page_token"]
                )
                rows += bill["rows"]
            where = f"{shop_id} {one}"
            assert bill["opening"] == before, (where, before, bill["opening"])
            assert bill["opening"] + sum(row["amount"] for row in rows) == bill["closing"], where
            parts = bill["accounts"]
            assert all(one["opening"] + one["credits"] - one["debits"] == one["closing"] for one in parts), where
            assert sum(one["closing"] for one in parts) == bill["closing"], where
            before = bill["closing"]
        closings += before
    rows = market.town.admin.get("/v1/ledger/trial-balance")["rows"]
    owned = defaultdict(int)
    for row in rows:
        owned[row["kind"].partition(":")[0]] += row["balance"]
    assert closings == owned["order"] + owned["shop"] + owned["share"], (closings, rows)


def days_of(stack: MortalStack) -> dict[str, set[str]]:
    """Shop → the days on which something was posted for it."""
    found: dict[str, set[str]] = defaultdict(set)
    with stack.connect() as client:
        for entry in client[prefix_of(stack) + "payments"]["entries"].find({}, {"books": 1}):
            for book in entry["books"]:
                shop, _, one = book.partition("|")
                if shop != "channel":
                    found[shop].add(one)
    return found


def crossed(stack: MortalStack) -> set[str]:
    """The business days on which orders were placed."""
    with stack.connect() as client:
        rows = client[prefix_of(stack) + "orders"]["orders"].find({}, {"created_at": 1})
        return {day(row["created_at"]) for row in rows}
