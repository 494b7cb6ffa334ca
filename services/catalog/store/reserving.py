"""Writing reservations: requests that wait in one process at the same time are committed together.

One hot SKU taken by many checkouts would otherwise be one transaction each, most of them losing to each other. The batch sums what it
wants of each SKU; when it does not fit, what is left is read once and serves in order whom it can; the others are refused.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from services.catalog.model.stock import limited, summed
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
        together = [number for number, row in enumerate(rows) if not limited(row["lines"])]
        alone = [number for number, row in enumerate(rows) if limited(row["lines"])]
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
        """Those of the rows, in order, for which what is available now suffices: a sold-out SKU costs one read, not a write each."""
        wanted = {number: summed(rows[number]["lines"]) for number in numbers}
        skus = {sku for lines in wanted.values() for sku in lines}
        left = {sku: row["available"] for sku, row in self._store.stock_by_id(skus).items()}
        served = []
        for number in numbers:
            if all(left.get(sku, 0) >= quantity for sku, quantity in wanted[number].items()):
                served.append(number)
                for sku, quantity in wanted[number].items():
                    left[sku] -= quantity
        return served

    def _try(self, rows: Sequence[Document]) -> Exception | None:
        """Commit these rows in one transaction; why not, where it was not: Shortfall or Taken when they do not hold."""
        transaction = Transaction(self._store.client)
        wanted: dict[str, int] = {}
        for row in rows:
            transaction.insert(self._store.reservations, row)
            for sku, quantity in summed(row["lines"]).items():
                wanted[sku] = wanted.get(sku, 0) + quantity
        for sku in sorted(wanted):
            hold(self._store, transaction, sku, wanted[sku])
        for row in rows:
            count_purchases(self._store, transaction, row, row["lines"], Purchase.TAKE)
        try:
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - its callers get it
            return error
        return None


def hold(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """available → reserved, if there is enough."""
    condition = {"_id": sku_id, "available": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"reserved": quantity, "available": -quantity}})


def release(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """reserved → available."""
    condition = {"_id": sku_id, "reserved": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"reserved": -quantity, "available": quantity}})


def sell_reserved(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """reserved → gone."""
    condition = {"_id": sku_id, "reserved": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"reserved": -quantity, "on_hand": -quantity}})


def sell_available(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """available → gone, if there is enough."""
    condition = {"_id": sku_id, "available": {"$gte": quantity}}
    transaction.update(store.stock, condition, {"$inc": {"available": -quantity, "on_hand": -quantity}})


def take_back(store: Store, transaction: Transaction, sku_id: str, quantity: int) -> None:
    """What was sold is on hand again."""
    transaction.update(store.stock, {"_id": sku_id}, {"$inc": {"available": quantity, "on_hand": quantity}})


class Purchase(Enum):
    """How units of a product with a buy limit are counted for a buyer."""

    TAKE = "take"
    """If the limit allows."""
    TAKE_ANYWAY = "take_anyway"
    """Money came for them."""
    GIVE_BACK = "give_back"


def count_purchases(
    store: Store, transaction: Transaction, reservation: Document, lines: Sequence[Any], how: Purchase
) -> None:
    """Count what a buyer holds of products with a buy limit.

    Whether the buyer's row is there was read just before (``reservation["first"]``): a race meets Taken or Shortfall.
    """
    allowed = {line["product_id"]: line["buy_limit"] for line in lines}
    for product_id, quantity in limited(lines).items():
        row: Document = {"_id": f"{product_id}:{reservation['buyer_id']}"}
        if how is Purchase.TAKE and product_id in reservation["first"]:
            transaction.insert(store.purchases, {**row, "product_id": product_id, "quantity": quantity})
        elif how is Purchase.TAKE:
            condition = {**row, "quantity": {"$lte": allowed[product_id] - quantity}}
            transaction.update(store.purchases, condition, {"$inc": {"quantity": quantity}})
        else:
            transaction.update(
                store.purchases, row, {"$inc": {"quantity": quantity if how is Purchase.TAKE_ANYWAY else -quantity}}
            )
