"""How much memory the jobs process holds while it imports a long CSV file, and how long another shop waits for a short one meanwhile."""

import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from services.cli import world
from tests.bench.importing import imported, shopify_csv
from tests.bench.report import Report
from tests.bench.world import Bench

GOAL_MB = 300.0
EVERY_S = 0.1
BODY = "<p>柔软亲肤，四季可穿。面料经过预缩水处理，不易变形；建议三十度以下温水手洗。</p>"
"""Long enough that a million rows are about the 100 MB that a file may have."""
NEIGHBOUR_ROWS = 100
NEIGHBOUR_GOAL_S = 10.0
NEIGHBOUR_PAUSE_S = 20.0


def measure(bench: Bench, report: Report) -> None:
    """A file of two rows a product; the most that was resident, also in the first half of the import; the short imports beside it."""
    rows = bench.sizes.rows
    seen: list[float] = []
    waited: list[float] = []
    done = threading.Event()
    beside = [
        threading.Thread(target=_watch, args=(bench, seen, done)),
        threading.Thread(target=_neighbour, args=(bench, waited, done)),
    ]
    with tempfile.TemporaryFile() as file:
        _write(file, rows)
        megabytes = file.tell() / 2**20
        file.seek(0)
        for thread in beside:
            thread.start()
        try:
            seconds, counts = imported(bench.merchant, file)
        finally:
            done.set()
            for thread in beside:
                thread.join()
    if counts["created"] != rows // 2:
        raise RuntimeError(f"import made {counts}")
    half = len(seen) // 2 or 1
    note = (
        f"{rows:,} rows, {megabytes:.0f} MB, {seconds:.0f} s; {max(seen[:half]):.0f} MB in the first half of the time"
    )
    report.add("jobs process while it imports, most resident", max(seen), "MB", GOAL_MB, at_most=True, note=note)
    name = f"another shop's import of {NEIGHBOUR_ROWS} rows beside it, the slowest"
    note = f"{len(waited)} of them, {min(waited):.1f} s at least"
    report.add(name, max(waited), "s", NEIGHBOUR_GOAL_S, at_most=True, note=note)


def _write(file: IO[bytes], rows: int) -> None:
    """Rows as ``importing.shopify_csv`` makes them, one after the other."""
    head = "Handle,Title,Body (HTML),Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\n"
    file.write(head.encode())
    for number in range(rows // 2):
        first = f"long-{number},批量商品 {number},{BODY},true,尺码,M,50,99.00\n"
        file.write(f"{first}long-{number},,,,,L,50,99.00\n".encode())


def _neighbour(bench: Bench, waited: list[float], done: threading.Event) -> None:
    """One short import after another, each with products of its own; the first begins with the long one."""
    shop = bench.api.as_caller(world.open_shop(bench.admin, "隔壁小店").token)
    while True:
        seconds, counts = imported(shop, shopify_csv(NEIGHBOUR_ROWS // 2, f"beside-{len(waited)}"))
        if counts["created"] != NEIGHBOUR_ROWS // 2:
            raise RuntimeError(f"the import beside it made {counts}")
        waited.append(seconds)
        print(f"# beside it: {seconds:.1f} s, {max(0.0, *_sizes(bench)):.0f} MB", file=sys.stderr, flush=True)
        if done.wait(NEIGHBOUR_PAUSE_S):
            return


def _watch(bench: Bench, seen: list[float], done: threading.Event) -> None:
    while not done.wait(EVERY_S):
        seen.append(sum(_sizes(bench)))


def _sizes(bench: Bench) -> list[float]:
    """Megabytes of each jobs process."""
    working = [child.process.pid for child in bench.stack.children.values() if child.role == "jobs" and child.process]
    return [_resident(pid) for pid in working]


def _resident(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
