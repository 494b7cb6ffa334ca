"""Rows of a bench: JSON lines as they come, a table at the end."""

import json
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Row:
    """One figure. ``goal`` is met when ``value`` is at least (or at most) it; None: only told."""

    name: str
    value: float | None
    unit: str
    goal: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none or it was not measured."""
        if self.goal is None or self.value is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


@dataclass
class Report:
    """All rows of one run."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float | None,
        unit: str,
        goal: float | None = None,
        *,
        at_most: bool = False,
        note: str = "",
    ) -> None:
        """Add and print one row as a JSON line."""
        rounded = None if value is None else round(value, 3)
        row = Row(name, rounded, unit, goal, at_most, note)
        self.rows.append(row)
        print(json.dumps({**asdict(row), "met": row.met}, ensure_ascii=False), flush=True)

    def table(self) -> None:
        """Print all rows as a table."""
        table = Table(title="jishi bench: ratios of one run on this machine")
        for column in ("figure", "value", "unit", "goal", "met", "note"):
            table.add_column(column, justify="right" if column in ("value", "goal") else "left")
        for row in self.rows:
            value = "not measured" if row.value is None else f"{row.value:,.2f}"
            goal = "" if row.goal is None else ("≤ " if row.at_most else "≥ ") + f"{row.goal:g}"
            met = {True: "[green]yes", False: "[red]no", None: ""}[row.met]
            table.add_row(row.name, value, row.unit, goal, met, row.note)
        Console().print(table)
