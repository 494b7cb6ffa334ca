"""Child processes of the embedded stack: free ports, ending them, and knowing them again after a crash of their parent."""

import contextlib
import ctypes
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from services.chassis import clock

LOOPBACK: Final = "127.0.0.1"
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_LOWEST: Final = 12_000
_HIGHEST: Final = 32_000
_FEWEST: Final = 1_000


def _first_outgoing() -> int:
    """The lowest port that the system gives to outgoing connections; 0 where it does not tell."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0


_PORTS: Final = range(_LOWEST, max(_LOWEST + _FEWEST, min(_HIGHEST, _first_outgoing() or _HIGHEST)))
_turn: Final = itertools.count(secrets.randbelow(len(_PORTS)))


class Identity(NamedTuple):
    """A process, told apart from a later one with the same number."""

    pid: int
    started: str


@dataclass(slots=True)
class Child:
    """One process of the stack, and how to start it (again)."""

    name: str
    """Unique in the stack: ``servers``, ``servers-2``, ``gateway``."""
    role: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts: int = 0
    ports: tuple[int, ...] = ()
    """TCP ports of the loopback address that it listens on."""
    held: bool = False
    """Killed on purpose and not to be started until released."""
    failures: int = field(default=0)
    """Deaths in a row, for the pause before the next start."""

    def start(self) -> None:
        """Launch it with its output in the log file. Call from a thread that lives as long as the child should."""
        parent = os.getpid()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops its children in order
                preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - one prctl call, no locks
            )
        self.started_at = clock.monotonic()
        self.starts += 1

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def ending(self) -> str:
        """How it ended: ``exit code 1``, ``killed by signal 9``; empty while it runs or before it was started."""
        code = self.process.poll() if self.process is not None else None
        if code is None:
            return ""
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    @property
    def identity(self) -> Identity | None:
        """What to write down to find it again."""
        return identify(self.process.pid) if self.process is not None and self.running else None

    def signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        if self.process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def wait(self, timeout_s: float) -> None:
        """Wait for its end; kill -9 after ``timeout_s``."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with(parent: int) -> None:
    """In the child: be killed by the kernel when the supervisor dies, as in a power cut (Linux; elsewhere the next start cleans up)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def stop_in_order(children: Iterable[Child], timeout_s: float) -> None:
    """SIGTERM to all of them at once, then wait for each."""
    chosen = list(children)
    for child in chosen:
        child.signal(signal.SIGTERM)
    for child in chosen:
        child.wait(timeout_s)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now.

    Never one that the kernel gives to outgoing connections: those may take it before its owner listens, or while it is started again.
    Ports are tried one after the other from a point of this process's own, so that two that choose at the same time choose apart.
    """
    while True:
        port = _PORTS[next(_turn) % len(_PORTS)]
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether somebody could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def holder_of(port: int) -> str:
    """Who has TCP ``port`` now, for a message: ``nginx (process 77)``, or ``another process`` where the system does not tell."""
    sockets = {f"socket:[{inode}]" for inode in _inodes_of(port)}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(str(handle.readlink()) in sockets for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (process {process.name})"
    return "another process"


def _inodes_of(port: int) -> set[str]:
    """The sockets on a local TCP port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
                    found.add(fields[9])
    return found


def identify(pid: int) -> Identity | None:
    """The running process with this number; None when there is none, or only a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else Identity(pid, fields[19])
    shown = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    started = shown.stdout.strip()
    return Identity(pid, started) if started else None


def kill_orphans(recorded: Iterable[Identity]) -> list[int]:
    """Kill -9 the recorded processes that still run (same number and same start time); answer their numbers when all are gone."""
    alive = [one for one in recorded if identify(one.pid) == one]
    for one in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    until = clock.monotonic() + 10
    while any(identify(one.pid) == one for one in alive) and clock.monotonic() < until:
        time.sleep(0.02)
    return [one.pid for one in alive]
