"""Each kind of process is started by its real entry point, and says at its end which packages it ever loaded.

A grpcio server in an eventlet-patched process answers every call with DEADLINE_EXCEEDED, so the two never meet; jobs load neither.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.chassis import clock
from services.chassis.settings import SERVICES
from tests.backends.processes import PATIENCE_S, ServerProcess, free_port

EVERYBODY = (*SERVICES, "embedded")
EVENTS = {"eventlet", "nameko", "kombu", "amqp"}
CALLS = {"grpc", "grpc_health", "grpc_reflection", "grpc_status"}
TELL = """
import atexit, json, os, sys

@atexit.register
def tell():
    with open(os.environ["TELL_PACKAGES"], "w") as file:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
"""


@dataclass
class Started:
    """One process on its way up."""

    name: str
    process: ServerProcess
    told: Path
    is_up: Callable[[], bool]

    def packages(self, stop: signal.Signals = signal.SIGTERM) -> set[str]:
        """Wait until it is up, stop it in order; what it had loaded. (uvicorn ends itself by SIGTERM: ask it with SIGINT.)"""
        self.process.wait_ready(self.is_up, seconds=PATIENCE_S)
        self.process.signal_group(stop, seconds=PATIENCE_S)
        assert self.told.exists(), f"{self.name} did not end in order:\n{self.process.tail(60)}"
        return set(json.loads(self.told.read_text(encoding="utf-8")))


@pytest.fixture
def start(memory_world, tmp_path):
    """start(name, arguments of python -m, is_up, environment); what still runs in the end is killed."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(TELL, encoding="utf-8")
    clock.open_sandbox(memory_world.database("jishi"))
    everything = []

    def run(name: str, arguments: list[str], is_up: Callable[[], bool], **environment: str) -> Started:
        told = tmp_path / f"{name}.json"
        own = {"TELL_PACKAGES": str(told), "PYTHONPATH": str(hook), "EVENTLET_NO_GREENDNS": "yes"}
        every = {**os.environ, **memory_world.environment, **own, **environment}
        process = ServerProcess([sys.executable, "-m", *arguments], every, tmp_path / f"{name}.log")
        process.start()
        everything.append(Started(name, process, told, is_up))
        return everything[-1]

    yield run
    for one in everything:
        one.process.signal_group(signal.SIGKILL)


def listens(port: int) -> Callable[[], bool]:
    def is_up() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return is_up


def begun(world, role: str) -> Callable[[], bool]:
    """Whether all of this role have told that they work: they follow the clock, and workers have reported for each service."""
    shared = world.database("jishi")

    def is_up() -> bool:
        follow = shared["processes"].count_documents({"role": role})
        reported = set(shared["quiet"].distinct("process", {"role": role}))
        return follow >= len(EVERYBODY) and (role != "worker" or len(reported) >= len(EVERYBODY))

    return is_up


def test_servers_load_no_eventlet(start):
    started = []
    for name in EVERYBODY:
        ports = {service: free_port() for service in SERVICES}
        listen = json.dumps({service: f"127.0.0.1:{port}" for service, port in ports.items()})
        role = "servers" if name == "embedded" else "server"
        is_up = listens(ports[name if name in ports else SERVICES[-1]])
        started.append(start(f"{name}-server", [f"services.{name}", role], is_up, JISHI_LISTEN=listen))
    for one in started:
        found = one.packages()
        assert "grpc" in found, f"{one.name} serves nothing"
        assert not found & EVENTS, one.name


def test_workers_load_no_grpc(start, memory_world):
    is_up = begun(memory_world, "worker")
    started = [start(f"{name}-worker", [f"services.{name}", "worker"], is_up) for name in EVERYBODY]
    for found, one in all_packages(started):
        assert {"eventlet", "nameko"} <= found, f"{one.name} hears nothing"
        assert not found & CALLS, one.name


def test_jobs_load_neither(start, memory_world):
    is_up = begun(memory_world, "jobs")
    started = [start(f"{name}-jobs", [f"services.{name}", "jobs"], is_up) for name in EVERYBODY]
    for found, one in all_packages(started):
        assert "pymongo" in found
        assert not found & (EVENTS | CALLS), one.name


def all_packages(started: list[Started]) -> Iterator[tuple[set[str], Started]]:
    """Wait until all are up before the first is stopped: those that stop in order take their rows away."""
    for one in started:
        one.process.wait_ready(one.is_up, seconds=PATIENCE_S)
    for one in started:
        one.is_up = lambda: True
        yield one.packages(), one


def test_the_gateway_and_the_channel_load_no_eventlet(start):
    gateway, channel = free_port(), free_port()
    started = [
        start("gateway", ["services.gateway"], listens(gateway), JISHI_GATEWAY_LISTEN=f"127.0.0.1:{gateway}"),
        start("channel", ["services.channel"], listens(channel), JISHI_CHANNEL_LISTEN=f"127.0.0.1:{channel}"),
    ]
    loaded = {one.name: one.packages(signal.SIGINT) for one in started}
    assert not loaded["gateway"] & EVENTS
    assert not loaded["channel"] & (EVENTS | CALLS), "the channel is a stranger: it speaks HTTP"
