"""A thousand buyers who want one SKU at once, in two processes, against a bare conditional ``update_one`` on one document.

Each buyer is a thread that reserves as the catalog's server does: the rows that wait in a process are committed together. What is sold must be
exactly what there was. ``python -m tests.bench.hot`` is one of the processes.
"""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from services.catalog.commands import reservations
from services.catalog.store import Store
from services.chassis import clock, mongo
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.fresh import Fresh
from services.chassis.settings import Settings
from tests.bench.report import Report
from tests.bench.world import Bench, upsert

PROCESSES: Final = 2
GOAL: Final = 0.6
CONNECTIONS: Final = 300
"""Of a process; its threads share them. The embedded database takes a thousand at most, those of the stack among them."""
PATIENCE_S: Final = 60.0
READY: Final = "ready"
"""What a process says when all its threads wait, and is told when they may begin."""


def measure(bench: Bench, report: Report) -> None:
    """The bare update first; then buyers without a limit, with one, and twice as many as there are units."""
    buyers = bench.sizes.crowd
    bare = run(bench, "bare", {"_id": "hot"}, buyers)
    report.add("bare conditional update_one on one document", rate(bare), "updates/s", note=f"{buyers} threads")
    all_of_them = buyers * bench.sizes.asked
    for name, stock, more in (
        ("", all_of_them, {}),
        (", a limit for one buyer", all_of_them, {"buy_limit": bench.sizes.asked}),
        (", half of them too late", all_of_them // 2, {}),
    ):
        (found,) = upsert(bench, 1, stock=stock, prefix=f"hot{stock}-{len(more)}-", **more)
        sku = found["skus"][0]
        told = run(bench, "reserve", {"product_id": found["product_id"], "sku_id": sku["sku_id"]}, buyers)
        exact(bench, sku, told)
        title = f"reservations of one hot SKU{name}"
        report.add(
            title, rate(told), "requests/s", note=f"{buyers} buyers in {PROCESSES} processes; exactly {stock} held"
        )
        if stock == all_of_them:  # who is refused costs less, and would flatter
            report.add(f"  {title}, against bare", rate(told) / rate(bare), "ratio", GOAL)


def rate(told: list[dict[str, Any]]) -> float:
    """Requests a second from the first beginning to the last end, refused ones too."""
    return sum(sum(one["ends"].values()) for one in told) / (
        max(one["ended"] for one in told) - min(one["began"] for one in told)
    )


def exact(bench: Bench, sku: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """Raises RuntimeError unless exactly what there was is held, by as many as were told so."""
    ends: Counter[str] = sum((Counter(one["ends"]) for one in told), Counter())
    with bench.stack.connect() as client:
        row = client["catalog"]["stock"].find_one({"_id": sku["sku_id"]}) or {}
        held = client["catalog"]["reservations"].count_documents({"lines.sku_id": sku["sku_id"]})
    if not ends["held"] == held == row["reserved"] == row["on_hand"] or row["available"]:
        raise RuntimeError(f"not exact: {dict(ends)}, {held} reservations, {row}")


def run(bench: Bench, what: str, on: dict[str, str], buyers: int) -> list[dict[str, Any]]:
    """Let every process do its part from one moment on, when all have started all their threads; what each came to."""
    order = {
        "what": what,
        "on": on,
        "mongo_uri": bench.stack.mongo_uri,
        "buyers": buyers // PROCESSES,
        "asked": bench.sizes.asked,
    }
    command = [sys.executable, "-m", "tests.bench.hot"]
    children = []
    for number in range(PROCESSES):
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        order["name"] = f"{what}-{number}-{time.time_ns()}"
        pipe = children[-1].stdin
        assert pipe is not None
        pipe.write(json.dumps(order) + "\n")
        pipe.flush()
    for child in children:
        assert child.stdout is not None
        if child.stdout.readline().strip() != READY:
            raise RuntimeError(f"{what}: a process did not get as far as its start")
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{READY}\n")
        child.stdin.flush()
    told = []
    for child in children:
        assert child.stdout is not None
        told.append(json.loads(child.stdout.read()))
        child.wait()
    return told


# ---------------------------------------------------------------------------------------------------------------- one process


def buy(order: dict[str, Any]) -> dict[str, Any]:
    """The part of one process: when it began and ended (wall seconds), and how often a request came to what."""
    settings = Settings(mongo_uri=order["mongo_uri"], embedded=True)
    pool = min(order["buyers"], CONNECTIONS) + 4
    with mongo.connect(settings, pool=pool, timeout_s=PATIENCE_S) as client:
        clock.see(clock.open_sandbox(mongo.database(client, settings, "jishi")))
        ask = BUYERS[order["what"]](mongo.database(client, settings, "catalog"), order)
        ends: Counter[str] = Counter()
        go = threading.Event()
        threads = [
            threading.Thread(target=_one, args=(ask, number, order, ends, go), daemon=True)
            for number in range(order["buyers"])
        ]
        for thread in threads:
            thread.start()
        print(READY, flush=True)
        sys.stdin.readline()
        began = time.time()
        go.set()
        for thread in threads:
            thread.join()
        return {"began": began, "ended": time.time(), "ends": ends}


def _one(
    ask: Callable[[int, int], str], number: int, order: dict[str, Any], ends: "Counter[str]", go: threading.Event
) -> None:
    go.wait()
    for again in range(order["asked"]):
        end = ask(number, again)
        with _counting:
            ends[end] += 1


_counting = threading.Lock()


def bare(database: mongo.Database, order: dict[str, Any]) -> Callable[[int, int], str]:
    """One unit taken from one document, if it is there."""
    rows = database.client["bench_scratch"]["hot"]
    rows.update_one({"_id": order["on"]["_id"]}, {"$setOnInsert": {"available": 1 << 40, "reserved": 0}}, upsert=True)

    def take(_number: int, _again: int) -> str:
        update = {"$inc": {"available": -1, "reserved": 1}}
        return str(rows.update_one({"_id": order["on"]["_id"], "available": {"$gte": 1}}, update).modified_count)

    return take


def reserving(database: mongo.Database, order: dict[str, Any]) -> Callable[[int, int], str]:
    """One unit held for a checkout, as the server does."""
    desk = reservations.Desk(Store(database), Fresh(0.7))
    line, pay_by = {**order["on"], "quantity": 1}, clock.business() + timedelta(minutes=30)

    def take(number: int, again: int) -> str:
        name = f"{order['name']}-{number}"
        checkout = f"{name}-{again}"
        try:
            reservations.reserve(desk, Cause(f"cmd:{checkout}", "b"), checkout, name, pay_by, [line])
        except Refusal as refusal:
            return refusal.reason
        return "held"

    return take


BUYERS: Final = {"bare": bare, "reserve": reserving}

if __name__ == "__main__":
    print(json.dumps(buy(json.loads(sys.stdin.readline()))))
