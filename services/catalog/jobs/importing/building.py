"""What the two formats share: collecting everything wrong with a product, and telling it by row and column of the file."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from services.catalog.jobs.importing.cells import CellError
from services.catalog.jobs.importing.markup import Block, detail_blocks
from services.catalog.jobs.importing.text import ErrorCell, Row
from services.catalog.model.categories import Tree
from services.catalog.model.chunks import PROBLEMS_TOLD, Item, RowProblem
from services.catalog.model.products import Limits, Problem, ProductDraft, validate

T = TypeVar("T")
_JUDGED_LATER: Final = ("category_id", "freight.template_id", "weight_g", "volume_cm3")
"""Fields that are judged when a chunk is planned: against the product as it is, and the shop's freight templates."""
_PATH: Final = re.compile(r"(?:skus\[(\d+)\]\.)?(\w+)")


@dataclass(slots=True)
class Context:
    """What a file is read for: the shop's currency (ISO 4217), the category tree, the limits in force.

    The tree may be another one from one chunk to the next, never within a chunk.
    """

    currency: str
    tree: Tree
    limits: Limits


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: header names by our own column name (first one is the official one), what must be there, how a product is built.

    ``shown`` maps a field of a draft to the column that tells it, for problems that validation finds; ``guarded``: see ``text.Row``.
    """

    name: str
    headers: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    key: str
    shown: Mapping[str, str]
    build: Callable[["Product"], ProductDraft | None]
    guarded: bool = False


class Product:
    """The rows of one product while it is being built; remembers what is wrong with them."""

    def __init__(self, file_format: Format, key: str, rows: list[Row], context: Context) -> None:
        """``rows`` are all rows of the product in file order."""
        self.format, self.key, self.rows, self.context = file_format, key, rows, context
        self.problems: list[RowProblem] = []

    def fail(self, row: Row, column: str, reason: str, message: str) -> None:
        """Note that ``column`` (our own name) of ``row`` is wrong."""
        self.problems.append(RowProblem(row.number, self._header(column), reason, message))

    def read(self, row: Row, column: str, parse: Callable[[str], T], missing: T) -> T:
        """The parsed cell; ``missing`` where it is empty or wrong (which is noted)."""
        text = row.get(column)
        if not text:
            return missing
        try:
            return parse(text)
        except CellError as error:
            self.fail(row, column, error.reason, error.message)
            return missing

    def detail(self, column: str, source: str) -> tuple[Block, ...]:
        """The blocks of a description; none where it is too long to be read (which is noted)."""
        most = self.context.limits.html
        if len(source) <= most:
            return detail_blocks(source)
        message = f"{len(source)} characters of HTML are more than the {most} allowed; shorten it"
        self.fail(self.rows[0], column, "TOO_LONG", message)
        return ()

    def item(self, cells: int) -> Item:
        """The finished product: its draft, or everything that is wrong with it. ``cells`` is the width of the header."""
        first = self.rows[0]
        if not self.key:
            self.fail(first, self.format.key, "REQUIRED", "every row needs the id of its product")
        for row in self.rows:
            if len(row.cells) > cells and any(cell.strip() for cell in row.cells[cells:]):
                message = f"{len(row.cells)} cells where the header has {cells}; put quotation marks around cells that hold commas"
                self.fail(row, self.format.key, "TOO_MANY_CELLS", message)
            self._check_formulas(row)
        draft = None if self.problems else self.format.build(self)
        if draft is not None and not self.problems:
            self.problems += [
                self._located(problem, draft) for problem in validate(draft, self.context.tree, self.context.limits)
            ]
        if self.problems:
            return Item(self.key, first.number, None, tuple(self.problems[:PROBLEMS_TOLD]))
        return Item(
            self.key,
            first.number,
            draft,
            code_field=self._header(self.format.shown.get("merchant_sku", "merchant_sku")),
            columns={field: self._header(self.format.shown.get(field, field)) for field in _JUDGED_LATER},
        )

    def _check_formulas(self, row: Row) -> None:
        for column, index in row.columns.items():
            if index < len(row.cells) and isinstance(row.cells[index], ErrorCell):
                self.fail(
                    row,
                    column,
                    "CELL_ERROR",
                    f"the cell shows {row.cells[index]}; mend its formula, or write the value",
                )

    def _located(self, problem: Problem, draft: ProductDraft) -> RowProblem:
        path = _PATH.match(problem.field)
        number, field = (path[1], path[2]) if path else (None, problem.field)
        row = draft.skus[int(number)].row if number is not None else self.rows[0].number
        column = self.format.shown.get(problem.field) or self.format.shown.get(field, field)
        return RowProblem(row, self._header(column), problem.reason, problem.message)

    def _header(self, column: str) -> str:
        return self.format.headers[column][0] if column in self.format.headers else column
