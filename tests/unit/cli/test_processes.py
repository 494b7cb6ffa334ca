"""Children of the stack: knowing them again, ending them, dying with the supervisor."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.processes import (
    Child,
    Identity,
    free_port,
    holder_of,
    identify,
    is_free,
    kill_orphans,
    stop_in_order,
)
from tests.backends.processes import wait_until

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


@pytest.fixture
def child(tmp_path):
    made = []

    def make(command=SLEEP):
        one = Child("one", "worker", command, dict(os.environ), tmp_path / f"{len(made)}.log")
        one.start()
        made.append(one)
        wait_until(lambda: "up" in one.tail(), "the child to speak")
        return one

    yield make
    for one in made:
        one.signal(signal.SIGKILL)
        one.wait(10)


def test_a_child_is_known_by_number_and_start(child):
    one = child()
    assert one.identity == identify(one.process.pid)
    one.signal(signal.SIGKILL)
    one.wait(10)
    assert not one.running
    assert one.identity is None


def test_orphans_are_killed_and_namesakes_are_spared(child):
    orphan, bystander = child(), child()
    namesake = Identity(bystander.process.pid, "long ago")
    assert kill_orphans([orphan.identity, namesake]) == [orphan.process.pid]
    assert bystander.running
    assert orphan.process.wait(10) == -signal.SIGKILL


def test_a_child_that_does_not_listen_is_killed_in_the_end(child):
    deaf = child(DEAF)
    stop_in_order([deaf], 0.2)
    assert deaf.process.returncode == -signal.SIGKILL


def test_a_child_is_stopped_by_sigterm(child):
    one = child()
    stop_in_order([one], 10)
    assert one.process.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_children_die_with_a_killed_supervisor(tmp_path):
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom services.cli.processes import Child\n"
        f"child = Child('one', 'worker', {SLEEP!r}, dict(os.environ), Path({str(tmp_path / 'one.log')!r}))\n"
        "child.start()\nprint(child.process.pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert identify(pid) is not None
        supervisor.kill()
    wait_until(lambda: identify(pid) is None, "the child to die with its supervisor")


def test_free_ports_differ_and_are_none_of_those_that_outgoing_connections_take():
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    first = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 49152
    assert max(ports) < first


def test_ports():
    port = free_port()
    assert is_free(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert holder_of(port).endswith(f"(process {os.getpid()})") or sys.platform != "linux"
    assert holder_of(port) == "another process"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the range is not looked up")
def test_a_port_is_none_that_an_outgoing_connection_may_be_given():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert lowest < 21_000 or all(free_port() < lowest for _ in range(50))


def test_the_tail_of_a_log_that_is_not_there_is_empty(tmp_path):
    assert Child("one", "worker", SLEEP, {}, Path(tmp_path / "none.log")).tail() == ""
