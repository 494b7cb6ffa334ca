"""An export job: queued → running → completed | failed."""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis.errors import Refusal, Violation, wrong_state

FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "jishi-csv": ("csv", "text/csv; charset=utf-8"),
    "jsonl": ("jsonl", "application/x-ndjson"),
    "xlsx": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}
"""Format → extension and media type."""
STATES: Final = ("", "draft", "listed", "delisted")
WORKING: Final = frozenset({"queued", "running"})
OVER: Final = ("next_at", "working_for")
"""What a job has only while it is to be worked on."""


def check_options(file_format: str, product_state: str) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    found: list[Violation] = []
    if file_format not in FORMATS:
        found.append(Violation("format", f"must be one of {', '.join(FORMATS)}"))
    if product_state not in STATES:
        found.append(Violation("product_state", f"must be one of {', '.join(STATES[1:])}, or left out for all"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def check_ready(job: Mapping[str, Any]) -> None:
    """Whether there is a file. Raises Refusal WRONG_STATE."""
    if job["state"] != "completed":
        raise wrong_state("export", job["_id"], job["state"], "completed")
