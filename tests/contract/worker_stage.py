"""A stage for the toy services: their databases in a world, and real worker processes."""

import os
import signal
import sys
from pathlib import Path

from services.chassis import clock, commit, mongo, presence
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from tests.backends.processes import PATIENCE_S, ServerProcess
from tests.contract import worker_toy as toy

SERVICES = [worker.service for worker in toy.WORKERS]
SCRIPT = Path(toy.__file__)


class Stage:
    """A world with the toy services' databases, and worker processes for them."""

    def __init__(self, world, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.orders, self.payments = world.database("orders"), world.database("payments")
        self.shared = world.database("jishi")
        clock.open_sandbox(self.shared)
        for worker in toy.WORKERS:
            mongo.declare(world.database(worker.service), worker.collections)
        self.processes: list[ServerProcess] = []

    def worker(self, *services: str, **variables: str) -> ServerProcess:
        name = f"worker{len(self.processes)}"
        environment = {**os.environ, **self.world.environment, **variables}
        process = ServerProcess([sys.executable, str(SCRIPT), *services], environment, self.folder / f"{name}.log")
        process.start()
        self.processes.append(process)
        return process

    def open(self, subject: str) -> None:
        commit.create(self.payments["sums"], {"_id": subject, "sum": 0, "seen": []}, Cause(f"cmd:{subject}"))

    def tell(self, subject: str, *, amount: int = 1, reason: str = "", traceparent: str = "") -> None:
        data = {"order_id": subject, "amount": amount, "reason": reason}
        fact = Fact(toy.REJECTED, data)
        cause = Cause(f"cmd:{subject}", traceparent=traceparent)
        commit.create(self.orders["things"], {"_id": subject, "refunded": 0}, cause, facts=(fact,))

    def quiet(self, seconds: float = PATIENCE_S, offset: int | None = None) -> list[str]:
        return presence.wait_quiet(self.shared, presence.expected(SERVICES), seconds, offset)

    def until_quiet(self, seconds: float = PATIENCE_S) -> None:
        assert self.quiet(seconds) == [], "\n".join(process.tail(60) for process in self.processes)

    def refunded(self) -> dict[str, int]:
        return {thing["_id"]: thing["refunded"] for thing in self.orders["things"].find()}

    def total(self) -> int:
        row = self.payments["totals"].find_one({"_id": "all"})
        return row["sum"] if row else 0

    def end(self) -> None:
        for process in self.processes:
            process.signal_group(signal.SIGKILL)
