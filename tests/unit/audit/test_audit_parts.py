"""The audit's own arithmetic and words, without a database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from services.cli.audit.command import show
from services.cli.audit.events import is_recorded
from services.cli.audit.orders import reached, settled
from services.cli.audit.report import KEPT, Checked, Pair, Report, Wrong
from services.cli.audit.sheet import BATCH, Sheet
from services.cli.audit.stock import expected_part


def test_a_sheet_adds_up_by_key_whatever_the_order_and_number():
    with Sheet() as sheet:
        for number in range(BATCH + 10):
            sheet.expect(f"k{number % 7}", 1)
        for number in reversed(range(BATCH + 10)):
            sheet.find(f"k{number % 7}", 1)
        sheet.find("k3", -1)
        sheet.expect("only expected", 5)
        wrong = [finding for finding in sheet.findings() if finding]
    found = (BATCH + 10) // 7 + ((BATCH + 10) % 7 > 3)
    assert wrong == [Wrong("k3", found, found - 1), Wrong("only expected", 5, 0)]


def test_a_check_keeps_the_first_violations_and_counts_all():
    checked = Checked("c", "p")
    checked.take(Wrong(str(number), 1, 2) if number % 2 else None for number in range(4 * KEPT))
    assert (checked.examined, checked.wrong, len(checked.violations)) == (4 * KEPT, 2 * KEPT, KEPT)
    assert checked.violations[0].subject == "1"


def line(action: str, actor: str) -> dict:
    return {"action": action, "actor": actor}


PLACED = line("placed", "buyer")
PAID = line("paid", "payments")
SHIPPED = line("shipped", "merchant")


@pytest.mark.parametrize(
    ("timeline", "state"),
    [
        ([PLACED], "awaiting_payment"),
        ([PLACED, line("closed", "timer")], "closed"),
        ([PLACED, PAID, line("late", "timer"), SHIPPED, line("completed", "timer")], "completed"),
        ([PLACED, PAID, SHIPPED, line("closed", "payments")], "closed"),
        ([PLACED, SHIPPED], "shipped by merchant from awaiting_payment"),
        ([PLACED, PAID, line("shipped", "buyer")], "shipped by buyer from paid"),
        ([PLACED, PAID, PAID], "paid by payments from paid"),
        ([PLACED, line("closed", "timer"), PAID], "paid by payments from closed"),
        ([PLACED, PAID, *[line("note", "buyer")] * 300, line("completed", "buyer")], "completed"),
    ],
)
def test_the_state_of_an_order_is_told_from_its_timeline(timeline, state):
    assert reached(timeline) == state


def test_the_state_of_a_case_is_told_from_its_timeline():
    steps = [("open", "wait_merchant"), ("refuse", "merchant_rejected"), ("escalate", "platform_queued")]
    timeline = [{"action": action, "state": state} for action, state in steps]
    assert settled(timeline) == "platform_queued"
    jump = {"action": "accept", "state": "executing"}
    assert settled([*timeline, jump]) == "accept from platform_queued to executing"


@pytest.mark.parametrize(
    ("order", "part"),
    [
        ({"state": "awaiting_payment", "paid": 0}, "held"),
        ({"state": "shipped", "paid": 5}, "sold"),
        ({"state": "closed", "paid": 0, "close_reason": "timeout"}, "released"),
        ({"state": "closed", "paid": 5, "close_reason": "buyer"}, "returned"),
        ({"state": "closed", "paid": 5, "close_reason": "out_of_stock"}, "failed"),
        ({"state": "closed", "paid": 5, "close_reason": "refunded", "shipped_at": 1}, "sold"),
    ],
)
def test_where_goods_are_is_told_from_the_order(order, part):
    assert expected_part(order) == part


@dataclass
class Loaded:
    """What a handler may load."""

    first: dict
    others: tuple


class Archive(dict):
    """A database with one collection, asked how many of some ids there are."""

    def __getitem__(self, name):
        assert name == "applied_archive"
        return self

    def count_documents(self, query, limit):
        return min(limit, sum(identity in self for identity in query["_id"]["$in"]))


@pytest.mark.parametrize(
    "state",
    [
        {"_id": "1", "applied": [{"id": "c"}]},
        {"_id": "1", "created_by": "c"},
        {"_id": "1", "archived": True, "applied": []},
        {"1": {"_id": "1", "applied": [{"id": "c"}]}},
        (None, {"_id": "1", "created_by": "c"}),
        Loaded({"_id": "0"}, ({"_id": "1", "applied": [{"id": "c"}]},)),
    ],
)
def test_an_applied_cause_is_found_in_whatever_a_handler_loads(state):
    rows = [SimpleNamespace(name="others"), SimpleNamespace(name="rows")]
    archive = Archive({"rows:1:c": 1})
    assert is_recorded(archive, rows, state, "c")
    assert not is_recorded(archive, rows, state, "another")


def test_the_report_is_shown_with_every_number():
    checked = Checked("stock.on_hand", "All of it.")
    checked.take([None, *[Wrong(f"sku[{number}]", 1, 2) for number in range(25)]])
    pair = Pair("jishi.orders.order.paid.v1", "catalog.sell_stock")
    pair.verdicts.update({"done": 3, "apply": 1})
    report = Report(datetime(2026, 1, 5, tzinfo=UTC), running=False, checks=[checked], pairs=[pair])
    console = Console(file=StringIO(), width=160)
    show(report, console)
    text = console.file.getvalue()
    for told in (
        "stock.on_hand",
        "26",
        "25",
        "sku[0]: expected 1, found 2",
        "and 5 more",
        "sell_stock",
        "apply",
        "violations: 25",
    ):
        assert told in text
    assert report.as_json()["events"][0]["apply"] == 1
    assert not report.as_json()["clean"]
