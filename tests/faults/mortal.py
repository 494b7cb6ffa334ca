"""A process of the embedded stack that kills itself (-9) at the very point a test has named. The house itself knows nothing of this.

``python -m tests.faults.mortal servers|worker|jobs`` is ``python -m services.embedded …``, except that at every *point* it comes by it
looks for a file of that name in the folder ``MORTAL_POINTS``. The file holds a number: the process dies there when it passes for the
n-th time, and the file is gone then, so that it lives after its next start. Points:

- ``<service>.<Rpc>.answer``: a server has done the rpc, its answer is not sent;
- ``<service>.<handler>.before``, ``.after``: a worker has decided and not written, has written and not acked;
- ``<service>.<collection>.due.before``, ``.after``: a worker has seen that a timer is due, has done what is due;
- ``<job>.step``: a jobs process between two steps under its lease;
- ``<role>.commit``: a transaction is open with all its writes, its commit is not sent.
"""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Final

POINTS: Final = "MORTAL_POINTS"
_lock = threading.Lock()


def pass_by(point: str) -> None:
    """Die here if a test wants it so."""
    folder = Path(os.environ[POINTS])
    found = folder / point
    if not found.exists():
        return
    with _lock, (folder / ".lock").open("a") as counting:
        fcntl.flock(counting, fcntl.LOCK_EX)  # of several copies each counts what the other has left
        try:
            left = int(found.read_text())
        except FileNotFoundError:
            return
        if left > 1:
            arm(folder, point, left - 1)
            return
        found.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def arm(folder: Path, point: str, passing: int = 1) -> None:
    """Let a process die when it comes by ``point`` for the ``passing``-th time."""
    draft = folder / f".{point}"
    draft.write_text(str(passing))
    draft.rename(folder / point)


def armed(folder: Path) -> list[str]:
    """The points where nobody has died yet."""
    return sorted(found.name for found in folder.iterdir() if not found.name.startswith("."))


def _then(call: Callable[..., Any], point: str) -> Callable[..., Any]:
    @wraps(call)
    def mortal(*given: Any, **named: Any) -> Any:
        answer = call(*given, **named)
        pass_by(point)
        return answer

    return mortal


def _first(call: Callable[..., Any], point: str) -> Callable[..., Any]:
    @wraps(call)
    def mortal(*given: Any, **named: Any) -> Any:
        pass_by(point)
        return call(*given, **named)

    return mortal


def _servers() -> None:
    from services.chassis.rpc import server

    answering = server._answering
    server._answering = lambda node, declared, run: answering(node, declared, _then(run, f"{declared.name}.answer"))


def _worker() -> None:
    import services.chassis.amqp.patch  # noqa: F401 - the monkey patch comes before everything else
    from services.chassis import once, timers

    build = once.Intake.__init__

    def mortal(self: once.Intake, service: str, database: Any, handlers: Any, presence: Any) -> None:
        def die(handler: Any) -> Any:
            name = f"{service}.{handler.name}"
            return replace(handler, apply=_then(_first(handler.apply, f"{name}.before"), f"{name}.after"))

        build(self, service, database, [die(handler) for handler in handlers], presence)

    once.Intake.__init__ = mortal

    watch = timers.Timers.__init__

    def due(self: timers.Timers, service: str, database: Any, declared: Any, presence: Any) -> None:
        def die(timer: Any) -> Any:
            name = f"{service}.{timer.collection}.due"
            return replace(timer, fire=_then(_first(timer.fire, f"{name}.before"), f"{name}.after"))

        watch(self, service, database, [die(timer) for timer in declared], presence)

    timers.Timers.__init__ = due


def _jobs() -> None:
    from services.chassis import jobs

    kept = jobs.LeasedRun.keep

    @wraps(kept)
    def keep(self: jobs.LeasedRun, *given: Any, **named: Any) -> None:
        pass_by(f"{self._rows.name}.step")
        kept(self, *given, **named)

    jobs.LeasedRun.keep = keep


def main(role: str) -> None:
    """Run the role."""
    {"servers": _servers, "worker": _worker, "jobs": _jobs}[role]()
    from pymongo.client_session import ClientSession

    from services.chassis.process import main_embedded

    ClientSession.commit_transaction = _first(ClientSession.commit_transaction, f"{role}.commit")
    main_embedded([role])


if __name__ == "__main__":
    main(sys.argv[1])
