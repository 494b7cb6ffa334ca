"""Product files being written, product after product, in bounded memory."""

import csv
import io
import tempfile
from collections.abc import Mapping
from typing import IO, Any, Final, Protocol

import orjson
import xlsxwriter

from services.catalog.jobs.exporting.rows import MONEY, NUMBERS, line, table_rows
from services.catalog.jobs.importing.jishi import JISHI
from services.catalog.model.categories import Tree
from services.chassis.cells import safe
from services.chassis.gathering import SHEET_ROWS
from services.chassis.mongo import Document

CELL_MOST: Final = 32_767
"""Characters of a cell that a spreadsheet program can hold."""


class UnwritableError(ValueError):
    """The products do not fit the format: ``reason`` for programs, the message with the fix for people."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason beside the message."""
        super().__init__(message)
        self.reason, self.message = reason, message


class Writer(Protocol):
    """A part of a file that is being written. ``rows`` counts rows below the header, or lines."""

    rows: int

    def add(self, product: Document, stock: Mapping[str, Document]) -> None:
        """Write one product."""

    def finish(self) -> None:
        """Nothing more comes."""

    def close(self) -> None:
        """Remove what was put aside, finished or not."""


class Table:
    """jishi-csv."""

    def __init__(self, file: IO[bytes], tree: Tree, *, begins: bool = True) -> None:
        """UTF-8; a file ``begins`` with a byte order mark, which spreadsheet programs need to see, and its header."""
        self.rows, self._tree = 0, tree
        encoding = "utf-8-sig" if begins else "utf-8"
        self._text = io.TextIOWrapper(file, encoding=encoding, newline="", write_through=True)
        self._lines = csv.DictWriter(self._text, list(JISHI.headers), restval="")
        if begins:
            self._lines.writeheader()

    def add(self, product: Document, stock: Mapping[str, Document]) -> None:
        """See ``Writer``."""
        for row in table_rows(product, stock, self._tree):
            self._lines.writerow({column: safe(text) for column, text in row.items()})
            self.rows += 1

    def finish(self) -> None:
        """See ``Writer``."""
        self._text.flush()

    def close(self) -> None:
        """See ``Writer``."""
        self._text.detach()


class Lines:
    """jsonl."""

    def __init__(self, file: IO[bytes]) -> None:
        """UTF-8."""
        self.rows, self._file = 0, file

    def add(self, product: Document, stock: Mapping[str, Document]) -> None:
        """See ``Writer``."""
        self._file.write(orjson.dumps(line(product, stock), option=orjson.OPT_APPEND_NEWLINE))
        self.rows += 1

    def finish(self) -> None:
        """See ``Writer``."""

    def close(self) -> None:
        """See ``Writer``."""


class SheetRows:
    """The rows of a workbook, before it is put together: a line for each, ``[external_id, row by column]``."""

    def __init__(self, file: IO[bytes], tree: Tree) -> None:
        """UTF-8."""
        self.rows, self._file, self._tree = 0, file, tree

    def add(self, product: Document, stock: Mapping[str, Document]) -> None:
        """See ``Writer``."""
        for row in table_rows(product, stock, self._tree):
            self._file.write(orjson.dumps([product["external_id"], row], option=orjson.OPT_APPEND_NEWLINE))
            self.rows += 1

    def finish(self) -> None:
        """See ``Writer``."""

    def close(self) -> None:
        """See ``Writer``."""


class Sheet:
    """xlsx: every text is a text (no formulas, no links), every number a number."""

    def __init__(self, file: IO[bytes]) -> None:
        """One sheet, its header frozen."""
        self.rows, self._columns = 0, list(JISHI.headers)
        self._folder = tempfile.TemporaryDirectory()
        self._book: Any = xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": self._folder.name})
        self._sheet: Any = self._book.add_worksheet("products")
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(self._columns):
            self._sheet.write_string(0, place, column)
        self._money = self._book.add_format({"num_format": "0.00"})

    def put(self, lines: bytes) -> None:
        """Write the rows that ``SheetRows`` wrote. Raises UnwritableError."""
        for found in lines.splitlines():
            external_id, row = orjson.loads(found)
            self.rows += 1
            if self.rows >= SHEET_ROWS:
                message = f"a sheet has at most {SHEET_ROWS} rows; export jishi-csv or jsonl, or fewer products by their state"
                raise UnwritableError("TOO_MANY_ROWS", message)
            for place, column in enumerate(self._columns):
                if text := row.get(column, ""):
                    self._cell(place, column, text, external_id)

    def _cell(self, place: int, column: str, text: str, external_id: str) -> None:
        shown = safe(text)
        if len(shown) > CELL_MOST:
            message = f"{column} of {external_id} has {len(shown)} characters, and a cell at most {CELL_MOST}; export jishi-csv or jsonl"
            raise UnwritableError("CELL_TOO_LONG", message)
        if column in NUMBERS:
            self._sheet.write_number(self.rows, place, float(text), self._money if column in MONEY else None)
        else:
            self._sheet.write_string(self.rows, place, shown)

    def finish(self) -> None:
        """Nothing more comes."""
        self._book.close()

    def close(self) -> None:
        """Remove what was put aside, finished or not."""
        self._sheet.row_data_fh.close()
        self._folder.cleanup()


def part_writer(file_format: str, file: IO[bytes], tree: Tree, *, begins: bool) -> Writer:
    """A part of what is exported in this format, written into ``file``; the first one ``begins`` it."""
    if file_format == "jsonl":
        return Lines(file)
    return SheetRows(file, tree) if file_format == "xlsx" else Table(file, tree, begins=begins)
