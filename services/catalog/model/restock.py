"""Changes of stock in bulk: deltas, and sets that hold only while on hand is what the caller believes. Each once, for ever, under its id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.catalog.model.bulk import Results, SkuRef, ambiguous
from services.catalog.model.products import Problem

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StockItem:
    """One change: ``delta`` is added to what is on hand, or ``quantity`` becomes it if it is ``expected`` now."""

    ref: SkuRef
    request_id: str = ""
    delta: int = 0
    quantity: int | None = None
    expected: int | None = None


@dataclass(slots=True)
class StockPlan:
    """Every write of a bulk call: movement rows, and one guarded update a SKU as (condition, update)."""

    results: Results
    movements: list[dict[str, Any]] = field(default_factory=list)
    updates: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)


@dataclass(slots=True)
class _Level:
    """The stock of one SKU while the items are gone through."""

    before: Document
    on_hand: int
    reserved: int
    was_set: bool = False

    def update(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What became of it: as it was read where something was set, else wherever enough is there."""
        delta = self.on_hand - self.before["on_hand"]
        guard: dict[str, Any] = {"_id": self.before["_id"]}
        if self.was_set:
            guard |= {"on_hand": self.before["on_hand"], "reserved": {"$lte": self.on_hand}}
        elif delta < 0:
            guard["available"] = {"$gte": -delta}
        return guard, {"$inc": {"on_hand": delta, "available": delta}}


def plan_stock(
    items: Sequence[StockItem],
    rows: Sequence[dict[str, Any]],
    stock: Mapping[SkuRef, Document],
    before: Mapping[str, Document],
    most: int,
    results: Results,
) -> StockPlan:
    """Go through the items in order.

    ``rows``: the movement row of each item as it would be written (its ``_id`` under which it happens once); ``stock``: the stock rows
    of the shop by how items name them; ``before``: movement rows that are there already; ``most``: how much a SKU may hold.
    """
    out = StockPlan(results)
    levels: dict[str, _Level] = {}
    done = dict(before)
    for item, row in zip(items, rows, strict=True):
        found = stock.get(item.ref)
        told = {"sku_id": found["_id"] if found else item.ref.sku_id, "merchant_sku": item.ref.merchant_sku}
        told |= {"request_id": item.request_id or row["_id"]}
        if results.over:
            results.add({**told, "replayed": False}, "skipped")
            continue
        problem = _problem(item, found, most)
        earlier = done.get(row["_id"])
        if problem is None and earlier is not None and found is not None:
            problem = _other_change(item, found, earlier)
            if problem is None:
                results.add({**told, "replayed": True}, "updated")
                continue
        if problem is None and found is not None:
            level = levels.setdefault(found["_id"], _Level(found, found["on_hand"], found["reserved"]))
            problem = _applied(item, row, level, most)
        if problem is not None or found is None:
            results.add({**told, "replayed": False}, "failed", *([problem] if problem else []))
            continue
        row["sku_id"] = found["_id"]
        done[row["_id"]] = row
        out.movements.append(row)
        results.add({**told, "replayed": False}, "updated")
    out.updates = [level.update() for _, level in sorted(levels.items()) if _moved(level)]
    return out


def _moved(level: _Level) -> bool:
    return level.was_set or level.on_hand != level.before["on_hand"]


def _problem(item: StockItem, found: Document | None, most: int) -> Problem | None:
    wrong = ambiguous({"sku_id": item.ref.sku_id, "merchant_sku": item.ref.merchant_sku})
    if wrong:
        return wrong
    if found is None:
        name = "sku_id" if item.ref.sku_id else "merchant_sku"
        return Problem(name, "NOT_FOUND", f"the shop has no SKU {item.ref.sku_id or item.ref.merchant_sku}")
    if item.quantity is None:
        if item.expected is not None:
            return Problem("quantity", "REQUIRED", "expected_on_hand goes with quantity; send both, or delta alone")
        if item.delta == 0 or abs(item.delta) > most:
            return Problem("delta", "INVALID_ARGUMENT", f"delta must lie between -{most} and {most} and not be 0")
        return None
    if item.delta:
        return Problem("delta", "INVALID_ARGUMENT", "send delta or quantity, not both")
    if item.expected is None:
        return Problem("expected_on_hand", "REQUIRED", "say what you believe is on hand, so that no sale is undone")
    if not 0 <= item.quantity <= most:
        return Problem("quantity", "OUT_OF_RANGE", f"stock must lie between 0 and {most}")
    return None


def _applied(item: StockItem, row: dict[str, Any], level: _Level, most: int) -> Problem | None:
    """Move ``level`` on, and say in ``row`` by how much; or why not."""
    if item.quantity is None:
        if level.on_hand + item.delta < level.reserved:
            left = level.on_hand - level.reserved
            return Problem("delta", "OUT_OF_STOCK", f"only {left} are available; what is reserved for buyers stays")
        if level.on_hand + item.delta > most:
            return Problem("delta", "OUT_OF_RANGE", f"a SKU holds at most {most}; {level.on_hand} are on hand")
        row["delta"] = item.delta
    else:
        if level.on_hand != item.expected:
            message = f"{level.on_hand} are on hand, not {item.expected}; read the stock again and decide anew"
            return Problem("expected_on_hand", "VERSION_CONFLICT", message)
        if item.quantity < level.reserved:
            message = f"{level.reserved} are reserved for buyers; set at least that many"
            return Problem("quantity", "OUT_OF_STOCK", message)
        row |= {"delta": item.quantity - level.on_hand, "quantity": item.quantity, "expected": item.expected}
        level.was_set = True
    level.on_hand += row["delta"]
    return None


def _other_change(item: StockItem, found: Document, earlier: Document) -> Problem | None:
    """What is wrong when the id of this change was used for another one."""
    said = (found["_id"], item.quantity, item.expected)
    same = said == (earlier["sku_id"], earlier.get("quantity"), earlier.get("expected"))
    if same and (item.quantity is not None or earlier["delta"] == item.delta):
        return None
    message = "this request_id was used for another change; use a new one"
    return Problem("request_id", "IDEMPOTENCY_KEY_REUSED", message)
