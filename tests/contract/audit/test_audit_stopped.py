"""``jishi audit --data DIR`` of a stopped stack: it starts the folder's database itself, and leaves it stopped."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis import clock, mongo
from services.chassis.settings import Settings
from tests.backends.secantus import SecantusServer
from tests.contract.audit.house import House


@pytest.fixture
def folder(tmp_path) -> Path:
    """The data folder of a stack that sold something and was stopped, in the shape that `jishi up` gives it."""
    server = SecantusServer(tmp_path / "server")
    server.start()
    clock.reset()
    settings = Settings(mongo_uri=server.uri, embedded=True, sandbox=True, data_dir=tmp_path)
    with mongo.connect(settings) as client:
        house = House(client, settings)
        house.open_shop("s1", "a1")
        (tea,) = house.sell("s1", "茶", (500, 3))
        house.complete(house.paid("b1", (tea, 1)))
    server.stop()
    clock.reset()
    data = tmp_path / "stack"
    data.mkdir()
    (tmp_path / "server" / "data").rename(data / "database")
    recorded = {"environment": {"MONGO_URI": server.uri, "JISHI_EMBEDDED": "true", "JISHI_SANDBOX": "true"}}
    (data / "stack.json").write_text(json.dumps(recorded), encoding="utf-8")
    return data


def jishi_audit(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    own = ("MONGO_URI", "AMQP_URI", "JISHI_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [sys.executable, "-m", "services.cli.main", "audit", "--data", str(data), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_a_stopped_stack_is_audited_on_its_own_database(folder):
    clean = jishi_audit(folder, "--json")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    report = json.loads(clean.stdout)
    assert (report["clean"], report["running"]) == (True, False)
    assert {"type": "jishi.orders.order.paid.v1", "handler": "catalog.sell_stock", "done": 1} in report["events"]
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody works on the folder any more
        busy = jishi_audit(folder)
    assert busy.returncode == 2
    assert "no database answers" in busy.stderr


def test_what_is_wrong_is_printed_and_the_exit_code_says_so(folder):
    server = SecantusServer(folder.parent / "server")
    (folder / "database").rename(folder.parent / "server" / "data")
    server.start()
    with mongo.connect(Settings(mongo_uri=server.uri, embedded=True)) as client:
        client["catalog"]["stock"].update_one({}, {"$inc": {"initial": 1}})
    server.stop()
    (folder.parent / "server" / "data").rename(folder / "database")
    found = jishi_audit(folder)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "stock.on_hand" in found.stdout
    assert "expected 3, found 2" in found.stdout
    assert "violations: 1" in found.stdout


def test_a_folder_without_a_database_is_said_in_one_line(tmp_path):
    found = jishi_audit(tmp_path)
    assert found.returncode == 2
    assert "no stack runs on" in found.stderr
    assert found.stderr.count("\n") == 1
