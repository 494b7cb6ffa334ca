"""Writing reservations: requests that wait in one process at the same time are committed together.

One hot SKU taken by many checkouts would otherwise be one transaction each, most of them losing to each other. The batch sums what it
wants of each SKU; when it does not fit, its requests are tried one by one, so that who fits is served.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from services.catalog.model.stock import limited, summed
from services.catalog.store import Store
from services.chassis.commit import Shortfall, Taken, Transaction
from services.chassis.mongo import Document

BATCH: Final = 64


@dataclass(slots=True, eq=False)
class _Waiting:
    row: Document
    done: "Future[None]" = field(default_factory=Future)


class Reserver:
    """Inserts reservation rows and reserves their stock."""

    def __init__(self, store: Store) -> None:
        """One for a process: its callers share transactions."""
        self._store = store
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self._working = threading.Lock()

    def reserve(self, row: Document) -> None:
        """Write the prepared reservation ``row`` (lines, buyer_id) and what it holds, all or nothing.

        Raises Shortfall (stock or buy limit), Taken (the checkout has a reservation, or a buyer's first purchase raced).
        """
        mine = _Waiting(row)
        with self._lock:
            self._waiting.append(mine)
        with self._working:
            if not mine.done.done():
                with self._lock:
                    batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                if mine not in batch:
                    batch.append(mine)
                    with self._lock:
                        self._waiting.remove(mine)
                self._write(batch)
        mine.done.result()

    def _write(self, batch: list[_Waiting]) -> None:
        together = [one for one in batch if not limited(one.row["lines"])]
        alone = [one for one in batch if one not in together]
        if len(together) > 1:
            try:
                self._commit([one.row for one in together])
            except (Shortfall, Taken):
                alone += together
            except Exception as error:  # noqa: BLE001 - every waiting caller gets it
                _fail(together, error)
            else:
                _succeed(together)
        else:
            alone += together
        for one in alone:
            try:
                self._commit([one.row])
            except Exception as error:  # noqa: BLE001 - its caller gets it
                _fail([one], error)
            else:
                _succeed([one])

    def _commit(self, rows: list[Document]) -> None:
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
        transaction.commit()


def _succeed(batch: list[_Waiting]) -> None:
    for one in batch:
        one.done.set_result(None)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        one.done.set_exception(error)


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
