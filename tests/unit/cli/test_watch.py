"""The supervisor's eye: what died starts again, on its own port or not at all, and what is the matter is said."""

import json
import os
import signal
import socket
import sys

import pytest

from services.cli.processes import Child, free_port
from services.cli.stack import addresses
from services.cli.stack.folder import StackError
from services.cli.stack.watch import Journal, Watch, logs
from tests.backends.processes import wait_until

LISTEN = """
import socket, sys, time
ears = socket.socket()
ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
ears.bind(("127.0.0.1", int(sys.argv[1])))
ears.listen()
print("listening", flush=True)
time.sleep(600)
"""


class Stage:
    """One child that listens on a port of its own, and who watches it."""

    def __init__(self, folder):
        self.port = free_port()
        command = [sys.executable, "-c", LISTEN, str(self.port)]
        self.child = Child("door", "gateway", command, dict(os.environ), folder / "door.log", ports=(self.port,))
        self.said, self.deaths, self.restarts = [], [], []
        self.journal = Journal(folder / "supervisor.log", self.said.append)
        died, restarted = (lambda: self.deaths.append(1)), (lambda: self.restarts.append(1))
        self.watch = Watch({"door": self.child}, self.journal, died, restarted)
        self.child.start()
        self.until_listening(1)

    def until_listening(self, times):
        wait_until(lambda: self.child.tail().count("listening") == times, "the child to listen")

    def die(self):
        self.child.signal(signal.SIGKILL)
        self.child.wait(10)

    def look(self, times=3):
        for _ in range(times):
            self.watch.look()


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.die()


@pytest.fixture
def stranger():
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield one


def test_what_died_is_started_again_and_that_is_said(stage):
    stage.look()
    assert (stage.said, stage.deaths) == ([], [])
    stage.die()
    wait_until(lambda: stage.watch.look() or stage.child.running, "the restart")
    stage.until_listening(2)
    (said,) = stage.said
    assert said == f"door: ended (killed by signal 9); it is started again, its log is {stage.child.log}"
    assert (len(stage.restarts), stage.child.failures) == (1, 1)


def test_who_took_the_port_is_named_and_the_child_waits_until_it_is_free(stage, stranger):
    stage.die()
    stranger.bind(("127.0.0.1", stage.port))
    stranger.listen()
    wait_until(lambda: stage.watch.look() or len(stage.said) > 1, "the complaint")
    stage.look()
    assert (stage.child.starts, stage.child.failures, stage.restarts) == (1, 0, [])
    assert len(stage.said) == 2, "said once, not at every look"
    assert f"port {stage.port} is taken by " in stage.said[-1]
    assert f"(process {os.getpid()})" in stage.said[-1] or sys.platform != "linux"
    lines = [json.loads(line) for line in stage.journal.log.read_text(encoding="utf-8").splitlines()]
    assert [(line["level"], line["child"]) for line in lines] == [("warning", "door"), ("error", "door")]
    assert f"port {stage.port} is taken by" in logs([stage.child], stage.child, stage.child.log.parent)
    stranger.close()
    stage.look(1)
    assert stage.child.running
    assert "is free again" in stage.said[-1]
    stage.until_listening(2)


def test_a_complaint_is_repeated_now_and_then(stage, stranger, monkeypatch):
    stage.die()
    stranger.bind(("127.0.0.1", stage.port))
    stranger.listen()
    monkeypatch.setattr("services.cli.stack.watch.REMIND_EVERY_S", -1.0)
    wait_until(lambda: stage.watch.look() or len(stage.said) == 4, "three complaints")
    assert all("is taken by" in said for said in stage.said[1:])


def test_a_held_child_stays_down_without_a_word(stage):
    stage.child.held = True
    stage.die()
    stage.look()
    assert (stage.said, stage.child.running, stage.deaths) == ([], False, [1])


def test_ports_are_those_of_the_last_run_where_nobody_else_has_them(stranger):
    first = addresses.choose(2, 0, {})
    assert len(set(first.ports.values())) == len(first.ports)
    assert addresses.choose(2, 0, first.ports) == first
    stranger.bind(("127.0.0.1", first.ports["catalog-2"]))
    stranger.listen()
    second = addresses.choose(2, 0, first.ports)
    assert {name for name in first.ports if first.ports[name] != second.ports[name]} == {"catalog-2"}
    assert second.of("servers-2") == tuple(second.ports[f"{name}-2"] for name in addresses.SERVICES)
    assert (second.of("gateway"), second.of("worker")) == ((second.ports["gateway"],), ())
    assert second.rpc()["catalog"].split(",")[1] == second.listen(2)["catalog"]
    with pytest.raises(StackError, match=f"port {first.ports['catalog-2']} is taken by .*; choose another --port"):
        addresses.choose(2, first.ports["catalog-2"], {})
