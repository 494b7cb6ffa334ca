"""Pages of a shop's pictures by position, a span of time at a time: there are some ten thousand at most, so a span that holds all of them can be borne.

A position begins with the moment of its making. The embedded database reads and sorts the whole range that a query names before it
cuts the page off, so a page looks at the last moment first, then at eight times as much, until it is full. How far the last page of the
shop had to look is where the next one begins.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from services.chassis import clock
from services.chassis.mongo import Document

FIRST_MS: Final = 0.5
GROWS: Final = 8
SPANS: Final = 14
"""The last one is eight years; what is older is looked for in everything."""
KNOWN_MOST: Final = 10_000


class Spans:
    """How far back pages of each shop had to look, and from when. Only hints: wrong ones cost a question more."""

    def __init__(self, floor: Callable[[float], str], moment: Callable[[str], float]) -> None:
        """Nothing is known. ``floor``: the lowest position of a moment (wall ms); ``moment``: that of a position, 0 where it tells none."""
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._floor, self._moment = floor, moment

    def page(
        self, of: str, before: str | None, size: int, first: str, read: Callable[[str], list[Document]]
    ) -> list[Document]:
        """Up to ``size`` rows, newest first, below position ``before``. ``read(low)``: those of them above ``low``."""
        rows: list[Document] = []
        span = 0
        for number, low in self.lows(of, before, first):
            rows, span = read(low), number
            if len(rows) >= size:
                break
        self.sufficed(of, span, rows[0]["position"] if rows and before is None else "")
        return rows

    def lows(self, shop_id: str, before: str | None, first: str) -> Iterator[tuple[int, str]]:
        """(number, position above which to look), from the span that sufficed last time to everything (``first``)."""
        known, newest_ms = self._known.get(shop_id, (0, 0))
        ends = (self._moment(before) if before else newest_ms) or clock.wall_ms()
        for number in range(known if known == SPANS else max(0, known - 1), SPANS):
            began = ends - FIRST_MS * GROWS**number
            if began <= 0:
                break
            yield number, self._floor(began)
        yield SPANS, first

    def sufficed(self, shop_id: str, number: int, newest: str = "") -> None:
        """A page of the shop was full within this span, or (``SPANS``) not even in everything; ``newest``: where the first page began."""
        _, newest_ms = self._known.get(shop_id, (0, 0))
        if newest and self._moment(newest) != newest_ms:  # the next page looks from there, and may need less
            newest_ms, number = self._moment(newest), min(number, 1)
        self._known[shop_id] = (number, newest_ms)
        self._known.move_to_end(shop_id)
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
