"""The two sides of a channel day, sorted by number in a temporary SQLite file: memory does not grow with the day.

A *key* is (payment | refund, number). Beside the ledger's movements (``OURS``) and the rows of the bill (``THEIRS``) stand the differences
that earlier runs wrote down (``BEFORE``) and the rows of the bills next door (``DOOR``) of what the day's bill lacks.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Final, Self

from services.payments.model.channel_bill import PAYMENT
from services.payments.model.reconciling import Key

OURS: Final = "ours"
THEIRS: Final = "theirs"
BEFORE: Final = "before"
DOOR: Final = "door"
BATCH: Final = 500
"""Keys compared at once."""
Line = tuple[Key, int, str]
"""Key, signed fen, and a text: the trade's number, a difference's id or a day."""
_TABLE: Final = """
CREATE TABLE lines (item TEXT NOT NULL, number TEXT NOT NULL, side TEXT NOT NULL, place INTEGER NOT NULL, amount INTEGER NOT NULL,
    told TEXT NOT NULL, PRIMARY KEY (item, number, side, place)) WITHOUT ROWID
"""
_LACKING: Final = """
SELECT 1 FROM lines AS mine WHERE mine.side = 'ours' AND (? = '' OR (mine.item, mine.number) = (?, ?)) AND NOT EXISTS
    (SELECT 1 FROM lines AS other WHERE (other.item, other.number, other.side) = (mine.item, mine.number, 'theirs')) LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The lines of up to ``BATCH`` keys, by side and key; ``last``: the greatest key."""

    last: Key
    lines: dict[str, dict[Key, list[tuple[int, str]]]] = field(default_factory=dict)

    def of(self, side: str) -> dict[Key, list[tuple[int, str]]]:
        """(amount, text) of each line of a side, by key, in their order."""
        return self.lines.get(side, {})


class Sides:
    """What each side has of a day: ``add`` in any order, then ``batches``. One thread's own."""

    def __init__(self) -> None:
        # An empty name is a file of SQLite's own that lives in its page cache until it grows, and goes with the connection.
        self._file, self._places = sqlite3.connect(""), 0
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, side: str, lines: Iterable[Line]) -> Iterator[None]:
        """Take the lines of one side; a step for every ``BATCH`` of them."""
        iterator = iter(lines)
        while batch := list(islice(iterator, BATCH)):
            rows = [(*key, side, place, amount, told) for place, (key, amount, told) in enumerate(batch, self._places)]
            self._file.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._places += len(rows)
            yield

    def lacks(self, key: Key = ("", "")) -> bool:
        """Whether the ledger has something (of this key) that the bill lacks."""
        return self._file.execute(_LACKING, (key[0], *key)).fetchone() is not None

    def totals(self, side: str) -> dict[str, int]:
        """Number and sum of a side's payments and of its refunds, in fen: ``{payments, paid, refunds, refunded}``."""
        sums = "SELECT item, COUNT(*), SUM(amount) FROM lines WHERE side = ? GROUP BY item"
        found = {"payments": 0, "paid": 0, "refunds": 0, "refunded": 0}
        for item, count, amount in self._file.execute(sums, (side,)):
            found |= {"payments": count, "paid": amount} if item == PAYMENT else {"refunds": count, "refunded": -amount}
        return found

    def batches(self, after: Key = ("", "")) -> Iterator[Batch]:
        """All that is there behind ``after``, in the order of the keys."""
        keys = "SELECT DISTINCT item, number FROM lines WHERE (item, number) > (?, ?) ORDER BY item, number LIMIT ?"
        lines = """
            SELECT item, number, side, amount, told FROM lines
            WHERE (item, number) > (?, ?) AND (item, number) <= (?, ?) ORDER BY item, number, side, place
        """
        while found := self._file.execute(keys, (*after, BATCH)).fetchall():
            batch = Batch(found[-1])
            for item, number, side, amount, told in self._file.execute(lines, (*after, *batch.last)):
                batch.lines.setdefault(side, {}).setdefault((item, number), []).append((amount, told))
            yield batch
            after = batch.last
