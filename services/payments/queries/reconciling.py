"""What is told of a day's reconciliation."""

from typing import Any, Final

from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.store import Store
from services.payments.store.reconciling import page, report

PAGE: Final = 100
LONGEST_PAGE: Final = 500


def reconciliation(
    store: Store, cst_day: str, after: str, wanted: int
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """A day's report, a page of its differences, and the id after which the next page begins (empty: nowhere).

    Raises Refusal NOT_FOUND.
    """
    row = store.reconciliations.find_one({"_id": cst_day})
    if row is None:
        raise not_found("reconciliation", cst_day)
    size = min(wanted, LONGEST_PAGE) if wanted > 0 else PAGE
    found = page(store, cst_day, after, size + 1)
    rest = str(found[size - 1]["_id"]) if len(found) > size else ""
    return report(store, row), [difference_view(one) for one in found[:size]], rest


def difference_view(row: Document) -> dict[str, Any]:
    """A difference as the API shows it."""
    told = {name: value for name, value in row.items() if name not in ("_id", "day", "other_day", "created_at")}
    renamed = {"difference_id": row["_id"], "date": row["day"], "other_date": row["other_day"]}
    return {**told, **renamed, "found_at": row["created_at"]}
