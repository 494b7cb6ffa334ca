"""What an audit says: which checks were made on how many things, what is wrong, and what each handler makes of the event log."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

WAIT_S: Final = 30.0
"""How long an audit waits for a running stack to become quiet, when it is not told."""
KEPT: Final = 100
"""Violations of one check that are kept with their words; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be."""

    check: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """What a check says of a subject that fails it."""

    subject: str
    expected: Any
    found: Any


Finding = Wrong | None
"""A check yields one for every subject it has examined; None: as it must be."""


def compared(subject: str, expected: Any, found: Any) -> Finding:
    """None where both are equal."""
    return None if expected == found else Wrong(subject, expected, found)


def wrong_unless(holds: bool, subject: str, expected: Any, found: Any) -> Finding:
    """None where ``holds``."""
    return None if holds else Wrong(subject, expected, found)


@dataclass(slots=True)
class Checked:
    """The outcome of one check: what it proves, how many subjects it examined, how many were wrong."""

    check: str
    proves: str
    examined: int = 0
    wrong: int = 0
    violations: list[Violation] = field(default_factory=list)

    def take(self, findings: Iterable[Finding]) -> None:
        """Count findings as they come, keeping only the first that are wrong."""
        for finding in findings:
            self.examined += 1
            if finding is not None:
                self.add(finding)

    def add(self, wrong: Wrong) -> None:
        """Count one that is wrong."""
        self.wrong += 1
        if len(self.violations) < KEPT:
            self.violations.append(Violation(self.check, wrong.subject, str(wrong.expected), str(wrong.found)))


@dataclass(slots=True)
class Pair:
    """What one handler says to all logged events of its type. ``verdicts``: done, stale, recorded, dropped, early, apply, failed."""

    event_type: str
    handler: str
    verdicts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Report:
    """Everything an audit found. ``at``: the business time it judged by; ``running``: whether the stack was up."""

    at: datetime
    running: bool
    checks: list[Checked] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    @property
    def violations(self) -> Sequence[Violation]:
        """Those that were kept, in the order of the checks."""
        return [violation for checked in self.checks for violation in checked.violations]

    @property
    def wrong(self) -> int:
        """How many there are in all."""
        return sum(checked.wrong for checked in self.checks)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.wrong == 0

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "clean": self.clean,
            "at": self.at.isoformat(),
            "running": self.running,
            "checks": [asdict(checked) for checked in self.checks],
            "events": [
                {"type": pair.event_type, "handler": pair.handler, **dict(pair.verdicts)} for pair in self.pairs
            ],
        }
