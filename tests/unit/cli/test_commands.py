"""The small commands of ``jishi``, without a stack."""

import json
from datetime import timedelta

import pytest
import typer
from typer.testing import CliRunner

from services.chassis import clock
from services.cli import running
from services.cli.api import Answer
from services.cli.clocks import span
from services.cli.demo.story import Expectations
from services.cli.imports import format_of
from services.cli.main import app
from services.cli.seed import write
from services.cli.stack import Options, Stack
from services.cli.stack.folder import Folder, StackError

RUN = CliRunner()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3d", timedelta(days=3)),
        ("36h", timedelta(hours=36)),
        ("1d12h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_spans(text, wanted):
    assert span(text) == wanted


@pytest.mark.parametrize("text", ["", "3", "d", "3 d", "-1d", "3d!", "1y"])
def test_what_is_no_span(text):
    with pytest.raises(ValueError, match="is not a span"):
        span(text)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("Handle,Title,Vendor", "shopify-csv"),
        ('\ufeff"Handle","Title"', "shopify-csv"),
        ("external_id,title", "jishi-csv"),
    ],
)
def test_the_format_of_a_product_file(tmp_path, header, wanted):
    path = tmp_path / "products.csv"
    path.write_text(header + "\n", encoding="utf-8")
    assert format_of(path) == wanted


def test_a_seed_file_is_for_its_owner_only(tmp_path):
    out = tmp_path / "deep" / "seed.json"
    write({"shops": ["茶"]}, out)
    assert json.loads(out.read_text(encoding="utf-8")) == {"shops": ["茶"]}
    assert out.stat().st_mode & 0o777 == 0o600


def test_expectations_are_counted_and_failures_say_where():
    expect = Expectations(chapter="3 shelf")
    assert expect.equal(1, 1, "one")
    assert not expect.equal(1, 2, "stock")
    assert expect.refused(Answer(409, {"reason": "OUT_OF_STOCK"}), "OUT_OF_STOCK", "a refusal")
    assert not expect.refused(Answer(200, {}), "OUT_OF_STOCK", "a refusal")
    assert not expect.refused(Answer(500, {"reason": "INTERNAL"}), "OUT_OF_STOCK", "a refusal")
    assert expect.kept == 2
    assert expect.failures[0] == "3 shelf: stock: expected 2, found 1"
    assert len(expect.failures) == 3


def test_a_command_without_a_stack_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("JISHI_BASE_URL", raising=False)
    with pytest.raises(typer.BadParameter, match="jishi up"):
        running.base_url(tmp_path)
    shown = RUN.invoke(app, ["clock", "show", "--data", str(tmp_path)])
    assert shown.exit_code == 2


def test_the_recorded_stack_is_found_and_the_environment_comes_first(tmp_path, monkeypatch):
    (tmp_path / "stack.json").write_text('{"base_url": "http://127.0.0.1:1"}', encoding="utf-8")
    (tmp_path / "bootstrap-secret").write_text("from-file\n", encoding="utf-8")
    monkeypatch.delenv("JISHI_BASE_URL", raising=False)
    monkeypatch.delenv("JISHI_BOOTSTRAP_SECRET", raising=False)
    assert running.base_url(tmp_path) == "http://127.0.0.1:1"
    assert running.bootstrap_secret(tmp_path) == "from-file"
    monkeypatch.setenv("JISHI_BASE_URL", "http://127.0.0.1:2")
    monkeypatch.setenv("JISHI_BOOTSTRAP_SECRET", "given")
    assert running.base_url(tmp_path) == "http://127.0.0.1:2"
    assert running.bootstrap_secret(tmp_path) == "given"


def test_a_span_that_is_none_is_refused_by_the_command():
    shown = RUN.invoke(app, ["clock", "advance", "soon"])
    assert shown.exit_code == 2
    assert "3d" in shown.output


def test_two_stacks_do_not_share_a_folder(tmp_path):
    first, second = Folder(tmp_path), Folder(tmp_path)
    first.take()
    with pytest.raises(StackError, match="another `jishi up`"):
        second.take()
    first.leave()
    second.take()
    second.leave()


def test_a_stack_whose_database_cannot_be_reached_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr("services.cli.stack.START_WITHIN_S", 1.0)
    stack = Stack(Options(tmp_path, mongo_uri="mongodb://127.0.0.1:9"))
    with pytest.raises(StackError, match="waited in vain for the database"):
        stack.start()
    assert stack.children == {}


# ------------------------------------------------------------------------------------------------------------ parked events


@pytest.fixture
def parked(memory_world):
    database = memory_world.database("orders")
    for number in (1, 2):
        row = {
            "_id": f"orders.mark_paid:e{number}",
            "state": "parked",
            "type": "jishi.payments.payment.succeeded.v1",
            "attempts": 8,
            "error": "ValueError: no",
            "parked_at": clock.wall(),
        }
        database["handled"].insert_one(row)
    return database["handled"]


def test_parked_deliveries_are_listed_retried_and_dropped(parked, tmp_path):
    data = ["--data", str(tmp_path)]
    listed = RUN.invoke(app, ["events", "parked", *data], env={"COLUMNS": "200"})
    assert listed.exit_code == 1
    assert "orders.mark_paid:e1" in listed.output
    assert RUN.invoke(app, ["events", "retry", "orders.mark_paid:e1", *data]).output == "1 will run again\n"
    assert parked.find_one({"_id": "orders.mark_paid:e1"})["state"] == "waiting"
    dropped = RUN.invoke(app, ["events", "drop", "orders.mark_paid:e2", "--why", "test", *data])
    assert dropped.output == "dropped\n"
    assert parked.find_one({"_id": "orders.mark_paid:e2"})["dropped_because"] == "test"
    assert RUN.invoke(app, ["events", "drop", "orders.mark_paid:e2", "--why", "again", *data]).exit_code == 2
    assert RUN.invoke(app, ["events", "retry", "orders", *data]).output == "0 will run again\n"
    nothing = RUN.invoke(app, ["events", "parked", *data])
    assert (nothing.exit_code, nothing.output) == (0, "nothing is parked\n")


def test_a_replay_is_asked_of_the_publisher(memory_world, tmp_path):
    data = ["--data", str(tmp_path)]
    listening = {"_id": "orders.mark_paid", "type": "jishi.payments.payment.succeeded.v1"}
    memory_world.database("payments")["subscribers"].insert_one(listening)
    done = RUN.invoke(app, ["events", "replay", "payments", "orders.mark_paid", "--hours", "1", *data])
    assert done.exit_code == 0
    row = memory_world.database("payments")["subscribers"].find_one({"_id": "orders.mark_paid"})
    assert 0 < row["replay_from"] < clock.wall_ms()
    assert RUN.invoke(app, ["events", "replay", "nobody", "orders.mark_paid", *data]).exit_code == 2
