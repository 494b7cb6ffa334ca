"""Questions about imports."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from services.catalog.model import imports
from services.catalog.queries import views
from services.catalog.store import Store
from services.chassis import cells
from services.chassis.errors import not_found
from services.chassis.mongo import Document

CHUNKS_AT_ONCE: Final = 8
ROWS_A_PIECE: Final = 1000
COLUMNS: Final = ("row", "external_id", "product_id", "outcome", "field", "reason", "message")
"""Of the results as a file."""


def job(store: Store, shop_id: str, import_id: str) -> Document:
    """The import, if it is the shop's. Raises Refusal NOT_FOUND."""
    return views.job(_own(store, shop_id, import_id))


def jobs(store: Store, shop_id: str, before: str | None, size: int) -> tuple[list[Document], str | None]:
    """The shop's imports newest first, and the position after which the next page begins."""
    rows = store.page("imports", shop_id, before, size + 1)
    shown = rows[:size]
    return [views.job(row) for row in shown], shown[-1]["position"] if len(rows) > size else None


def results(
    store: Store, shop_id: str, import_id: str, outcome: str, after: tuple[int, int] | None, size: int
) -> tuple[list[Document], tuple[int, int] | None]:
    """Results in file order after (chunk, place in it), and where the next page begins. Raises Refusal NOT_FOUND."""
    row = _own(store, shop_id, import_id)
    chunk, place = after or (0, -1)
    found: list[tuple[tuple[int, int], Document]] = []
    for number, results_of_chunk in _chunks(store, row, chunk):
        for position, result in enumerate(results_of_chunk):
            shown = _shown(row, result)
            if (number, position) > (chunk, place) and outcome in ("", shown[0]["outcome"]):
                found.append(((number, position), shown[0]))
                found += [((number, position), more) for more in shown[1:]]
        if len({at for at, _ in found}) > size:
            break
    places = sorted({at for at, _ in found})[:size]
    kept = [result for at, result in found if at in set(places)]
    more = len({at for at, _ in found}) > size
    return kept, places[-1] if more else None


def results_csv(
    store: Store, shop_id: str, import_id: str, outcome: str, after: tuple[int, int] | None
) -> tuple[bytes, tuple[int, int] | None]:
    """A piece of the results as CSV (UTF-8 with a byte order mark, header first), and where the next begins. Raises Refusal NOT_FOUND."""
    found, last = results(store, shop_id, import_id, outcome, after, ROWS_A_PIECE)
    out = io.StringIO()
    lines = csv.writer(out)
    if after is None:
        out.write("\ufeff")
        lines.writerow(COLUMNS)
    lines.writerows([cells.safe(str(row.get(column, ""))) for column in COLUMNS] for row in found)
    return out.getvalue().encode(), last


def _chunks(store: Store, row: Document, first: int) -> Iterator[tuple[int, list[Document]]]:
    """Chunks by their derived ids, a few at a time: no sort, no range."""
    for start in range(first, row["next_chunk"], CHUNKS_AT_ONCE):
        numbers = range(start, min(start + CHUNKS_AT_ONCE, row["next_chunk"]))
        wanted = [imports.chunk_id(row["_id"], row["phase"], number) for number in numbers]
        found = {
            chunk["number"]: chunk["results"]
            for chunk in store.chunks.find({"_id": {"$in": wanted}}, {"number": 1, "results": 1})
        }
        yield from ((number, found[number]) for number in numbers if number in found)


def _shown(row: Document, result: Document) -> list[Document]:
    """One row for each thing wrong, or one. What was only checked and then rejected with the file was not applied."""
    plain = {name: result[name] for name in ("row", "external_id", "product_id", "outcome")}
    if (
        row["phase"] == imports.CHECK
        and row["state"] == "failed"
        and not row["dry_run"]
        and plain["outcome"] != "failed"
    ):
        plain["outcome"] = "skipped"
    return [{**plain, **problem} for problem in result.get("problems", ())] or [plain]


def _own(store: Store, shop_id: str, import_id: str) -> Document:
    row = store.imports.find_one({"_id": import_id})
    if row is None or row["shop_id"] != shop_id:
        raise not_found("import", import_id)
    return row
