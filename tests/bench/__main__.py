"""``python -m tests.bench [SECTION …]``: all figures, or those of some sections; see docs/capacity.md."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from tests.backends import rabbitmq
from tests.bench import (
    catalog,
    eventing,
    hot,
    importing,
    ledger,
    memory,
    ordering,
    reading,
    relaying,
    searching,
    stored,
)
from tests.bench.report import Report
from tests.bench.world import FULL, Bench, Sizes, running

ON_ONE_STACK: Final[dict[str, Callable[[Bench, Report], None]]] = {
    "import": importing.measure,
    "reads": reading.measure,
    "orders": ordering.measure,
    "events": eventing.measure,
    "catalog": catalog.measure,
    "hot": hot.measure,
    "growth": catalog.growth,
    "search": searching.measure,
    "memory": memory.measure,
    "ledger": ledger.measure,
    "stored": stored.measure,
}
STEPS: Final = 2_000_000
SECTIONS: Final = (*ON_ONE_STACK, "rabbitmq", "relay")
USUAL: Final = ("import", "reads", "orders", "events", "rabbitmq", "relay")
"""The others are what ``make bench-catalog`` and ``make bench-orders`` ask for: they take long."""


def main(arguments: Sequence[str], sizes: Sizes = FULL) -> Report:
    """Measure the named sections; JSON lines as they come, a table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: {', '.join(USUAL)}"
    )
    for name in (each.name for each in fields(Sizes)):
        parser.add_argument(
            f"--{name}", type=float if name == "idle_s" else int, help=f"default: {getattr(sizes, name)}"
        )
    asked = parser.parse_args(arguments)
    sizes = replace(
        sizes, **{each.name: found for each in fields(Sizes) if (found := getattr(asked, each.name)) is not None}
    )
    chosen = asked.sections or list(USUAL)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    report = Report()
    machine(report)
    for name in chosen:
        if name in ON_ONE_STACK:  # each on a stack of its own: what one leaves behind does not slow the next
            with running(sizes) as bench:
                ON_ONE_STACK[name](bench, report)
    if {"rabbitmq", "relay"} & set(chosen):
        on_rabbitmq(chosen, sizes, report)
    report.table()
    return report


def machine(report: Report) -> None:
    """How fast one core is and who else uses it: without this the figures of two machines cannot be compared."""
    began = time.process_time()
    total = 0
    for number in range(STEPS):
        total += number * number % 7
    rate = STEPS / (time.process_time() - began) / 1e6
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    report.add("this machine: one core in plain Python", rate, "M steps/s", note=f"{os.cpu_count()} cores, load {load}")


def on_rabbitmq(chosen: Sequence[str], sizes: Sizes, report: Report) -> None:
    """What needs the real broker: a private node, or ``not measured``."""
    with node() as amqp_uri:
        if "rabbitmq" in chosen and amqp_uri:
            with running(sizes, amqp_uri) as bench:
                eventing.measure(bench, report)
        elif "rabbitmq" in chosen:
            eventing.not_measured(report)
        if "relay" in chosen and amqp_uri:
            relaying.measure(amqp_uri, sizes.relayed, report)
        elif "relay" in chosen:
            relaying.not_measured(report)


@contextmanager
def node() -> Iterator[str]:
    """The address of a private RabbitMQ node; empty where none is installed."""
    if not rabbitmq.installed():
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="jishi-bench-") as folder:
        found = rabbitmq.RabbitmqNode(Path(folder))
        found.start()
        try:
            yield found.uri
        finally:
            found.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
