"""Placed-and-paid orders a second through HTTP, and what one costs the database."""

import time
from typing import Any
from urllib.parse import urlsplit

from services.cli import world
from tests.bench.load import Connection, run
from tests.bench.report import Report
from tests.bench.world import Bench, upsert, wait

ORDERS = 240
PRODUCTS = 200
ADDRESS = {"receiver_name": "张三", "province": "广东省", "city": "广州市", "zone": "天河区", "address": "体育西路 1 号", "mobile": "13800138000"}


def measure(bench: Bench, report: Report) -> None:
    """Two lines an order, at concurrency 8 and 16; then the commands and writes of the orders counted."""
    products = upsert(bench, PRODUCTS, prefix="order")
    buyers = [world.buyer(bench.api, f"买家 {n}", bench.shop.account_id) for n in range(16)]
    place(bench, products, buyers, 40, 8)  # warm
    for concurrency, goal in ((8, None), (16, 50.0)):
        names = ("jishi_mongo_commands_total", "jishi_mongo_writes_total")
        idle = {name: bench.idle_rate(name) for name in names}
        before = {name: bench.counters(name) for name in names}
        began = time.perf_counter()
        rate, result = place(bench, products, buyers, ORDERS, concurrency)
        seconds = time.perf_counter() - began
        cost = {name: (bench.counters(name) - before[name] - idle[name] * seconds) / ORDERS for name in names}
        report.add(f"orders placed and paid, concurrency {concurrency}", rate, "orders/s", goal)
        report.add(f"  one buyer's checkout + pay, concurrency {concurrency}", result.percentile_ms(50), "ms p50")
        report.add(f"  one buyer's checkout + pay, concurrency {concurrency}", result.percentile_ms(99), "ms p99")
        report.add(f"  database writes an order, concurrency {concurrency}", cost[names[1]], "writes", 20, at_most=True)
        report.add(f"  database commands an order, concurrency {concurrency}", cost[names[0]], "commands", 14, at_most=True)


def place(bench: Bench, products: list[dict[str, Any]], buyers: list[world.Buyer], count: int, concurrency: int) -> tuple[float, Any]:
    """Place and pay ``count`` orders; (orders/s until all of them are paid, latencies of the buyers' part)."""
    placed: list[tuple[str, str]] = []

    async def buy(connection: Connection, number: int) -> int:
        token = buyers[number % len(buyers)].token
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{count}-{concurrency}-{number}-{time.time_ns()}"}
        lines = [line(products, number), line(products, number + 7)]
        checkout = (await connection.json("POST", "/v1/checkouts", {"lines": lines, "address": ADDRESS}, headers))["checkout"]
        asked = {"checkout_id": checkout["checkout_id"], "method": "native"}
        payment = (await connection.json("POST", "/v1/payments", asked, headers))["payment"]
        cashier = Connection(payment["cashier_url"])
        status, answer = await cashier.call("POST", urlsplit(payment["cashier_url"]).path + "/pay", {"payer": f"buyer-{number}"})
        await cashier.close()
        if status >= 300:
            raise RuntimeError(f"pay: {status} {answer[:300].decode()}")
        placed.append((checkout["checkout_id"], token))
        return status

    began = time.perf_counter()
    result = run(bench.stack.url, buy, range(count), concurrency)
    with bench.stack.connect() as client:
        ids = [checkout_id for checkout_id, _ in placed]

        def all_paid() -> bool:
            return client["orders"]["orders"].count_documents({"checkout_id": {"$in": ids}, "state": "paid"}) == count

        wait(all_paid, f"{count} orders to be paid", 180, 0.1)
    return count / (time.perf_counter() - began), result


def line(products: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """One line of an order."""
    found = products[number % len(products)]
    return {"product_id": found["product_id"], "sku_id": found["skus"][number % 2]["sku_id"], "quantity": 1}
