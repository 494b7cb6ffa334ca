"""Sums by key in bounded memory, whatever the number of keys: two columns that must agree, kept in a temporary SQLite file."""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from services.cli.audit.report import Finding, compared

BATCH: Final = 5000
_ADD: Final = """
INSERT INTO sums (key, expected, found) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET expected = expected + excluded.expected, found = found + excluded.found
"""


class Sheet:
    """What each key should add up to, and what it does: ``expect`` and ``find`` in any order, then ``findings``."""

    def __init__(self) -> None:
        # An empty name is a file of SQLite's own that lives in its page cache until it grows, and goes with the connection.
        self._file = sqlite3.connect("")
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute(
            "CREATE TABLE sums (key TEXT PRIMARY KEY, expected INTEGER NOT NULL, found INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._waiting: list[tuple[str, int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def expect(self, key: str, amount: int) -> None:
        """``key`` should hold ``amount`` more."""
        self._add(key, amount, 0)

    def find(self, key: str, amount: int) -> None:
        """``key`` does hold ``amount`` more."""
        self._add(key, 0, amount)

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """(key, expected, found) of every key, in order."""
        self._flush()
        yield from self._file.execute("SELECT key, expected, found FROM sums ORDER BY key")

    def findings(self) -> Iterator[Finding]:
        """One finding a key: wrong where the columns differ."""
        for key, expected, found in self.rows():
            yield compared(key, expected, found)

    def _add(self, key: str, expected: int, found: int) -> None:
        self._waiting.append((key, expected, found))
        if len(self._waiting) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        self._file.executemany(_ADD, self._waiting)
        self._waiting.clear()
