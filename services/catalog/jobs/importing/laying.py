"""A file laid out: one line for each of its products, in the order in which they are applied, whatever the format they came in.

It is written once, while the file is looked through, and kept beside it; so an import goes on at a byte, without reading again what lies
before it, and a workbook is unpacked once. A line holds ``[row, rows, data]``: where the product begins in the file, how many rows it
counts, and what its format builds it from.
"""

import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.jsonl import line_item
from services.catalog.jobs.importing.reading import FORMATS, JSONL, ProductFile, table_item
from services.catalog.jobs.importing.text import ErrorCell
from services.catalog.model.chunks import Item

BLOCK: Final = 2**20
"""Bytes of lines in a block, before it is packed."""


def packed(file: ProductFile) -> Iterator[bytes]:
    """The lines of all products of ``file`` in blocks to be kept, each of ``BLOCK`` bytes before it was packed (the last may be shorter)."""
    waiting = bytearray()
    for row, rows, data in file.pieces():
        waiting += orjson.dumps([row, rows, data], default=_cell, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
        waiting += b"\n"
        while len(waiting) >= BLOCK:
            yield zlib.compress(waiting[:BLOCK], 1)
            del waiting[:BLOCK]
    if waiting:
        yield zlib.compress(waiting, 1)


def _cell(cell: object) -> dict[str, str]:
    """A cell that is more than its text."""
    if isinstance(cell, ErrorCell):
        return {"error": "".join(cell)}
    raise TypeError(type(cell))


@dataclass(frozen=True, slots=True)
class LaidFile:
    """The blocks of a file that was laid out. ``blocks``: those from a number on; ``build``: an item from the data of a line."""

    blocks: Callable[[int], Iterator[bytes]]
    build: Callable[[Any, Context], Item]

    def chunks(
        self, context: Context, *, products: int, rows: int, place: int = 0, only: Container[int] | None = None
    ) -> Iterator[tuple[list[Item], int]]:
        """Items of at most ``products`` products or about ``rows`` rows at a time, from the byte ``place`` on, and the place behind them.

        ``only``: rows; no other products than those that begin there.
        """
        waiting, waiting_rows = [], 0  # type: list[Any], int
        for line in self._lines(place):
            place += len(line) + 1
            row, counted, data = orjson.loads(line)
            if only is not None and row not in only:
                continue
            waiting.append(data)
            waiting_rows += counted
            if len(waiting) >= products or waiting_rows >= rows:
                yield [self.build(each, context) for each in waiting], place
                waiting, waiting_rows = [], 0
        if waiting:
            yield [self.build(each, context) for each in waiting], place

    def _lines(self, place: int) -> Iterator[bytes]:
        number, inside = divmod(place, BLOCK)
        rest: list[bytes] = []
        for block in self.blocks(number):
            first, *lines = zlib.decompress(block)[inside:].split(b"\n")
            inside = 0
            rest.append(first)
            if lines:
                yield b"".join(rest)
                yield from lines[:-1]
                rest = [lines[-1]]


def builder(name: str, shape: Any) -> Callable[[Any, Context], Item]:
    """How the format called ``name`` builds an item. ``shape``: that of the file, as ``ProductFile.shape`` told it."""
    if name == JSONL:
        return line_item
    columns, width, file_format = dict(shape["columns"]), int(shape["width"]), FORMATS[name]
    return lambda data, context: table_item(data, context, file_format, columns, width)
