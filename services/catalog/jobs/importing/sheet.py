"""The cells of a sheet as texts, row by row (ECMA-376 part 1, 18.3 and 18.4): types s, str, inlineStr, b, e, d and n."""

import io
import re
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import IO, Final

from services.catalog.jobs.importing.parts import broken, fed, local_name, parser_of, whole
from services.catalog.jobs.importing.text import CELL_LIMIT, ErrorCell, UnreadableFileError

WIDTH: Final = 500
"""Columns that are looked at; a product file has some forty."""
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_EPOCHS: Final = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 - a cell has no zone


def strings_of(archive: zipfile.ZipFile, part: str, step: Callable[[], None]) -> Iterator[str]:
    """The shared strings in order; a guide to the pronunciation (rPh) is left out."""
    done: list[str] = []
    pieces: list[str] = []
    depth, size = {"t": 0, "rPh": 0}, [0]

    def start(name: str, _attributes: dict[str, str]) -> None:
        local = local_name(name)
        if local == "si":
            pieces.clear()
            size[0] = 0
        elif local in depth:
            depth[local] += 1

    def end(name: str) -> None:
        local = local_name(name)
        if local == "si":
            done.append(_plain("".join(pieces)))
        elif local in depth:
            depth[local] -= 1

    def text(data: str) -> None:
        if depth["t"] and not depth["rPh"]:
            size[0] += len(data)
            _check_cell(size[0], f"string {len(done) + 1}")
            pieces.append(data)

    parser = parser_of(start)
    parser.EndElementHandler, parser.CharacterDataHandler = end, text
    for _ in fed(archive, part, parser):
        step()
        yield from done
        done.clear()
    yield from done


def _check_cell(size: int, where: str) -> None:
    if size > CELL_LIMIT:
        raise UnreadableFileError("CELL_TOO_LARGE", f"{where} has more than {CELL_LIMIT} characters; shorten it")


def _plain(text: str) -> str:
    """``_x000D_`` stands for the character of that number (ST_Xstring, 22.9.2.19)."""
    return _ESCAPED.sub(lambda found: _character(int(found[1], 16)), text) if "_x" in text else text


def _character(number: int) -> str:
    return "\ufffd" if 0xD800 <= number < 0xE000 else chr(number)


class Texts:
    """The shared strings by number: in a temporary file, because a big workbook has as many as it has cells."""

    def __init__(self, texts: "Iterator[str] | tuple[()]") -> None:
        """Takes them all in."""
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._ends = array("Q", [0])
        end = 0
        out = io.BufferedWriter(self._file)
        for text in texts:
            end += out.write(text.encode("utf-8", "replace"))
            self._ends.append(end)
        out.flush()
        out.detach()
        self._known: dict[int, str] = {}

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def get(self, number: int) -> str:
        """The string; raises UnreadableFileError for a number that there is none of."""
        found = self._known.get(number)
        if found is not None:
            return found
        if not 0 <= number < len(self._ends) - 1:
            raise broken(f"a cell points to string {number}, and there are {len(self._ends) - 1}")
        begin, end = self._ends[number], self._ends[number + 1]
        self._file.seek(begin)
        text = self._file.read(end - begin).decode()
        if len(text) <= 100:
            if len(self._known) >= 20_000:
                self._known.clear()
            self._known[number] = text
        return text


class SheetParser:
    """Collects the cells of a sheet row by row while expat goes through it."""

    def __init__(self, texts: Texts, dates: frozenset[int], *, from_1904: bool) -> None:
        self._get, self._dates, self._epoch = texts.get, dates, _EPOCHS[from_1904]
        self.parser = parser_of(self._start)
        self.parser.EndElementHandler, self.parser.CharacterDataHandler = self._end, self._text
        self._rows: list[tuple[int, list[str]]] = []
        self._row, self._column, self._cells = 0, -1, []  # type: int, int, list[str]
        self._kind, self._style, self._pieces, self._size = "n", 0, [], 0  # type: str, int, list[str], int
        self._collecting = self._phonetic = False

    def taken(self) -> list[tuple[int, list[str]]]:
        """The rows that are complete, once."""
        rows, self._rows = self._rows, []
        return rows

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = local_name(name)
        if local == "c":
            reference = attributes.get("r")
            self._column = _column(reference) if reference else self._column + 1
            self._kind, self._style = attributes.get("t", "n"), whole(attributes.get("s"))
            self._pieces, self._size = [], 0
        elif local in ("v", "t"):
            self._collecting = not self._phonetic
        elif local == "rPh":
            self._phonetic = True
        elif local == "row":
            self._row = whole(attributes.get("r")) or self._row + 1
            self._column, self._cells = -1, []

    def _text(self, data: str) -> None:
        if self._collecting:
            self._size += len(data)
            _check_cell(self._size, f"a cell of row {self._row}")
            self._pieces.append(data)

    def _end(self, name: str) -> None:
        local = local_name(name)
        if local in ("v", "t"):
            self._collecting = False
        elif local == "rPh":
            self._phonetic = False
        elif local == "c" and self._pieces:
            text = self._value("".join(self._pieces))
            place = min(self._column, WIDTH)
            if text:
                self._cells += [""] * (place + 1 - len(self._cells))
                self._cells[place] = text
        elif local == "row" and any(cell.strip() for cell in self._cells):
            self._rows.append((self._row, self._cells))

    def _value(self, raw: str) -> str:
        if self._kind == "s":
            return self._get(whole(raw.strip()) if raw.strip().isdecimal() else -1)
        if self._kind in ("str", "inlineStr"):
            return _plain(raw)
        if self._kind == "b":
            return "true" if raw.strip() == "1" else "false"
        if self._kind == "e":
            return ErrorCell(raw)
        if self._kind == "d":
            return raw
        return number_text(raw) if self._style not in self._dates else self._date(raw)

    def _date(self, raw: str) -> str:
        try:
            moment = self._epoch + timedelta(seconds=round(float(raw) * 86_400))
        except (ValueError, OverflowError):
            return number_text(raw)
        return (
            moment.date().isoformat() if not (moment.hour or moment.minute or moment.second) else moment.isoformat(" ")
        )


def number_text(raw: str) -> str:
    """A number as a person typed it: ``3``, ``19.9``.

    A spreadsheet keeps numbers as binary fractions and may write 1.1 as ``1.1000000000000001``; the shortest decimal that is the same
    binary fraction is what was typed (exact up to 15 digits, all that a spreadsheet keeps).
    """
    try:
        number = float(raw)
        return f"{Decimal(repr(number)).normalize():f}" if abs(number) < 1e16 else raw.strip()
    except (ValueError, ArithmeticError):
        return raw.strip()


def _column(reference: str) -> int:
    """``AB12`` → 27."""
    number = 0
    for letter in reference:
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
        if number > WIDTH:
            return WIDTH
    return max(number - 1, 0)
