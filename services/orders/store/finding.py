"""Walking an index a span of time at a time.

The embedded database reads and sorts the whole range that a query names before it cuts a page off, and on any database a rare filter walks
past all that it does not match. So a page looks at the last moment first, then at eight times as much before it, and so on until it is
full, or until it has looked long enough: then it is shorter, and the next one goes on where it stopped.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis import clock
from services.chassis.mongo import Document

Look = Callable[[int, int, int], list[Document]]
"""``look(low, high, most)``: rows with low ≤ position < high, in the walk's order, at most so many."""
FIRST: Final = 100
GROWS: Final = 8
LONG_ENOUGH_S: Final = 2.0
KNOWN_MOST: Final = 10_000


class Reach:
    """How far back the first page of each list had to look, and from when. Only hints: wrong ones cost a question more."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def of(self, name: str) -> tuple[int, int]:
        """(where its newest row was, the span that sufficed from there); (0, FIRST) where nothing is known."""
        return self._known.get(name, (0, FIRST))

    def sufficed(self, name: str, newest: int, span: int) -> None:
        """The newest row lay at ``newest``, and a page was full within ``span``."""
        self._known[name] = (newest, max(FIRST, span))
        self._known.move_to_end(name)
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Walked:
    """``rows`` in the walk's order, ``edge``: how far it looked, and the ``span`` to look at first when it goes on."""

    rows: list[Document]
    edge: int
    span: int


def backward(look: Look, low: int, high: int, most: int, *, ends: int, span: int) -> Walked:
    """Up to ``most`` rows of [low, high), the highest positions first.

    Nothing is expected above ``ends``, but it is looked at; ``span``: how much to look at first. Positions are of any unit.
    """
    found: list[Document] = []
    until, top, bottom = clock.monotonic() + LONG_ENOUGH_S, high, max(low, min(high, ends) - span)
    while True:
        found += look(bottom, top, most - len(found))
        if bottom <= low or len(found) >= most:
            return Walked(found, bottom, span)
        span *= GROWS
        if clock.monotonic() > until:
            return Walked(found, bottom, span)
        top, bottom = bottom, max(low, bottom - span)


def forward(look: Look, low: int, high: int, most: int, *, span: int) -> Walked:
    """The same from below: the lowest positions first."""
    found: list[Document] = []
    until, top = clock.monotonic() + LONG_ENOUGH_S, min(high, low + span)
    while True:
        found += look(low, top, most - len(found))
        if top >= high or len(found) >= most:
            return Walked(found, top, span)
        span *= GROWS
        if clock.monotonic() > until:
            return Walked(found, top, span)
        low, top = top, min(high, top + span)


def merged(pages: Iterable[Sequence[Document]], field: str, most: int) -> list[Document]:
    """Several walks as one, the highest ``field`` first."""
    rows = heapq.merge(*pages, key=lambda row: -row[field])
    return [row for _, row in zip(range(most), rows, strict=False)]
