"""The supervisor's eye: what died is started again, and what cannot be is said."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.chassis import clock
from services.cli.processes import Child, holder_of, is_free

LOOK_EVERY_S: Final = 0.1
HEALTHY_AFTER_S: Final = 20.0
LONGEST_PAUSE_S: Final = 5.0
DEATHS_BORNE: Final = 4
REMIND_EVERY_S: Final = 60.0


def taken_ports(child: Child) -> str:
    """Which ports of a child that is not running somebody else has, and who: ``port 8080 is taken by nginx (process 7)``; or empty."""
    return "; ".join(f"port {port} is taken by {holder_of(port)}" for port in child.ports if not is_free(port))


@dataclass(slots=True)
class Journal:
    """What the supervisor has to say: a JSON line in its log, and a sentence for whoever runs it."""

    log: Path
    tell: Callable[[str], None]

    def say(self, level: str, child: str, event: str) -> None:
        """Say ``event`` of ``child``."""
        line = {"time": clock.wall().isoformat(), "level": level, "role": "supervisor", "child": child, "event": event}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.tell(f"{child}: {event}")


@dataclass(slots=True)
class Watch:
    """Starts children again, each after a pause that grows with its deaths in a row, and as soon as its ports are its own again.

    A port cannot be changed while the stack runs: the others were told it when they started. So a child whose port a stranger took
    meanwhile waits for it, loudly. ``died`` is called when a death is seen and before every start, ``restarted`` after starts.
    """

    children: Mapping[str, Child]
    journal: Journal
    died: Callable[[], None]
    restarted: Callable[[], None]
    _seen: dict[str, int] = field(default_factory=dict)
    _waits: dict[str, tuple[frozenset[int], float]] = field(default_factory=dict)

    def run(self, ended: threading.Event) -> None:
        """Look until ``ended``."""
        while not ended.wait(LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """See who died, and start whoever may start."""
        down = [child for child in self.children.values() if not self._runs(child)]
        started = [child.name for child in down if self._start_again(child)]
        if started:
            self.restarted()

    def _runs(self, child: Child) -> bool:
        """Whether it runs; one that has done so for a while is forgiven its deaths."""
        if child.running and clock.monotonic() - child.started_at > HEALTHY_AFTER_S:
            child.failures = 0
        return child.running

    def _start_again(self, child: Child) -> bool:
        if self._seen.get(child.name) != child.starts:
            self._seen[child.name] = child.starts
            self.died()
            if not child.held:
                self.journal.say(
                    "warning", child.name, f"ended ({child.ending}); it is started again, its log is {child.log}"
                )
        pause = min(LONGEST_PAUSE_S, 0.1 * 2**child.failures)
        if child.held or clock.monotonic() - child.started_at <= pause or self._must_wait(child):
            return False
        child.failures += 1
        self.died()  # again: what it had sent may have been read only now
        child.start()
        return True

    def _must_wait(self, child: Child) -> bool:
        """Whether somebody else has a port of the child; said when it begins, changes, ends, and now and then."""
        taken = frozenset(port for port in child.ports if not is_free(port))
        before, said_at = self._waits.get(child.name, (frozenset[int](), 0.0))
        now = clock.monotonic()
        if taken and (taken != before or now - said_at > REMIND_EVERY_S):
            self._waits[child.name] = taken, now
            event = (
                f"cannot be started again: {taken_ports(child)}; it waits for the port. End that process, "
                "or restart `jishi up`, which takes free ports (the gateway's is --port)"
            )
            self.journal.say("error", child.name, event)
        elif before and not taken:
            del self._waits[child.name]
            self.journal.say("info", child.name, f"port {', '.join(map(str, sorted(before)))} is free again; starting")
        return bool(taken)


def logs(children: Iterable[Child], broken: Child | None, folder: Path) -> str:
    """The ends of the logs of ``broken``, or else of all that died; where to look, when none did."""
    chosen = [broken] if broken else [child for child in children if child.starts > 1 or not child.running]
    told = []
    for child in chosen:
        taken = "" if child.running else taken_ports(child)
        told.append("\n".join(filter(None, (f"--- {child.name} ({child.log})", taken, child.tail()))))
    return "\n".join(told) or f"logs: {folder}"
