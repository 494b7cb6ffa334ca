"""The parts of a workbook: XML in a ZIP, read by expat piece by piece (ECMA-376 parts 1 and 2)."""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.parsers import expat

from services.catalog.jobs.importing.text import UnreadableFileError

READ: Final = 2**16
_DATES: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""Number formats of the standard that show a date or a time (18.8.30)."""
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
SEND: Final = "send it again as XLSX, saved by a spreadsheet program"


def broken(why: object) -> UnreadableFileError:
    """The refusal of a workbook that cannot be read to its end."""
    return UnreadableFileError("BROKEN_WORKBOOK", f"the workbook is cut off or damaged ({why}); {SEND}")


def parser_of(start: Callable[[str, dict[str, str]], None]) -> Any:
    """A parser that tells of each element, and takes no document type."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _no_doctype
    return parser


def _no_doctype(*_: object) -> None:
    raise broken("it declares a document type, as no spreadsheet program does")


def local_name(name: str) -> str:
    """The name without its namespace."""
    return name.rpartition(" ")[2]


def fed(archive: zipfile.ZipFile, part: str, parser: Any) -> Iterator[None]:
    """Feed a part to a parser, piece by piece."""
    try:
        with archive.open(part) as stream:
            while piece := stream.read(READ):
                parser.Parse(piece, False)
                yield
            parser.Parse(b"", True)
    except (expat.ExpatError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, OSError) as error:
        raise broken(error) from error
    except (NotImplementedError, UnicodeError) as error:
        raise broken(error) from error


def _attributes(archive: zipfile.ZipFile, part: str, wanted: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """(element, its attributes by local name) in order, for the elements asked for."""
    found: list[tuple[str, dict[str, str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if (local := local_name(name)) in wanted:
            found.append((local, {local_name(key): value for key, value in attributes.items()}))

    for _ in fed(archive, part, parser_of(start)):
        pass
    return found


def parts_of(archive: zipfile.ZipFile) -> tuple[str, str, str, bool]:
    """Names of the first sheet, the styles, the strings ("" where there are none), and whether dates count from 1904."""
    roots = [
        found["Target"]
        for _, found in _attributes(archive, "_rels/.rels", ("Relationship",))
        if _is(found, "officeDocument")
    ]
    if not roots:
        raise broken("it has no workbook inside")
    book = roots[0].lstrip("/")
    folder, name = posixpath.split(book)
    links = _attributes(archive, posixpath.join(folder, "_rels", f"{name}.rels"), ("Relationship",))
    said = _attributes(archive, book, ("sheet", "workbookPr"))
    targets = {
        found["Id"]: _inside(folder, found["Target"]) for _, found in links if "Id" in found and "Target" in found
    }
    sheets = [targets.get(found.get("id", ""), "") for element, found in said if element == "sheet"]
    if not sheets or not sheets[0]:
        raise broken("it has no sheet")
    from_1904 = any(found.get("date1904") in ("1", "true") for element, found in said if element == "workbookPr")
    names = set(archive.namelist())
    others = [
        next(
            (
                part
                for _, found in links
                if _is(found, kind) and (part := _inside(folder, found.get("Target", ""))) in names
            ),
            "",
        )
        for kind in ("styles", "sharedStrings")
    ]
    return sheets[0], others[0], others[1], from_1904


def _is(link: dict[str, str], kind: str) -> bool:
    return link.get("Type", "").endswith(f"/{kind}") and "Target" in link


def _inside(folder: str, target: str) -> str:
    return posixpath.normpath(target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target))


def date_styles(archive: zipfile.ZipFile, part: str) -> frozenset[int]:
    """Numbers of the cell styles that show a date."""
    if not part:
        return frozenset()
    shown: dict[int, bool] = {}
    styles: list[int] = []
    inside = {"cellXfs": False}

    def start(name: str, attributes: dict[str, str]) -> None:
        local = local_name(name)
        if local in ("cellXfs", "cellStyleXfs", "dxfs"):
            inside["cellXfs"] = local == "cellXfs"
        elif local == "numFmt":
            shown[whole(attributes.get("numFmtId"))] = _shows_date(attributes.get("formatCode", ""))
        elif local == "xf" and inside["cellXfs"]:
            styles.append(whole(attributes.get("numFmtId")))

    for _ in fed(archive, part, parser_of(start)):
        pass
    return frozenset(n for n, form in enumerate(styles) if shown.get(form, form in _DATES))


def whole(text: str | None) -> int:
    """The number, 0 for what is none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _shows_date(code: str) -> bool:
    return any(letter in _QUOTED.sub("", code).casefold() for letter in "ymdhs")
