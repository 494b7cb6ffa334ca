"""The stack that is measured, a shop in it, and the meters of its processes."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from services.cli import world
from services.cli.api import Api
from services.cli.processes import free_port
from services.cli.stack import Options, Stack

ROLES = ("server", "worker", "jobs")


@dataclass
class Bench:
    """A running stack with one open shop."""

    stack: Stack
    api: Api
    admin: Api
    shop: world.Merchant
    meters: dict[str, str]

    @property
    def merchant(self) -> Api:
        """The API as the shop's merchant."""
        return self.api.as_caller(self.shop.token)

    def counters(self, name: str, *, without: tuple[str, ...] = ("jishi", "channel")) -> float:
        """The sum of a counter over all processes and services, the shared database left out."""
        total = 0.0
        for address in self.meters.values():
            text = httpx.get(f"http://{address}/metrics", timeout=10).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == name and sample.labels.get("database") not in without:
                        total += sample.value
        return total

    def idle_rate(self, name: str, seconds: float = 4.0) -> float:
        """What a counter grows by a second while nothing happens (polls)."""
        before = self.counters(name)
        time.sleep(seconds)
        return (self.counters(name) - before) / seconds


@contextmanager
def running(amqp_uri: str = "") -> Iterator[Bench]:
    """A throw-away embedded stack (``MONGO_URI`` is used when given), or the same over a real broker."""
    data = Path(tempfile.mkdtemp(prefix="jishi-bench-"))
    meters = {role: f"127.0.0.1:{free_port()}" for role in ROLES}
    environment = {"JISHI_METRICS_LISTEN": json.dumps(meters), "JISHI_LOG_LEVEL": "WARNING"}
    options = Options(data, mongo_uri=os.environ.get("MONGO_URI", ""), amqp_uri=amqp_uri, environment=environment)
    stack = Stack(options).start()
    try:
        api = Api(stack.url)
        admin = api.as_caller(world.first_admin(api, stack.bootstrap_secret))
        yield Bench(stack, api, admin, world.open_shop(admin, "测速商店"), meters)
    finally:
        stack.stop()
        shutil.rmtree(data, ignore_errors=True)


def wait(holds: Any, what: str, within_s: float = 120.0, every_s: float = 0.05) -> Any:
    """The first true answer of ``holds()``. Raises TimeoutError."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(every_s)
    raise TimeoutError(what)


def upsert(bench: Bench, count: int, *, stock: int = 1_000_000, prefix: str = "b") -> list[dict[str, Any]]:
    """``count`` listed products of two SKUs each, made by bulk calls; the products as they are read."""
    ids: list[str] = []
    for begin in range(0, count, 200):
        items = [product(f"{prefix}{n}", stock) for n in range(begin, min(begin + 200, count))]
        answer = bench.merchant.post("/v1/products:bulkUpsert", {"items": items, "policy": "reject_all"})
        ids += [row["product_id"] for row in answer["results"]]
    return [bench.api.get(f"/v1/products/{product_id}")["product"] for product_id in ids]


def product(name: str, stock: int) -> dict[str, Any]:
    """One product as a developer would send it."""
    skus = [{"values": [size], "price": 9_900, "original_price": 12_900, "quantity": stock} for size in ("M", "L")]
    item = {"external_id": name, "name": f"测速商品 {name}", "images": [f"https://img.example.com/{name}.jpg"]}
    return {**item, "axes": ["尺码"], "skus": skus, "listed": True}
