"""Servers the tests start themselves: free ports, waiting for a condition, ending a whole process group."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from services.cli.processes import free_port

__all__ = ["PATIENCE_S", "Backend", "BrokerBackend", "ServerProcess", "StartFailedError", "free_port", "wait_until"]


PATIENCE_S = 120.0
"""How long a test waits for what must come. Long, because a machine may be busy with other work; who waits in vain has failed anyway."""


class Backend(Protocol):
    """A broker or database of the tests. `kill` is kill -9; `start` afterwards finds the same data at the same address."""

    uri: str

    def start(self) -> None:
        """Return when it answers."""

    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """End it with kill -9."""


class BrokerBackend(Backend, Protocol):
    """A broker; each world gets a virtual host, because the names of exchanges and queues are the same in all worlds."""

    def open_host(self, name: str) -> str:
        """The URI of a fresh virtual host."""

    def close_host(self, name: str) -> None:
        """Drop it with its queues."""


class StartFailedError(RuntimeError):
    """A candidate did not come up; the next one is tried."""


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE_S, every: float = 0.05) -> None:
    """Return when `condition` holds; raises TimeoutError naming `what` after `seconds`. An OSError counts as "not yet"."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(every)


class ServerProcess:
    """One child in a process group of its own, its output in a log file."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path | None = None
    ) -> None:
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Launch it; does not wait for it to answer."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )

    def running(self) -> bool:
        """Whether the child lives."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, answers: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `answers`; raises StartFailedError with the end of the log when the child died or time is up."""
        try:
            wait_until(lambda: not self.running() or answers(), self.command[0], seconds=seconds)
        except TimeoutError as error:
            self.signal_group(signal.SIGKILL)
            raise StartFailedError(f"{error}\n{self.tail()}") from error
        if not self.running():
            raise StartFailedError(f"{self.command[0]} ended\n{self.tail()}")

    def signal_group(self, number: signal.Signals, *, seconds: float = 60) -> None:
        """Signal the whole group and wait for the child's end; SIGKILL when it does not come."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(seconds)
        self._process = None

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
