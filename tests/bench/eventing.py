"""From the promise of an event to its effect in another service, at about half of the load that the stack can take."""

from collections import Counter

from tests.bench import ordering
from tests.bench.report import Report
from tests.bench.world import Bench

AGE = "jishi_event_age_seconds"
CONCURRENCY = 16


def measure(bench: Bench, report: Report) -> None:
    """All events of placed-and-paid orders: payment.succeeded → orders, order.paid → catalog and broadcast."""
    broker = "memory://" if bench.stack.environment["AMQP_URI"].startswith("memory:") else "RabbitMQ"
    people = ordering.crowd(bench)
    ordering.place(bench, people, bench.sizes.warm, CONCURRENCY)
    most, _ = ordering.place(bench, people, bench.sizes.orders, CONCURRENCY)
    before = bench.buckets(AGE)
    rate, _ = ordering.place(bench, people, bench.sizes.paced, CONCURRENCY, most / 2)
    found = bench.buckets(AGE)
    found.subtract(before)
    note = f"at {rate:.1f} orders/s; most was {most:.1f}"
    report.add(f"event latency on {broker}, commit → effect", percentile_ms(found, 50), "ms p50", note=note)
    goal = 150.0
    report.add(f"event latency on {broker}, commit → effect", percentile_ms(found, 99), "ms p99", goal, at_most=True)


def not_measured(report: Report) -> None:
    """The rows of a broker that is not here."""
    for percent in ("ms p50", "ms p99"):
        report.add("event latency on RabbitMQ, commit → effect", None, percent, note="RabbitMQ is not installed")


def percentile_ms(buckets: "Counter[float]", percent: float) -> float:
    """A percentile of cumulative buckets (upper bound in seconds → count), interpolated inside its bucket."""
    bounds = sorted(buckets)
    wanted = buckets[bounds[-1]] * percent / 100
    low, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and buckets[bound] > below:
            high = bound if bound != float("inf") else low
            return (low + (high - low) * (wanted - below) / (buckets[bound] - below)) * 1000
        low, below = bound, buckets[bound]
    return 0.0
