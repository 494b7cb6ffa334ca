"""An XLSX workbook as rows of texts: the first sheet, streamed out of its ZIP, in bounded memory.

Read with expat from the standard library. The libraries for it build the whole sheet at once (measured: python-calamine 0.9.1 takes
250 MB for 100,000 rows, and one cell in the last corner of an empty sheet, 5 KB of file, ends its process).
"""

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from services.catalog.jobs.importing.parts import SEND, broken, date_styles, fed, parts_of
from services.catalog.jobs.importing.sheet import SheetParser, Texts, strings_of
from services.catalog.jobs.importing.text import Blocks, UnreadableFileError

SMALL: Final = 16 * 2**20
"""Bytes unpacked below which nobody minds how well they were packed."""
_MAGIC: Final = b"PK\x03\x04"
_OLD: Final = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True, slots=True)
class WorkbookLimits:
    """What a workbook may hold: parts in its ZIP, how many times it may grow, and bytes after that. Policy, like all limits."""

    entries: int
    ratio: int
    bytes: int


class Workbook:
    """The first sheet of one workbook; the file lies in a temporary file that ``close`` removes."""

    def __init__(self, blocks: Blocks, limits: WorkbookLimits, step: Callable[[], None]) -> None:
        """``step`` is called every few milliseconds of reading.

        Raises UnreadableFileError: EMPTY_FILE, NOT_A_WORKBOOK, BROKEN_WORKBOOK, ZIP_BOMB, before any of it is unpacked.
        """
        self._step = step
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._texts: Texts | None = None
        try:
            _copied(blocks, self._file)
            self._zip = _opened(self._file)
            _check_size(self._zip, limits)
            self._sheet, self._styles, self._strings, self._from_1904 = parts_of(self._zip)
            self._dates = date_styles(self._zip, self._styles)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Remove the temporary files."""
        if self._texts is not None:
            self._texts.close()
        self._file.close()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows that hold something, with their numbers in the sheet. May be called several times.

        Raises UnreadableFileError: BROKEN_WORKBOOK, CELL_TOO_LARGE.
        """
        if self._texts is None:
            self._texts = Texts(strings_of(self._zip, self._strings, self._step) if self._strings else ())
        parser = SheetParser(self._texts, self._dates, from_1904=self._from_1904)
        for _ in fed(self._zip, self._sheet, parser.parser):
            self._step()
            yield from parser.taken()
        yield from parser.taken()


def _copied(blocks: Blocks, file: IO[bytes]) -> None:
    size = 0
    for block in blocks():
        if not size and block.startswith(_OLD):
            message = f"this is an old Excel file (XLS), or one with a password; {SEND}"
            raise UnreadableFileError("NOT_A_WORKBOOK", message)
        if not size and not block.startswith(_MAGIC):
            raise UnreadableFileError("NOT_A_WORKBOOK", f"this is no XLSX file, whatever it is called; {SEND}")
        size += len(block)
        file.write(block)
    if not size:
        raise UnreadableFileError("EMPTY_FILE", "the file is empty; send a workbook with a header row")


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise broken(error) from error


def _check_size(archive: zipfile.ZipFile, limits: WorkbookLimits) -> None:
    """What the directory announces; ``zipfile`` gives no more bytes of a part than that."""
    found = archive.infolist()
    unpacked, packed = sum(part.file_size for part in found), sum(part.compress_size for part in found)
    if len(found) > limits.entries:
        why = f"it holds {len(found)} parts, more than {limits.entries}"
    elif unpacked > limits.bytes:
        why = f"it would unpack to {unpacked} bytes, more than {limits.bytes}"
    elif unpacked > SMALL and unpacked > packed * limits.ratio:
        why = f"it would grow from {packed} to {unpacked} bytes, more than {limits.ratio} times"
    elif len({part.filename for part in found}) != len(found):
        why = "it holds two parts of one name"
    else:
        return
    raise UnreadableFileError("ZIP_BOMB", f"the workbook is not opened: {why}; split it, or send the sheet as CSV")
