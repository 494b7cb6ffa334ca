"""Pages of long lists of products, found by milestones (see ``model.milestones``).

The embedded database reads and sorts the whole range that a query names before it cuts the page off. So a page is read from one milestone to the
next, and milestones are found from the highest level down: each question reads some dozens of rows, however many products there are and
however densely they were made. On any database it is a walk of an index.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from services.catalog.model.milestones import LEVELS, STEP, changes_name, key, level, milestone
from services.catalog.store.ranges import BATCH, FIRST
from services.chassis import clock, commit
from services.chassis.mongo import Collection, Database, Document, Index

MILESTONES: Final = Collection("milestones", (Index(("keys", "-position")), Index(("keys", "changed_at"))))
KNOWN_S: Final = 1.0
"""What was found serves so long: until then not much is made above the newest milestone."""
KNOWN_MOST: Final = 10_000
READ: Final = {"shop_id": 1, "state": 1, "listing.category_id": 1, "position": 1, "updated_at": 1, "version": 1}
Read = Callable[[str, str, int], list[Document]]
"""``read(low, high, most)``: up to ``most`` rows of the list with low ≤ position < high, newest first."""


class Milestones:
    """The milestones of all lists."""

    def __init__(self, database: Database) -> None:
        """Nothing is known of any list."""
        self._rows, self._products = database["milestones"], database["products"]
        self._lows: dict[tuple[str, str, int], tuple[float, str]] = {}
        self._stretches: dict[str, tuple[float, str, list[str]]] = {}

    def note(self, product_ids: Iterable[str]) -> None:
        """Those of these products that are milestones are ones of the lists that they are on now; most calls ask nothing."""
        wanted = [product_id for product_id in product_ids if level(product_id)]
        found = self._products.find({"_id": {"$in": wanted}}, READ, batch_size=BATCH) if wanted else ()
        for row in found:
            kept = milestone(row)
            if kept is not None:
                commit.copy(self._rows, kept["_id"], kept["sequence"], kept)

    def page(self, name: str, before: str, size: int, read: Read) -> list[Document]:
        """Up to ``size`` rows of the list ``name``, newest first, with positions below ``before``."""
        now = clock.monotonic()
        until, low = self._lows.get((name, before, size), (0.0, FIRST))
        ahead = [low] if until > now else self._stretch(name, before, now)
        rows: list[Document] = []
        high, wide = before, 0
        while len(rows) < size and high != FIRST:
            ahead = ahead or self._found(name, high)
            wide = max(2 * wide, (size - len(rows)) // STEP + 1)
            low, ahead = ahead[:wide][-1], ahead[wide:]
            rows += read(low, high, size - len(rows))
            high = low
        if len(self._lows) >= KNOWN_MOST:
            self._lows.clear()
        self._lows[name, before, size] = now + KNOWN_S, rows[-1]["position"] if len(rows) == size else FIRST
        return rows

    def changes(self, shop_id: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The time from ``since`` to ``until`` in stretches [from, to) in which some dozens of the shop's products were last changed, the
        oldest first, each twice as long as the one before.
        """
        name, low, wide = changes_name(shop_id), since, 1
        ahead: list[datetime] = []
        while low < until:
            ahead = ahead or self._upward(name, low, until)
            high, ahead = ahead[:wide][-1], ahead[wide:]
            yield low, high
            low, wide = high, 2 * wide

    def _upward(self, name: str, low: datetime, until: datetime) -> list[datetime]:
        """When milestones next after ``low`` were changed, the earliest first; ``until`` where there are none."""
        high, found = until, list[datetime]()
        for number in range(LEVELS, 0, -1):
            between = {"keys": key(name, number), "changed_at": {"$gt": low, "$lte": high}}
            rows = self._rows.find(between, {"changed_at": 1}, batch_size=BATCH).sort("changed_at", 1)
            found = [row["changed_at"] for row in rows]
            high = found[0] if found else high
        return found or [high]

    def _stretch(self, name: str, before: str, now: float) -> list[str]:
        """Milestones that were found a moment ago and lie next below ``before``."""
        until, high, found = self._stretches.get(name, (0.0, "", []))
        if until > now and found[-1] < before <= high:
            return [position for position in found if position < before]
        found = self._found(name, before)
        if len(self._stretches) >= KNOWN_MOST:
            self._stretches.clear()
        self._stretches[name] = now + KNOWN_S, before, found
        return found

    def _found(self, name: str, high: str) -> list[str]:
        """Positions of milestones next below ``high``, the nearest first; the beginning of the list where there are none."""
        low, found = FIRST, list[str]()
        for number in range(LEVELS, 0, -1):
            between = {"keys": key(name, number), "position": {"$gte": low, "$lt": high}}
            rows = self._rows.find(between, {"position": 1}, batch_size=BATCH).sort("position", -1)
            found = [row["position"] for row in rows]
            low = found[0] if found else low
        return found or [low]
