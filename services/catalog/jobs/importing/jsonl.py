"""``jsonl``: one product a line, in the shape that ``POST /v1/products:bulkUpsert`` takes. Everything wrong is told by line and path."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from jishi.catalog.v1 import products_pb2

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.text import Blocks, UnreadableFileError, detect_encoding, text_lines
from services.catalog.model.chunks import PROBLEMS_TOLD, Item, RowProblem
from services.catalog.model.items import item_of
from services.chassis import codec
from services.chassis.errors import Refusal


@dataclass(frozen=True, slots=True)
class JsonLines:
    """The file. ``rows`` and ``products`` count lines; ``again``: lines whose external_id an earlier line has, in order."""

    blocks: Blocks
    encoding: str
    rows: int
    products: int
    again: "array[int]"

    @property
    def shape(self) -> dict[str, Any]:
        """See ``reading.ProductFile``: a line tells all."""
        return {}

    def pieces(self) -> Iterator[tuple[int, int, Any]]:
        """See ``reading.ProductFile``: [line number, line, whether an earlier one has its id]; a line counts a row for each SKU."""
        again = set(self.again)
        for place, line in text_lines(self.blocks, self.encoding):
            yield place, max(1, line.count('"price"')), [place, line, place in again]

    def close(self) -> None:
        """Nothing was put aside."""


def open_lines(blocks: Blocks, *, most_rows: int) -> JsonLines:
    """Look through the file once.

    Raises UnreadableFileError: EMPTY_FILE, BINARY_FILE, UNKNOWN_ENCODING, NOT_JSONL, LINE_TOO_LARGE, NO_PRODUCTS, TOO_MANY_ROWS.
    """
    encoding = detect_encoding(blocks, "JSONL")
    seen: set[int] = set()
    again, rows = array("Q"), 0
    for place, line in text_lines(blocks, encoding):
        if not rows and not line.lstrip().startswith("{"):
            message = "the first line is no JSON object; write one product a line, each in {}, without [ ] around them"
            raise UnreadableFileError("NOT_JSONL", message)
        rows += 1
        if rows > most_rows:
            raise UnreadableFileError("TOO_MANY_ROWS", f"more than {most_rows} lines; split the file")
        key = _key(line)
        if key and hash(key) in seen:
            again.append(place)
        seen.add(hash(key))
    if not rows:
        raise UnreadableFileError("NO_PRODUCTS", "the file has no line that is not blank")
    return JsonLines(blocks, encoding, rows, rows, again)


def _key(line: str) -> str:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    key = found.get("external_id") if isinstance(found, dict) else ""
    return key.strip() if isinstance(key, str) else ""


def line_item(data: Any, context: Context) -> Item:
    """The product of a line."""
    place, line, twice = data
    try:
        raw: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _failed(place, "", "JSON_INVALID", f"line {place} is no JSON ({error}); write one product a line")
    if not isinstance(raw, dict):
        return _failed(place, "", "JSON_INVALID", f"line {place} is no JSON object; write one product a line, in {{}}")
    key = _key(line)
    if twice:
        return _failed(place, key, "DUPLICATE_ITEM", f"{key} stands on an earlier line too; write each product once")
    try:
        plain = codec.to_plain(codec.from_json(products_pb2.ProductInput, raw))
    except Refusal as refusal:
        wrong = [RowProblem(place, each.field, "FIELD_INVALID", each.message) for each in refusal.violations]
        return Item(key, place, None, tuple(wrong[:PROBLEMS_TOLD]))
    return item_of(place, plain, context.tree, context.limits)


def _failed(place: int, key: str, reason: str, message: str) -> Item:
    return Item(key, place, None, (RowProblem(place, "external_id" if key else "", reason, message),))
