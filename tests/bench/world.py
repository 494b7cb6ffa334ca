"""The stack that is measured, a shop in it, and the meters of its processes."""

import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
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
BULK = 200
Tally = tuple[Any, ...]
"""A counter's name and its labels."""
CHANCE = 3
"""By so many times the root of a number it differs by chance."""
SETTLED_S = 2.0
"""What is still on its way when a run has ended (clearing outboxes) is written down within this time."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything is done; figures of a run with other sizes than these are not to be compared."""

    imported: int = 5_000
    catalog: int = 200
    buyers: int = 16
    warm: int = 40
    orders: int = 240
    reads: int = 6_000
    shown: int = 40
    paced: int = 300
    relayed: int = 5_000
    searched: int = 100_000
    idle_s: float = 5.0
    crowd: int = 1_000
    asked: int = 4
    listed: int = 200
    bulks: int = 100
    small: int = 10_000
    large: int = 500_000
    probes: int = 100
    rows: int = 1_000_000
    posted: int = 2_000
    settled: int = 200
    listings: int = 600


FULL = Sizes()
TINY = Sizes(
    imported=40,
    catalog=4,
    buyers=2,
    warm=2,
    orders=6,
    reads=20,
    shown=4,
    paced=4,
    relayed=60,
    idle_s=0.5,
    crowd=20,
    asked=2,
    listed=25,
    bulks=2,
    small=60,
    large=90,
    probes=5,
    searched=60,
    rows=60,
    posted=20,
    settled=8,
    listings=10,
)
"""Only to see that the bench still runs."""


@dataclass
class Bench:
    """A running stack with one open shop."""

    stack: Stack
    api: Api
    admin: Api
    shop: world.Merchant
    meters: dict[str, str]
    sizes: Sizes

    @property
    def merchant(self) -> Api:
        """The API as the shop's merchant."""
        return self.api.as_caller(self.shop.token)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Every sample of every metered process: name, labels, value."""
        for address in self.meters.values():
            text = httpx.get(f"http://{address}/metrics", timeout=10).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    yield sample.name, sample.labels, sample.value

    def tallies(self, *names: str) -> "Counter[Tally]":
        """Counters over all processes and services, each sort (of command, of collection) by itself; the shared database is left out, the
        channel is a stranger.
        """
        found: Counter[Tally] = Counter()
        for name, labels, value in self.samples():
            if name in names and labels.get("database") != "jishi":
                found[name, *sorted(labels.items())] += value
        return found

    def spent(self, before: "Counter[Tally]", idle: "Counter[Tally]", seconds: float) -> "Counter[str]":
        """What was done since ``before``, a name, without what would have been done in so many ``seconds`` anyhow (``idle`` a second).

        A sort that grew by hardly more than that counts for nothing, and one that grew by less takes nothing off the others: a busy machine
        polls less than an idle one.
        """
        names, total = {name for name, *_ in before}, Counter[str]()
        for sort, value in self.tallies(*names).items():
            expected = idle[sort] * seconds
            more = value - before[sort] - expected
            total[sort[0]] += more if more > CHANCE * math.sqrt(expected) else 0
        return total

    def buckets(self, name: str) -> "Counter[float]":
        """A histogram over all processes and labels: upper bound in seconds → how many were at most so long."""
        total: Counter[float] = Counter()
        for found, labels, value in self.samples():
            if found == f"{name}_bucket":
                total[float(labels["le"])] += value
        return total

    def idle_rates(self, *names: str) -> "Counter[Tally]":
        """What each sort grows by a second while nothing happens (polls)."""
        before, began = self.tallies(*names), time.perf_counter()
        time.sleep(self.sizes.idle_s)
        after, rates = self.tallies(*names), Counter[Tally]()
        for sort, value in after.items():
            rates[sort] += (value - before[sort]) / (time.perf_counter() - began)
        return rates

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each process of the stack so far."""
        tick = os.sysconf("SC_CLK_TCK")
        found = {}
        for name, child in self.stack.children.items():
            if child.process is not None:
                fields = Path(f"/proc/{child.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                found[name] = (int(fields[11]) + int(fields[12])) / tick
        return found


@contextmanager
def running(sizes: Sizes, amqp_uri: str = "") -> Iterator[Bench]:
    """A throw-away embedded stack (``MONGO_URI`` is used when given), or the same over a real broker."""
    data = Path(tempfile.mkdtemp(prefix="jishi-bench-"))
    meters = {role: f"127.0.0.1:{free_port()}" for role in ROLES}
    environment = {"JISHI_METRICS_LISTEN": json.dumps(meters), "JISHI_LOG_LEVEL": "WARNING"}
    options = Options(data, mongo_uri=os.environ.get("MONGO_URI", ""), amqp_uri=amqp_uri, environment=environment)
    stack = Stack(options).start()
    try:
        api = Api(stack.url)
        admin = api.as_caller(world.first_admin(api, stack.bootstrap_secret))
        yield Bench(stack, api, admin, world.open_shop(admin, "测速商店"), meters, sizes)
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


def upsert(bench: Bench, count: int, *, stock: int = 1_000_000, prefix: str = "b", **more: Any) -> list[dict[str, Any]]:
    """``count`` listed products of two SKUs each, made by bulk calls, with ``more`` fields; the products as they are read."""
    ids: list[str] = []
    for begin in range(0, count, BULK):
        items = [{**product(f"{prefix}{n}", stock), **more} for n in range(begin, min(begin + BULK, count))]
        answer = bench.merchant.post("/v1/products:bulkUpsert", {"items": items, "policy": "reject_all"})
        ids += [row["product_id"] for row in answer["results"]]
    return [bench.api.get(f"/v1/products/{product_id}")["product"] for product_id in ids]


def product(name: str, stock: int) -> dict[str, Any]:
    """One product as a developer would send it."""
    skus = [{"values": [size], "price": 9_900, "original_price": 12_900, "quantity": stock} for size in ("M", "L")]
    item = {"external_id": name, "name": f"测速商品 {name}", "images": [f"https://img.example.com/{name}.jpg"]}
    return {**item, "axes": ["尺码"], "skus": skus, "listed": True}
