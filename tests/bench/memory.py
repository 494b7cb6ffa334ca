"""How much memory the jobs process holds while it imports a long CSV file."""

import tempfile
import threading
from pathlib import Path
from typing import IO

from tests.bench.importing import imported
from tests.bench.report import Report
from tests.bench.world import Bench

GOAL_MB = 300.0
EVERY_S = 0.1


def measure(bench: Bench, report: Report) -> None:
    """A file of two rows a product; the most that was resident, and in the first and the second half of the import."""
    rows = bench.sizes.rows
    seen: list[float] = []
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(bench, seen, done))
    with tempfile.TemporaryFile() as file:
        _write(file, rows)
        megabytes = file.tell() / 2**20
        file.seek(0)
        watching.start()
        try:
            seconds, counts = imported(bench, file)
        finally:
            done.set()
            watching.join()
    if counts["created"] != rows // 2:
        raise RuntimeError(f"import made {counts}")
    half = len(seen) // 2 or 1
    note = (
        f"{rows:,} rows, {megabytes:.0f} MB, {seconds:.0f} s; {max(seen[:half]):.0f} MB in the first half of the time"
    )
    report.add("jobs process while it imports, most resident", max(seen), "MB", GOAL_MB, at_most=True, note=note)


def _write(file: IO[bytes], rows: int) -> None:
    """Rows as ``importing.shopify_csv`` makes them, one after the other."""
    file.write(b"Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\n")
    for number in range(rows // 2):
        file.write(f"long-{number},批量商品 {number},true,尺码,M,50,99.00\nlong-{number},,,,L,50,99.00\n".encode())


def _watch(bench: Bench, seen: list[float], done: threading.Event) -> None:
    while not done.wait(EVERY_S):
        working = [
            child.process.pid for child in bench.stack.children.values() if child.role == "jobs" and child.process
        ]
        seen.append(sum(map(_resident, working)))


def _resident(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
