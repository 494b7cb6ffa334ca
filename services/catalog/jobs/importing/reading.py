"""A product file from its encoding to chunks of items.

Two passes: ``open_file`` reads it once for encoding, columns, counts and products whose rows lie apart; ``chunks`` reads it again
and builds the products. The same file always falls into the same chunks, so an import goes on where it was killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.catalog.jobs.importing.building import Context, Format, Product
from services.catalog.jobs.importing.jishi import JISHI
from services.catalog.jobs.importing.shopify import SHOPIFY
from services.catalog.jobs.importing.text import Blocks, Row, UnreadableFileError, detect_encoding, records
from services.catalog.model.chunks import Item

FORMATS: Final = {found.name: found for found in (SHOPIFY, JISHI)}


@dataclass(frozen=True, slots=True)
class ProductFile:
    """A file that can be imported. ``rows`` without the header; ``products`` = distinct handles (a row without one is its own).

    ``last_rows``: for a product whose rows do not stand together, the row where it is complete.
    """

    blocks: Blocks
    format: Format
    encoding: str
    columns: dict[str, int]
    width: int
    rows: int
    products: int
    last_rows: dict[str, int]

    def chunks(self, context: Context, *, products: int, rows: int, skip: int = 0) -> Iterator[list[Item]]:
        """Items of at most ``products`` products or about ``rows`` rows at a time, without the first ``skip`` chunks."""
        number, waiting, waiting_rows = 0, [], 0  # type: int, list[tuple[str, list[Row]]], int
        for group in self._groups():
            waiting.append(group)
            waiting_rows += len(group[1])
            if len(waiting) >= products or waiting_rows >= rows:
                number += 1
                if number > skip:
                    yield self._items(waiting, context)
                waiting, waiting_rows = [], 0
        if waiting and number >= skip:
            yield self._items(waiting, context)

    def _items(self, groups: list[tuple[str, list[Row]]], context: Context) -> list[Item]:
        return [Product(self.format, key, rows, context).item(self.width) for key, rows in groups]

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
        body = records(self.blocks, self.encoding)
        next(body)
        for number, cells in body:
            yield Row(number, cells, self.columns)


def open_file(blocks: Blocks, name: str, *, most_rows: int) -> ProductFile:
    """Look through the file once. ``name`` is a key of ``FORMATS``.

    Raises UnreadableFileError: EMPTY_FILE, BINARY_FILE, UNKNOWN_ENCODING, UNCLOSED_QUOTE, CELL_TOO_LARGE, BROKEN_CSV,
    COLUMNS_MISSING, COLUMN_TWICE, NO_PRODUCTS, TOO_MANY_ROWS.
    """
    file_format = FORMATS[name]
    encoding = detect_encoding(blocks)
    body = records(blocks, encoding)
    _, header = next(body, (1, []))
    columns = _columns(file_format, header)
    rows, products, last_rows = _count(body, columns[file_format.key], most_rows)
    if not products:
        raise UnreadableFileError("NO_PRODUCTS", "the file has a header and nothing below it")
    return ProductFile(blocks, file_format, encoding, columns, len(header), rows, products, last_rows)


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


def _count(body: Iterator[tuple[int, list[str]]], key_column: int, most_rows: int) -> tuple[int, int, dict[str, int]]:
    """Rows, products, and the last row of every product whose rows lie apart. Remembers 64-bit hashes of handles, not handles."""
    rows = products = 0
    ended: set[int] = set()
    last_rows: dict[str, int] = {}
    current: str | None = None
    for number, cells in body:
        rows += 1
        if rows > most_rows:
            raise UnreadableFileError("TOO_MANY_ROWS", f"more than {most_rows} rows; split the file")
        handle = cells[key_column].strip() if key_column < len(cells) else ""
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
