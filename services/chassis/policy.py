"""Policy: every limit, timer, fee and multiple as dated data, never a literal in code.

``services/<service>/policy.toml`` holds tables like::

    [[pay_window]]
    effective_from = 2014-05-29
    value = 1800
    unit = "seconds"
    why = "..."

The entry with the latest ``effective_from`` not after the moment asked for holds; decisions store ``version()`` of what they used.
"""

import tomllib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from services.chassis.calendar import CST


@dataclass(frozen=True, slots=True)
class Entry:
    """One dated value."""

    effective_from: date
    value: Any
    unit: str
    why: str


class Policy:
    """The policy of one service."""

    def __init__(self, entries: dict[str, list[Entry]]) -> None:
        """Keep the entries of each name sorted by date."""
        self._entries = {name: sorted(found, key=lambda entry: entry.effective_from) for name, found in entries.items()}

    def at(self, name: str, when: datetime) -> Entry:
        """The entry of ``name`` in force on the CST day of ``when``. Raises KeyError where there is none."""
        today = when.astimezone(CST).date()
        valid = [entry for entry in self._entries[name] if entry.effective_from <= today]
        if not valid:
            raise KeyError(name)
        return valid[-1]

    def dated(self, name: str) -> tuple[Entry, ...]:
        """All entries of ``name``, oldest first. Raises KeyError where there is none."""
        return tuple(self._entries[name])

    def value(self, name: str, when: datetime) -> Any:
        """The value of ``name`` in force at ``when``."""
        return self.at(name, when).value

    def span(self, name: str, when: datetime) -> timedelta:
        """The value of ``name`` (unit seconds) as a timedelta."""
        return timedelta(seconds=int(self.value(name, when)))

    def version(self, name: str, when: datetime) -> str:
        """``name@2014-05-29``: what a decision stores about the policy it used."""
        return f"{name}@{self.at(name, when).effective_from.isoformat()}"


@cache
def load(service: str) -> Policy:
    """The policy of ``service``, read once from its ``policy.toml``."""
    path = Path(__file__).parent.parent / service / "policy.toml"
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return Policy(
        {
            name: [Entry(row["effective_from"], row["value"], row["unit"], row["why"]) for row in rows]
            for name, rows in raw.items()
        }
    )
