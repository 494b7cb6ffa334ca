"""Questions about sale windows."""

from services.catalog.model.windows import unit_id
from services.catalog.queries import views
from services.catalog.store import Store
from services.chassis import clock
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def window(store: Store, shop_id: str, window_id: str) -> Document:
    """A window of the shop with what it has sold. Raises Refusal NOT_FOUND."""
    row = store.windows.find_one({"_id": window_id})
    if row is None or row["shop_id"] != shop_id:
        raise not_found("sale window", window_id)
    return _counted(store, [row])[0]


def windows(
    store: Store, shop_id: str, product_id: str, before: str | None, size: int
) -> tuple[list[Document], str | None]:
    """The shop's windows (of one product, where one is said) newest first, and the position after which the next page begins."""
    rows = store.page("windows", shop_id, before, size + 1, product_id=product_id)
    shown = rows[:size]
    return _counted(store, shown), shown[-1]["position"] if len(rows) > size else None


def _counted(store: Store, rows: list[Document]) -> list[Document]:
    units = store.units(unit_id(row["_id"], item["sku_id"]) for row in rows for item in row["items"])
    now = clock.business()
    shown = []
    for row in rows:
        found = views.window(row, now)
        found["items"] = [
            {**item, "taken": units[unit_id(row["_id"], item["sku_id"])]["taken"]} for item in row["items"]
        ]
        shown.append(found)
    return shown
