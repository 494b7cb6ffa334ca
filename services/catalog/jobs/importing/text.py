"""From bytes to rows of cells: encoding, quoting, lines, and clear refusals of what is no text."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from services.chassis.cells import plain

Blocks = Callable[[], Iterator[bytes]]
"""Opens the file from its beginning, as blocks of bytes; may be called several times."""
CELL_LIMIT: Final = 16 * 2**20
"""Characters in one cell before the file is refused. Far above what a description may hold: that fails its product alone."""
_CHARACTER: Final = re.compile(rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]|[\x81-\xfe][\x40-\xfe]|[\x80-\xff]")
_USUAL_GB: Final = re.compile(rb"[\xa1-\xa9\xb0-\xf7][\xa1-\xfe]|[\x81-\xfe][0-9]..", re.DOTALL)
"""GB2312, or the four bytes of GB18030 that no other text looks like."""
_EVERYDAY_GB: Final = re.compile(rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]")
_EVERYDAY_BIG5: Final = re.compile(rb"[\xa1-\xa3\xa4-\xc6][\x40-\x7e\xa1-\xfe]")
"""Punctuation and the characters that nearly all of a text is written with."""
_ENOUGH: Final = 100_000
"""Characters that tell."""
_FOREIGN: Final = (
    (b"PK\x03\x04", "it is a ZIP or XLSX file (a workbook has the format xlsx)"),
    (b"\xd0\xcf\x11\xe0", "it is an old Excel file"),
    (b"%PDF", "it is a PDF"),
    (b"\xff\xfe", "it is UTF-16"),
    (b"\xfe\xff", "it is UTF-16"),
)


class ErrorCell(str):
    """A cell of a workbook whose formula failed: ``#N/A``."""

    __slots__ = ()


class UnreadableFileError(ValueError):
    """The file as a whole cannot be imported: ``reason`` for programs, the message with the fix for people."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason beside the message."""
        super().__init__(message)
        self.reason, self.message = reason, message


def detect_encoding(blocks: Blocks, wanted: str = "CSV") -> str:
    """``utf-8-sig`` (UTF-8 with or without byte order mark) or ``gb18030``, by strict decoding of the whole file.

    ``wanted``: what the file should be, as the messages call it. GB18030 takes nearly any bytes, so it is believed only where most of its
    characters are those of Chinese text, and Big5 would not make more sense of them.
    Raises UnreadableFileError: EMPTY_FILE, BINARY_FILE, UNKNOWN_ENCODING.
    """
    utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")("strict")
    foreign: str | None = None
    size = 0
    for block in blocks():
        if not size:
            foreign = next((what for magic, what in _FOREIGN if block.startswith(magic)), None)
        if foreign is None and b"\x00" in block:
            foreign = "it holds zero bytes, as no text does"
        if foreign is not None:
            raise UnreadableFileError("BINARY_FILE", f"this is no {wanted} text: {foreign}; save it as {wanted} UTF-8")
        size += len(block)
        utf8 = utf8 if utf8 is not None and _decodes(utf8, block) else None
    if not size:
        raise UnreadableFileError("EMPTY_FILE", f"the file is empty; send a {wanted} file with products")
    if utf8 is not None and _decodes(utf8, b"", final=True):
        return "utf-8-sig"
    if _looks_chinese(blocks) and _is_gb18030(blocks):
        return "gb18030"
    raise UnreadableFileError(
        "UNKNOWN_ENCODING", f"the text is neither UTF-8 nor GB18030 (GBK); save the file as {wanted} UTF-8"
    )


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _is_gb18030(blocks: Blocks) -> bool:
    decoder = codecs.getincrementaldecoder("gb18030")("strict")
    return all(_decodes(decoder, block) for block in blocks()) and _decodes(decoder, b"", final=True)


def _looks_chinese(blocks: Blocks) -> bool:
    found: list[bytes] = []
    for block in blocks():
        found += _CHARACTER.findall(block)
        if len(found) >= _ENOUGH:
            break
    usual, gb, big5 = (sum(map(bool, map(kind.fullmatch, found))) for kind in (_USUAL_GB, _EVERYDAY_GB, _EVERYDAY_BIG5))
    return usual * 2 >= len(found) and (gb >= big5 or usual == len(found))


@dataclass(slots=True)
class Row:
    """One record of the file. ``number`` counts records, the header being 1; ``cells`` are stripped lazily by ``get``.

    ``guarded``: cells that a spreadsheet would take for a formula have an apostrophe before them (``chassis.cells``).
    """

    number: int
    cells: list[str]
    columns: dict[str, int]
    guarded: bool = False

    def get(self, column: str) -> str:
        """The cell under ``column`` (a format's own name for it), stripped; empty where the file has none."""
        index = self.columns.get(column, -1)
        text = self.cells[index].strip() if 0 <= index < len(self.cells) else ""
        return plain(text) if self.guarded and text.startswith("'") else text


class _Lines:
    """Lines of a text stream, remembering whether the reader asked for one more than there are."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream, self.exhausted = stream, False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline()
        if not line:
            self.exhausted = True
            raise StopIteration
        return line


class _BlockStream(io.RawIOBase):
    """Blocks of bytes as a raw stream, for ``io.TextIOWrapper``."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]  # the stub says Buffer; BufferedReader hands a memoryview
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _text(blocks: Blocks, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(_BlockStream(blocks()), 2**16), encoding=encoding, newline="")


def text_lines(blocks: Blocks, encoding: str) -> Iterator[tuple[int, str]]:
    """Every line that is not blank, with its number (the first is 1). Raises UnreadableFileError LINE_TOO_LARGE."""
    stream, number = _text(blocks, encoding), 0
    while line := stream.readline(CELL_LIMIT + 1):
        number += 1
        if len(line) > CELL_LIMIT:
            message = f"line {number} has more than {CELL_LIMIT} characters; write one product a line"
            raise UnreadableFileError("LINE_TOO_LARGE", message)
        if not line.isspace():
            yield number, line


def records(blocks: Blocks, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with its number (the header is 1).

    Raises UnreadableFileError: UNCLOSED_QUOTE, CELL_TOO_LARGE, BROKEN_CSV.
    """
    csv.field_size_limit(CELL_LIMIT)
    lines = _Lines(_text(blocks, encoding))
    number = 1
    try:
        for cells in csv.reader(lines):
            if lines.exhausted:
                message = f"row {number} opens a quotation mark that is never closed; close it, or double quotation marks inside the text"
                raise UnreadableFileError("UNCLOSED_QUOTE", message)
            if any(cells) and not all(cell.isspace() or not cell for cell in cells):
                yield number, cells
            number += 1
    except csv.Error as error:
        if "field larger than field limit" in str(error):
            message = f"row {number} has a cell of more than {CELL_LIMIT} characters; shorten it, or close its quotation marks"
            raise UnreadableFileError("CELL_TOO_LARGE", message) from error
        raise UnreadableFileError("BROKEN_CSV", f"row {number} is no CSV ({error}); export the file again") from error
