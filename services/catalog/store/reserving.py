"""Writing reservations: requests that wait in one process at the same time are committed together.

One hot SKU taken by many checkouts would otherwise be one transaction each, most of them losing to each other. The batch sums what it
wants of each SKU; when it does not fit, what is left is read once and serves in order whom it can; the others are refused. Limits for one
buyer change nothing of that: each buyer's count is a row of its own, and who asks twice in one batch is served after it.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from services.catalog.model import windows
from services.catalog.model.stock import limited, limits_of, needs, purchase_id, summed
from services.catalog.store import Store
from services.chassis.commit import Shortfall, Transaction
from services.chassis.mongo import Document


class Reserver:
    """Inserts reservation rows and reserves their stock."""

    def __init__(self, store: Store) -> None:
        """Over one store."""
        self._store = store

    def write(self, rows: Sequence[Document]) -> list[Exception | None]:
        """Write prepared reservations (lines, buyer_id) and what they hold, each all or nothing; what was wrong with each.

        Shortfall: stock or buy limit; Taken: the checkout has a reservation, or a buyer's first purchase raced.

        All at once; where that does not fit, those whom the stock left can serve, in order; what is open then one by one.
        """
        results: list[Exception | None] = [None] * len(rows)
        together, alone = _apart(rows)
        if len(together) > 1:
            if self._try([rows[number] for number in together]) is None:
                together = []
            else:
                served = self._served(rows, together)
                for number in set(together) - set(served):
                    results[number] = Shortfall()
                fewer = 1 < len(served) < len(together)
                together = [] if fewer and self._try([rows[number] for number in served]) is None else served
        for number in sorted([*alone, *together]):
            results[number] = self._try([rows[number]])
        return results

    def _served(self, rows: Sequence[Document], numbers: Sequence[int]) -> list[int]:
        """Those of the rows, in order, for which what is left now suffices: a sold-out SKU costs one read, not a write each."""
        wanted = {number: needs(rows[number]["lines"]) for number in numbers}
        left = self._store.left_of({key for keys in wanted.values() for key in keys})
        bought = self._store.bought(counted for number in numbers for counted in counts_of(rows[number]))
        served = []
        for number in numbers:
            if not _within(rows[number], bought):
                continue
            if all(left.get(key, 0) >= quantity for key, quantity in wanted[number].items()):
                served.append(number)
                for key, quantity in wanted[number].items():
                    left[key] -= quantity
        return served

    def _try(self, rows: Sequence[Document]) -> Exception | None:
        """Commit these rows in one transaction; why not, where it was not: Shortfall or Taken when they do not hold."""
        transaction = Transaction(self._store.client)
        every = [line for row in rows for line in row["lines"]]
        for row in rows:
            transaction.insert(self._store.reservations, row)
        for sku, quantity in sorted(summed(every).items()):
            hold(self._store, transaction, sku, quantity)
        known = windows.revisions(every)
        for unit, quantity in sorted(windows.units_wanted(every).items()):
            take_units(self._store, transaction, unit, quantity, revision=known[unit])
        for row in rows:
            count_purchases(self._store, transaction, row, row["lines"], Purchase.TAKE)
        try:
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - its callers get it
            return error
        return None


def _apart(rows: Sequence[Document]) -> tuple[list[int], list[int]]:
    """The numbers of the rows that can be written at once, and of those of a buyer whose count another of them moves already."""
    together: list[int] = []
    alone: list[int] = []
    counting: set[str] = set()
    for number, row in enumerate(rows):
        mine = set(counts_of(row))
        (alone if mine & counting else together).append(number)
        counting |= mine
    return together, alone


def counts_of(row: Document) -> list[str]:
    """The ids of the counts of a buyer that a reservation moves."""
    return [purchase_id(key, row["buyer_id"]) for key in limited(row["lines"])]


def _within(row: Document, bought: dict[str, int]) -> bool:
    allowed = {key: most for line in row["lines"] for key, most in limits_of(line).items()}
    wanted = limited(row["lines"])
    return all(bought.get(purchase_id(key, row["buyer_id"]), 0) + wanted[key] <= most for key, most in allowed.items())


def hold(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """available → reserved, if there is enough."""
    condition = {"_id": sku_id, "available": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"reserved": quantity, "available": -quantity}})


def release(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """reserved → available."""
    condition = {"_id": sku_id, "reserved": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"reserved": -quantity, "available": quantity}})


def sell_reserved(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """reserved → gone; of one SKU in one write for all orders that are sold together."""
    transaction.move(store.stock, sku_id, {"reserved": -quantity, "on_hand": -quantity}, {"reserved": quantity})


def sell_available(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """available → gone, if there is enough."""
    condition = {"_id": sku_id, "available": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"available": -quantity, "on_hand": -quantity}})


def take_back(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """What was sold is on hand again."""
    transaction.update(store.stock, {"_id": sku_id}, {"$inc": {"available": quantity, "on_hand": quantity}})


def take_units(
    store: Store, transaction: Transaction, unit: str, quantity: int, *, revision: int | None = None
) -> None:
    """Units of a SKU in a sale window, if so many are left; with ``revision`` only on the terms of then."""
    condition: Document = {"_id": unit, "left": {"$gte": quantity}}
    if revision is not None:
        condition["revision"] = revision
    transaction.update(store.window_units, condition, {"$inc": {"taken": quantity, "left": -quantity}})


def give_units(store: Store, transaction: Transaction, unit: str, quantity: int) -> None:
    """They can be bought again, as long as the window runs."""
    condition = {"_id": unit, "taken": {"$gte": quantity}}
    transaction.update(store.window_units, condition, {"$inc": {"taken": -quantity, "left": quantity}})


class Purchase(Enum):
    """How units under a limit for one buyer are counted."""

    TAKE = "take"
    """If the limit allows."""
    TAKE_ANYWAY = "take_anyway"
    """Money came for them."""
    GIVE_BACK = "give_back"


def count_purchases(
    store: Store, transaction: Transaction, reservation: Document, lines: Sequence[Any], how: Purchase
) -> None:
    """Count what a buyer holds of products and in sale windows that have a limit.

    Whether the buyer's row is there was read just before (``reservation["first"]``): a race meets Taken or Shortfall.
    """
    allowed = {key: most for line in lines for key, most in limits_of(line).items()}
    for key, quantity in limited(lines).items():
        row: Document = {"_id": purchase_id(key, reservation["buyer_id"])}
        if how is Purchase.TAKE and key in reservation["first"]:
            transaction.insert(store.purchases, {**row, "quantity": quantity})
        elif how is Purchase.TAKE:
            condition = {**row, "quantity": {"$lte": allowed[key] - quantity}}
            transaction.update(store.purchases, condition, {"$inc": {"quantity": quantity}})
        else:
            transaction.update(
                store.purchases, row, {"$inc": {"quantity": quantity if how is Purchase.TAKE_ANYWAY else -quantity}}
            )
