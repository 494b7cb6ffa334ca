"""The data folder of a stack: who works on it, what runs, where the logs are, and how its database is started."""

import contextlib
import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

from services.cli.processes import Identity, kill_orphans

DATABASE: Final = "database"
RECORD: Final = "stack.json"
_EXECUTABLE: Final = Path(sys.executable).parent / "secantusd-py"


class StackError(RuntimeError):
    """The stack cannot start; the message says why and where to look."""


def database_command(data: Path, port: int) -> list[str]:
    """How the embedded database on the folder ``data`` is started. Raises StackError where it is not installed."""
    if not _EXECUTABLE.exists():
        raise StackError("the embedded database is not installed: pip install 'jishi[embedded]', or set MONGO_URI")
    # Without these flags kill -9 loses acknowledged writes, and plain writes feed an oplog that grows ever slower.
    safety = ["--standalone", "--sync-on-commit", "--cache-size", "256M"]
    return [str(_EXECUTABLE), "--port", str(port), "--storage-path", str(data / DATABASE), *safety]


class Folder:
    """One data folder, used by at most one supervisor at a time."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched yet."""
        self.path = path
        self._lock: TextIO | None = None

    def log(self, name: str) -> Path:
        """The log file of the process ``name``."""
        return self.path / "logs" / f"{name}.log"

    def take(self) -> None:
        """Make the folder this supervisor's and end what a killed one left behind.

        Raises StackError: another one works on it, or nobody can write there.
        """
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a", encoding="utf-8")
        except OSError as error:
            raise StackError(f"{self.path} cannot be used: {error.strerror}; choose another --data") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StackError(f"another `jishi up` works on {self.path}; stop it, or choose another --data") from error
        self._lock = lock
        kill_orphans(Identity(*one) for one in self.recorded().get("children", {}).values())

    def leave(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def recorded(self) -> dict[str, Any]:
        """What the last supervisor wrote down; {} where that cannot be read."""
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            return found
        return {}

    def record(self, content: dict[str, Any]) -> None:
        """Write down what runs, for the owner only: a database address may hold a password."""
        draft = self.path / ".stack.json"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1) + "\n")
        draft.replace(self.path / RECORD)
