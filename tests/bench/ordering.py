"""Placed-and-paid orders a second through HTTP, and what one costs the database and the processor."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.cli import world
from tests.bench.bare import bare_orders
from tests.bench.load import Connection, Result, run
from tests.bench.report import Report
from tests.bench.world import SETTLED_S, Bench, upsert, wait

COMMANDS, WRITES = "jishi_mongo_commands_total", "jishi_mongo_writes_total"
LOOKED_AT = 16
HIGH = 16
"""Buyers at the same time."""
ADDRESS = {
    "receiver_name": "张三",
    "province": "广东省",
    "city": "广州市",
    "zone": "天河区",
    "address": "体育西路 1 号",
    "mobile": "13800138000",
}


@dataclass(frozen=True)
class Crowd:
    """Who buys what."""

    products: list[dict[str, Any]]
    buyers: list[world.Buyer]


@dataclass(frozen=True)
class Placed:
    """What a run came to: orders a second until all were paid, the buyers' part, the cost of one order."""

    rate: float
    result: Result
    commands: float
    writes: float
    cpu_ms: float
    polls: float
    """Commands of idle processes in that time, an order: at most so many were taken off."""


def measure(bench: Bench, report: Report) -> None:
    """Two lines an order, at concurrency 8 and 16, and at 16 against the same writes done bare."""
    people = crowd(bench)
    place(bench, people, bench.sizes.warm, 8)
    for concurrency, goal in ((8, None), (HIGH, 85.0)):
        found = counted(bench, people, bench.sizes.orders, concurrency)
        told = f"concurrency {concurrency}"
        report.add(f"orders placed and paid, {told}", found.rate, "orders/s", goal)
        report.add(f"  one buyer's checkout + pay, {told}", found.result.percentile_ms(50), "ms p50")
        slowest = found.result.percentile_ms(99)
        report.add(f"  one buyer's checkout + pay, {told}", slowest, "ms p99", goal and 400.0, at_most=True)
        report.add(f"  database writes an order, {told}", found.writes, "writes", goal and 14.0, at_most=True)
        polls = f"{found.polls:.1f} idle polls taken off"
        report.add(
            f"  database commands an order, {told}", found.commands, "commands", goal and 8.0, at_most=True, note=polls
        )
        report.add(f"  processor time an order, {told}", found.cpu_ms, "ms", note="all processes, database included")
    bare = bare_orders(bench, bench.sizes.orders, HIGH)
    report.add(f"the same writes bare, {HIGH} threads", bare, "orders/s", note="each transaction alone")
    report.add("  orders placed and paid against bare", found.rate / bare, "ratio", 0.5)


def crowd(bench: Bench) -> Crowd:
    """The bench's products and buyers."""
    products = upsert(bench, bench.sizes.catalog, prefix="order")
    account_id = bench.shop.account_id
    return Crowd(products, [world.buyer(bench.api, f"买家 {n}", account_id) for n in range(bench.sizes.buyers)])


def counted(bench: Bench, people: Crowd, count: int, concurrency: int) -> Placed:
    """Place ``count`` orders and count what they cost; what idle processes do in that time is taken off the database's part."""
    idle = bench.idle_rates(COMMANDS, WRITES)
    before, cpu, began = bench.tallies(COMMANDS, WRITES), bench.cpu_seconds(), time.perf_counter()
    rate, result = place(bench, people, count, concurrency)
    spent = sum(bench.cpu_seconds().values()) - sum(cpu.values())
    time.sleep(SETTLED_S)
    seconds = time.perf_counter() - began
    done = bench.spent(before, idle, seconds)
    polls = sum(rate for (name, *_), rate in idle.items() if name == COMMANDS) * seconds / count
    return Placed(rate, result, done[COMMANDS] / count, done[WRITES] / count, spent / count * 1000, polls)


def place(bench: Bench, people: Crowd, count: int, concurrency: int, pace: float = 0) -> tuple[float, Result]:
    """Place and pay ``count`` orders, at most ``pace`` a second (0: as fast as it goes).

    Answers orders a second until all of them are paid, and the latencies of the buyers' part.
    """
    placed: list[str] = []
    began = time.perf_counter()

    async def buy(connection: Connection, number: int) -> int:
        if pace:
            await asyncio.sleep(max(0.0, began + number / pace - time.perf_counter()))
        token = people.buyers[number % len(people.buyers)].token
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{number}-{time.time_ns()}"}
        lines = [line(people.products, number), line(people.products, number + 7)]
        asked = {"lines": lines, "address": ADDRESS}
        checkout = (await connection.json("POST", "/v1/checkouts", asked, headers))["checkout"]
        method = {"checkout_id": checkout["checkout_id"], "method": "native"}
        payment = (await connection.json("POST", "/v1/payments", method, headers))["payment"]
        status = await pay(payment["cashier_url"], f"buyer-{number}")
        placed.append(checkout["checkout_id"])
        return status

    result = run(bench.stack.url, buy, range(count), concurrency)
    with bench.stack.connect() as client:
        wait(lambda: all_paid(client["orders"]["orders"], placed), f"{count} orders to be paid", 180)
    return count / (time.perf_counter() - began), result


def all_paid(orders: Any, placed: list[str]) -> bool:
    """Whether the orders of these checkouts are paid; takes off those that are. Looks at the last few: asking is to cost nothing."""
    found = orders.find({"checkout_id": {"$in": placed[-LOOKED_AT:]}}, {"checkout_id": 1, "state": 1})
    paid = {order["checkout_id"] for order in found if order["state"] == "paid"}
    placed[-LOOKED_AT:] = [checkout for checkout in placed[-LOOKED_AT:] if checkout not in paid]
    return not placed


async def pay(cashier_url: str, payer: str) -> int:
    """What a buyer's phone does."""
    cashier = Connection(cashier_url)
    status, answer = await cashier.call("POST", urlsplit(cashier_url).path + "/pay", {"payer": payer})
    await cashier.close()
    if status >= 300:
        raise RuntimeError(f"pay: {status} {answer[:300].decode()}")
    return status


def line(products: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """One line of an order."""
    found = products[number % len(products)]
    return {"product_id": found["product_id"], "sku_id": found["skus"][number % 2]["sku_id"], "quantity": 1}
