"""A product file from its bytes to chunks of items.

Two passes: ``open_file`` reads it once for encoding, columns, counts and products whose rows lie apart; ``pieces`` reads it again
product by product. ``laying`` keeps them in their order, so that an import goes on where it was killed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.catalog.jobs.importing.building import Context, Format, Product
from services.catalog.jobs.importing.jishi import JISHI, XLSX
from services.catalog.jobs.importing.jsonl import JsonLines, open_lines
from services.catalog.jobs.importing.shopify import SHOPIFY
from services.catalog.jobs.importing.text import Blocks, ErrorCell, Row, UnreadableFileError, detect_encoding, records
from services.catalog.jobs.importing.workbook import Workbook, WorkbookLimits
from services.catalog.model.chunks import Item

FORMATS: Final = {found.name: found for found in (SHOPIFY, JISHI, XLSX)}
JSONL: Final = "jsonl"
USUAL: Final = WorkbookLimits(entries=1000, ratio=200, bytes=2**31)


class ProductFile(Protocol):
    """A file that can be imported. ``rows`` without the header; ``products``: each once."""

    @property
    def rows(self) -> int:
        """Rows below the header, or lines."""

    @property
    def products(self) -> int:
        """Distinct handles (a row without one is its own), or lines."""

    @property
    def shape(self) -> dict[str, Any]:
        """What a product is built by, beside its data: plain values to be kept."""

    def pieces(self) -> Iterator[tuple[int, int, Any]]:
        """Of every product: the row where it begins, how many rows it counts, and the data it is built from."""

    def close(self) -> None:
        """Remove what was put aside while reading."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A CSV file or a workbook. ``last_rows``: for a product whose rows do not stand together, the row where it is complete."""

    records: Callable[[], Iterator[tuple[int, list[str]]]]
    format: Format
    encoding: str
    columns: dict[str, int]
    width: int
    rows: int
    products: int
    last_rows: dict[str, int]
    workbook: Workbook | None = None

    @property
    def shape(self) -> dict[str, Any]:
        """See ``ProductFile``."""
        return {"columns": self.columns, "width": self.width}

    def pieces(self) -> Iterator[tuple[int, int, Any]]:
        """See ``ProductFile``: {key, [[row, its cells]]}."""
        for key, rows in self._groups():
            yield rows[0].number, len(rows), [key, [[row.number, _filled(row.cells)] for row in rows]]

    def close(self) -> None:
        """See ``ProductFile``."""
        if self.workbook is not None:
            self.workbook.close()

    def _groups(self) -> Iterator[tuple[str, list[Row]]]:
        """(handle, its rows), each handle once: when its rows end, or at its last row where they lie apart."""
        apart: dict[str, list[Row]] = {}
        current: list[Row] = []
        key = ""
        for row in self._rows():
            handle = row.get(self.format.key)
            if current and (handle != key or not handle):
                yield key, current
                current = []
            if handle in self.last_rows:
                apart.setdefault(handle, []).append(row)
                if row.number == self.last_rows[handle]:
                    yield handle, apart.pop(handle)
            else:
                current.append(row)
                key = handle
        if current:
            yield key, current

    def _rows(self) -> Iterator[Row]:
        body = self.records()
        next(body)
        for number, cells in body:
            yield Row(number, cells, self.columns, self.format.guarded)


def _filled(cells: list[str]) -> list[str]:
    """Without the empty cells at the end."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def table_item(data: Any, context: Context, file_format: Format, columns: dict[str, int], width: int) -> Item:
    """The product of a piece of a table."""
    key, found = data
    rows = [
        Row(
            number,
            [cell if isinstance(cell, str) else ErrorCell(cell["error"]) for cell in cells],
            columns,
            file_format.guarded,
        )
        for number, cells in found
    ]
    return Product(file_format, key, rows, context).item(width)


def open_file(
    blocks: Blocks,
    name: str,
    *,
    most_rows: int,
    workbook: WorkbookLimits = USUAL,
    step: Callable[[], None] = lambda: None,
) -> TableFile | JsonLines:
    """Look through the file once. ``name`` is a key of ``FORMATS``, or ``jsonl``; close the file when done with it.

    ``step`` is called now and then while a workbook is read, now or later (other files are asked for their blocks).

    Raises UnreadableFileError: EMPTY_FILE, BINARY_FILE, UNKNOWN_ENCODING, UNCLOSED_QUOTE, CELL_TOO_LARGE, BROKEN_CSV,
    COLUMNS_MISSING, COLUMN_TWICE, NO_PRODUCTS, TOO_MANY_ROWS; of a workbook NOT_A_WORKBOOK, BROKEN_WORKBOOK, ZIP_BOMB; of lines
    NOT_JSONL, LINE_TOO_LARGE.
    """
    if name == JSONL:
        return open_lines(blocks, most_rows=most_rows)
    file_format = FORMATS[name]
    if file_format is XLSX:
        book = Workbook(blocks, workbook, step)
        try:
            return _looked_through(book.rows, file_format, "", most_rows, book)
        except BaseException:
            book.close()
            raise
    encoding = detect_encoding(blocks)
    return _looked_through(lambda: records(blocks, encoding), file_format, encoding, most_rows, None)


def _looked_through(
    rows_of: Callable[[], Iterator[tuple[int, list[str]]]],
    file_format: Format,
    encoding: str,
    most_rows: int,
    workbook: Workbook | None,
) -> TableFile:
    body = rows_of()
    _, header = next(body, (1, []))
    columns = _columns(file_format, header)
    rows, products, last_rows = _count(body, columns[file_format.key], most_rows, guarded=file_format.guarded)
    if not products:
        raise UnreadableFileError("NO_PRODUCTS", "the file has a header and nothing below it")
    return TableFile(rows_of, file_format, encoding, columns, len(header), rows, products, last_rows, workbook)


def _columns(file_format: Format, header: list[str]) -> dict[str, int]:
    known = {alias.casefold(): column for column, aliases in file_format.headers.items() for alias in aliases}
    columns: dict[str, int] = {}
    for index, title in enumerate(header):
        column = known.get(" ".join(title.replace("（", "(").replace("）", ")").split()).casefold())
        if column in columns:
            raise UnreadableFileError("COLUMN_TWICE", f"two columns are called {title.strip()!r}; keep one of them")
        if column is not None:
            columns[column] = index
    missing = [file_format.headers[column][0] for column in file_format.required if column not in columns]
    if missing:
        found = ", ".join(title.strip() for title in header[:12]) or "nothing"
        message = f"a {file_format.name} file needs the columns {', '.join(missing)}; the first row has: {found[:300]}"
        raise UnreadableFileError("COLUMNS_MISSING", message)
    return columns


def _count(
    body: Iterator[tuple[int, list[str]]], key_column: int, most_rows: int, *, guarded: bool
) -> tuple[int, int, dict[str, int]]:
    """Rows, products, and the last row of every product whose rows lie apart. Remembers 64-bit hashes of handles, not handles."""
    rows = products = 0
    ended: set[int] = set()
    last_rows: dict[str, int] = {}
    current: str | None = None
    for number, cells in body:
        rows += 1
        if rows > most_rows:
            raise UnreadableFileError("TOO_MANY_ROWS", f"more than {most_rows} rows; split the file")
        handle = Row(number, cells, {"": key_column}, guarded).get("")
        if handle in last_rows:
            last_rows[handle] = number
        elif handle and handle == current:
            continue
        elif handle and hash(handle) in ended:
            last_rows[handle] = number
        else:
            products += 1
            if handle:
                ended.add(hash(handle))
        current = handle
    return rows, products, last_rows
