"""What goes wrong on the command line is one line that names what is wrong and what to do."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from services.cli.imports import format_of
from services.cli.main import app
from services.cli.processes import identify

KNOWN = ("JISHI_BASE_URL", "MONGO_URI", "JISHI_BOOTSTRAP_SECRET", "JISHI_ADMIN_TOKEN", "JISHI_APPID", "JISHI_SECRET")
CREDENTIALS = ["--appid", "wx1", "--secret", "s"]


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("services.cli.api.RETRY_FOR_S", 0.0)


def said(*arguments, code=2):
    """The one line on standard error."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removesuffix("\n")


@pytest.fixture
def product_file(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("Handle,Title\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["import", "no.csv", *CREDENTIALS],
            "jishi import: Invalid value for 'file': file 'no.csv' does not exist; see",
        ),
        (["import", "/", *CREDENTIALS], "jishi import: Invalid value for 'file': file '/' is a directory; see"),
        (
            ["demo", "--products", "no.csv"],
            "jishi demo: Invalid value for '--products': file 'no.csv' does not exist; see",
        ),
        (["demo", "--only", "tea"], "jishi demo: no chapter tea; there are"),
        (["seed"], "jishi seed: Missing option '--out'"),
        (
            ["up", "--port", "99999"],
            "jishi up: Invalid value for '--port': Input should be less than or equal to 65535; see",
        ),
        (["clock", "advance", "soon"], "jishi clock advance: 'soon' is not a span such as 3d, 36h, 1d12h, 90m or 45s"),
        (["events", "retry", "tea.x:1"], "jishi events retry: 'tea.x:1' does not begin with a service's name"),
        (["clocks"], "jishi: No such command 'clocks'"),
    ],
)
def test_a_wrong_command_line(arguments, line):
    assert said(*arguments).startswith(line)


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed", "--out", "world.json"],
        ["audit"],
        ["clock", "show"],
        ["clock", "advance", "3d"],
        ["events", "parked"],
    ],
)
def test_a_folder_where_no_stack_was(arguments, tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        line = said(*arguments, "--data", folder)
        named = " ".join(word for word in arguments[:2] if word.isalpha())
        assert line.startswith(f"jishi {named}: no stack runs on {folder}, nor has one; start one with `jishi up ")
    assert not (tmp_path / "none").exists()


def test_an_import_without_a_stack(product_file, tmp_path):
    assert "no stack runs on" in said("import", product_file, *CREDENTIALS, "--data", tmp_path)


def test_a_stack_that_was_stopped_is_told_at_once(tmp_path, product_file):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        record = {"base_url": "http://127.0.0.1:9", "children": {"gateway": identify(child.pid)}}
        (tmp_path / "stack.json").write_text(json.dumps(record), encoding="utf-8")
        line = said("clock", "show", "--data", tmp_path, code=1)
        assert line == "jishi clock: nothing answers at http://127.0.0.1:9; is the stack running? `jishi up` starts it"
        os.kill(child.pid, signal.SIGKILL)
    for arguments in (
        ["clock", "show"],
        ["import", product_file, *CREDENTIALS],
        ["seed", "--out", tmp_path / "w.json"],
    ):
        line = said(*arguments, "--data", tmp_path)
        assert line.endswith(f"the stack on {tmp_path} is stopped; start it with `jishi up --data {tmp_path}`")


def test_a_seed_needs_the_secret_and_a_place_before_it_makes_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("JISHI_BASE_URL", "http://127.0.0.1:9")
    line = said("seed", "--out", tmp_path / "w.json", "--data", tmp_path)
    assert line.startswith(
        f"jishi seed: {tmp_path} holds no bootstrap secret; name the stack's folder (--data), or set"
    )
    (tmp_path / "bootstrap-secret").write_text("x\n", encoding="utf-8")
    assert (
        said("seed", "--out", tmp_path, "--data", tmp_path, code=1)
        == f"jishi seed: {tmp_path}: is a folder; name a file"
    )
    (tmp_path / "file").touch()
    assert said("seed", "--out", tmp_path / "file" / "w.json", "--data", tmp_path, code=1).startswith("jishi seed: ")


def test_a_data_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    line = said("up", "--port", "0", "--data", tmp_path / "file", code=1)
    assert line == f"jishi up: {tmp_path / 'file'} cannot be used: Not a directory; choose another --data"


def test_a_command_group_alone_still_shows_its_help():
    done = CliRunner().invoke(app, ["clock"])
    assert "advance" in done.output


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-16"])
def test_any_file_may_be_sent_the_job_says_what_is_wrong_with_it(tmp_path, encoding):
    path = tmp_path / "p.csv"
    path.write_bytes("商品编号,商品名称\n".encode(encoding))
    assert format_of(path) == "jishi-csv"
    path.write_bytes("Handle,Title\n灯,灯\n".encode("gb18030"))
    assert format_of(path) == "shopify-csv"
