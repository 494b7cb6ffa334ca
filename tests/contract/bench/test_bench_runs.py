"""The bench runs, section by section, with tiny numbers: figures of such a run mean nothing, but what cannot run cannot be believed."""

import json
from dataclasses import replace

import pytest

from tests.bench import __main__ as bench
from tests.bench import eventing, load, ordering
from tests.bench.report import Report
from tests.bench.world import FULL, TINY, running

BUDGET_COMMANDS, BUDGET_WRITES = 8, 14
ALONE_COMMANDS, ALONE_WRITES = 24, 19.5
CONCURRENCY, ORDERS = 16, 96
COUNTS = 3
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stack():
    """One stack for all sections: what they share is only the shop."""
    with running(TINY) as found:
        yield found


@pytest.mark.parametrize("section", sorted(bench.ON_ONE_STACK))
def test_a_section_gives_figures(stack, section, capsys):
    report = Report()
    bench.ON_ONE_STACK[section](stack, report)
    assert report.rows
    assert all(row.value is not None for row in report.rows)
    assert report.rows[0].value > 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in printed] == [row.name for row in report.rows]
    report.table()
    assert report.rows[0].name[:12] in capsys.readouterr().out


def test_what_is_not_here_is_not_measured(monkeypatch, capsys):
    monkeypatch.setattr(bench.rabbitmq, "installed", lambda: False)
    report = bench.main(["rabbitmq", "relay"], TINY)
    machine, *rows = report.rows
    assert machine.value > 0
    assert {row.value for row in rows} == {None}
    assert "not measured" in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(not bench.rabbitmq.installed(), reason="RabbitMQ is not installed here")
def test_the_relay_is_measured_on_a_node_of_its_own():
    report = bench.main(["relay"], TINY)
    assert len(report.rows) == 4
    assert all(row.value > 0 for row in report.rows)


def test_percentiles_are_interpolated_inside_their_bucket():
    found = {0.1: 50.0, 0.2: 100.0, float("inf"): 100.0}
    assert eventing.percentile_ms(found, 50) == pytest.approx(100)
    assert eventing.percentile_ms(found, 75) == pytest.approx(150)
    assert eventing.percentile_ms({0.1: 0.0, float("inf"): 2.0}, 99) == pytest.approx(100)
    assert load.Result(seconds=1, latencies=[0.001, 0.003, 0.002]).percentile_ms(50) == pytest.approx(2)


def test_what_an_order_of_two_lines_costs_the_database(stack):
    """The budget of the house for a placed-and-paid order, all services together; the channel is a stranger, idle polls are taken off.

    Both fall with the load, because what waits at the same time is done together. Somebody else's work on
    this machine only adds to both (conflicts are tried again, leases run out), so the cheapest of a few counts is what the house costs.
    """
    sizes = replace(
        TINY, catalog=FULL.catalog, buyers=FULL.buyers, idle_s=3.0
    )  # idle polls must be known well to be taken off
    steady = replace(stack, sizes=sizes)
    people = ordering.crowd(steady)
    ordering.place(steady, people, 4, 2)
    assert within(steady, people, (20, 1), writes=ALONE_WRITES, commands=ALONE_COMMANDS)
    assert within(steady, people, (ORDERS, CONCURRENCY), writes=BUDGET_WRITES, commands=BUDGET_COMMANDS)


def within(stack, people, load, *, writes, commands):
    """Whether one of at most ``COUNTS`` counts keeps to the budget."""
    for _ in range(COUNTS):
        found = ordering.counted(stack, people, *load)
        print(
            f"{load[0]} orders at concurrency {load[1]}: {found.writes:.2f} writes, {found.commands:.2f} commands each"
        )
        if found.writes <= writes and found.commands <= commands:
            return True
    return False
