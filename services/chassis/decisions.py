"""What a model says when asked: values only, standard library only.

A *command* is asked with the current document and answers with a ``Change`` or raises ``Refusal``. An *event* or a *timer* is
asked the same way and answers with a ``Decision``; it is never refused: an event that cannot apply is done, stale or early.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class Verdict(StrEnum):
    """What an event means to the state it meets."""

    APPLY = "apply"
    """It changes the state."""
    DONE = "done"
    """Its effect is there already (the same cause was applied)."""
    STALE = "stale"
    """The fact no longer matters: never for a fact that carries money the state cannot take."""
    EARLY = "early"
    """Something that must come first is not here yet; it waits."""


class Keep:
    """Marks "leave the timer as it is" in ``Change.due``."""

    __slots__ = ()


KEEP: Final = Keep()


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that a change promises.

    ``data`` holds the fields of the payload message as plain values (int fen, aware datetime, lower-case enum name, list, dict).
    ``subject`` defaults to the id of the document that the change is made to.
    """

    type: str
    data: Mapping[str, Any]
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one cause does to one document, to be written in one conditional update.

    ``set``/``unset``/``inc``/``push``/``pull`` are MongoDB's operators by dotted field (push: field → list of items);
    ``facts`` ride in the document's outbox; ``answer`` (JSON-like) is what a repeated command answers again;
    ``due`` sets (UTC datetime, business time), clears (None) or keeps the document's timer; ``guard`` is an extra condition.
    """

    set: Mapping[str, Any] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    inc: Mapping[str, int] = field(default_factory=dict)
    push: Mapping[str, list[Any]] = field(default_factory=dict)
    pull: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    answer: Any = None
    due: datetime | Keep | None = KEEP
    guard: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict of ``decide(state, event)``; with APPLY on one document, the change."""

    verdict: Verdict
    change: Change | None = None
    why: str = ""


DONE: Final = Decision(Verdict.DONE)
STALE: Final = Decision(Verdict.STALE)
EARLY: Final = Decision(Verdict.EARLY)


def apply(change: Change | None = None) -> Decision:
    """APPLY, with the change where the effect is one document."""
    return Decision(Verdict.APPLY, change)
