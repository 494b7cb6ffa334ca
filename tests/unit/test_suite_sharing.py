"""How several processes share the suite, and what coverage follows in each."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.backends.measuring import Concurrency, is_worker
from tests.backends.sharing import PLACES, group_of, longest_first

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("place", [start for start, _ in PLACES])
def test_every_place_is_there(place):
    assert (ROOT / place).exists()


def test_who_shares_a_stack_stays_together_and_others_go_alone():
    assert group_of("tests/journeys/test_orders.py::test_a") == group_of("tests/journeys/test_whole.py::test_b") != ""
    assert group_of("tests/journeys/test_cli_up.py::test_c") == ""
    assert group_of("tests/unit/orders/test_d.py::test_d") == ""


def test_the_longest_begin_first_and_a_group_stands_where_its_first_member_does():
    ids = [
        "tests/contract/test_x.py::test_1",
        "tests/faults/test_long_after.py::test_2",
        "tests/faults/test_repeats.py::test_3",
        "tests/contract/test_x.py::test_4",
        "tests/faults/test_processes_killed.py::test_5",
    ]
    ordered = longest_first([SimpleNamespace(nodeid=one) for one in ids])
    assert [one.nodeid[-1] for one in ordered] == ["3", "5", "2", "1", "4"]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["/venv/bin/python", "-m", "services.orders", "worker"], True),
        (["/venv/bin/python", "/somewhere/worker_toy.py", "orders"], True),
        (["/venv/bin/python", "-m", "services.orders", "server"], False),
        (["/venv/bin/python", "-m", "pytest", "tests/contract/worker_toy.py"], False),
        (["python"], False),
    ],
)
def test_only_workers_run_on_greenlets(command, found, monkeypatch):
    monkeypatch.setattr("sys.orig_argv", command)
    chosen = {}
    Concurrency().configure(SimpleNamespace(set_option=chosen.__setitem__))
    assert is_worker(command) is found
    assert ("greenlet" in chosen["run:concurrency"]) is found
