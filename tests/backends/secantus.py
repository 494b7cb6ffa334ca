"""The embedded database as a process of its own, with the flags it is always run with."""

import os
import signal
import sys
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.backends.processes import PATIENCE_S, ServerProcess, free_port

EXECUTABLE = Path(sys.executable).parent / "secantusd-py"


class SecantusServer:
    """One server with its data in `folder`; `kill` and `start` again find every acknowledged write."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.uri = f"mongodb://127.0.0.1:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        data = ["--port", str(self.port), "--storage-path", str(folder / "data"), "--cache-size", "256M"]
        safety = ["--standalone", "--sync-on-commit"]
        self._server = ServerProcess([str(EXECUTABLE), *data, *safety], environment, folder / "server.log")

    def start(self) -> None:
        """Return when it answers; raises StartFailedError."""
        self._server.start()
        self._server.wait_ready(lambda: answers(self.uri), seconds=PATIENCE_S)

    def stop(self) -> None:
        """End it in order."""
        self._server.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9; its data stay."""
        self._server.signal_group(signal.SIGKILL)


def answers(uri: str) -> bool:
    """Whether a database server answers a ping within a second."""
    try:
        with MongoClient(uri, serverSelectionTimeoutMS=1000) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True
