"""A private RabbitMQ node from the installed package: own name, ports, epmd, cookie and folders; any user may run it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import amqp

from tests.backends.processes import PATIENCE_S, ServerProcess, free_port

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The real script: the `rabbitmq-server` of PATH is a wrapper that only root and the user rabbitmq may call."""
CONTROL_SCRIPT = SERVER_SCRIPT.with_name("rabbitmqctl")
CONFIGURATION = """\
log.file.level = warning
log.console = false
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
"""


def installed() -> bool:
    """Whether a node can be made here."""
    return SERVER_SCRIPT.exists() and shutil.which("epmd") is not None and shutil.which("erl") is not None


class RabbitmqNode:
    """One node with its data below `folder`; `kill` and `start` again find the same data, ports and name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rabbitmq.conf").write_text(CONFIGURATION)
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq-env.conf").write_text("")
        environment = self._environment()
        epmd = ["epmd", "-address", "127.0.0.1", "-port", environment["ERL_EPMD_PORT"]]
        self._epmd = ServerProcess(epmd, environment, folder / "epmd.log")
        self._node = ServerProcess(
            [str(SERVER_SCRIPT)], environment, folder / "node.log", folder
        )  # where a node that breaks leaves its core

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "COVERAGE_"))
        }
        return inherited | {
            "HOME": str(folder),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"jishi{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false",
        }

    def start(self) -> None:
        """Return when the node takes a connection; raises StartFailedError."""
        if not self._epmd.running():
            self._epmd.start()
        self._node.start()
        self._node.wait_ready(lambda: answers(self.port), seconds=PATIENCE_S)

    def stop(self) -> None:
        """End node and epmd in order."""
        self._node.signal_group(signal.SIGTERM)
        self._epmd.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the node; its data stay."""
        self._node.signal_group(signal.SIGKILL)

    def open_host(self, name: str) -> str:
        """The URI of a fresh virtual host."""
        for words in opening(name):
            self._control(*words)
        return f"{self.uri.removesuffix('/')}{name}"

    def close_host(self, name: str) -> None:
        """Drop a virtual host with its queues."""
        self._control("delete_vhost", name)

    def _control(self, *words: str) -> None:
        environment = self._node.environment
        command = [str(CONTROL_SCRIPT), "--quiet", "-n", environment["RABBITMQ_NODENAME"], *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)

    def has_saved(self, queue: str) -> bool:
        """Whether a quorum queue declared just now would outlive `kill`.

        RabbitMQ writes the registry of its quorum queues (a DETS table) up to half a second after the declaration was answered.
        """
        registries = (self.folder / "mnesia").rglob("names.dets")
        return any(queue.encode() in registry.read_bytes() for registry in registries)


def opening(host: str) -> list[list[str]]:
    """The rabbitmqctl commands that make a virtual host guest may use."""
    return [["add_vhost", host], ["set_permissions", "-p", host, "guest", ".*", ".*", ".*"]]


def answers(port: int) -> bool:
    """Whether a broker on this port of 127.0.0.1 lets guest in."""
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
    with contextlib.suppress(amqp.AMQPError), amqp.Connection(f"127.0.0.1:{port}", connect_timeout=2):
        return True
    return False
