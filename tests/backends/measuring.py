"""A plugin of coverage: which kind of concurrency a measured process has.

Only workers run on greenlets. Everywhere else coverage must not ask for the current greenlet: with the threads of grpc, which come and go,
it sooner or later follows for ever the end of a greenlet whose thread is gone, inside its own books, and the process hangs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coverage import CoveragePlugin

TOY = "worker_toy.py"


def is_worker(command: Sequence[str]) -> bool:
    """Whether this command line is that of a worker: ``python -m services.orders worker``, or the toy of the contract tests."""
    return command[-1:] == ["worker"] or any(Path(word).name == TOY for word in command[1:2])


class Concurrency(CoveragePlugin):
    """Chooses the concurrency that coverage follows."""

    def configure(self, config: Any) -> None:
        """Greenlets in a worker, threads elsewhere."""
        config.set_option("run:concurrency", ["greenlet", "thread"] if is_worker(sys.orig_argv) else ["thread"])


def coverage_init(registry: Any, _options: Any) -> None:
    """What coverage calls on a plugin."""
    registry.add_configurer(Concurrency())
