"""The writes of an order done bare: the same documents into the same collections, with nothing around them that makes them a shop."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pymongo import MongoClient

from services.chassis import ids
from services.chassis.commit import Transaction
from tests.bench.world import Bench

T = TypeVar("T")
Document = dict[str, Any]


def at_once(work: Callable[[T], object], items: Sequence[T], threads: int) -> float:
    """Do ``work`` for every item in so many threads; how many a second."""
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for _ in pool.map(work, items):
            pass
        return len(items) / (time.perf_counter() - began)


def bare_orders(bench: Bench, count: int, threads: int) -> float:
    """``count`` orders of two lines a second, written as one that is there was: the last one that was paid is the model."""
    with bench.stack.connect() as client:
        model = Model(client)
        at_once(model.write, range(threads), threads)  # warm
        return at_once(model.write, range(threads, threads + count), threads)


class Model:
    """A paid order, and how it was written: each transaction of the house is one here too, alone."""

    def __init__(self, client: "MongoClient[Document]") -> None:
        """Find the newest paid order and all that belongs to it."""
        self._client, self._run = client, ids.secret()[:8]
        order = client["orders"]["orders"].find_one({"state": "paid"}, sort=[("_id", -1)])
        assert order is not None
        self.order, checkout_id = order, order["checkout_id"]
        found = self._client["orders"]["checkouts"].find_one({"checkouts._id": checkout_id}) or {}
        self.checkout = next(each for each in found["checkouts"] if each["_id"] == checkout_id)
        self.reservation = self._there("catalog", "reservations", checkout_id)
        self.payable = self._there("payments", "payables", checkout_id)
        self.message = client["broadcast"]["inbox"].find_one({"messages.reference": order["_id"]}) or {}
        self.entry = client["payments"]["entries"].find_one({"refs": order["_id"]}) or {}
        self._skus = [row["_id"] for row in client["catalog"]["stock"].find({}, {"_id": 1})]

    def _there(self, service: str, collection: str, identity: str) -> Document:
        found = self._client[service][collection].find_one({"_id": identity})
        assert found is not None
        return found

    def write(self, number: int) -> None:
        """All writes of one order, in the order of the house; whatever is unique is made anew."""
        name = f"{self._run}-{number}"
        orders, catalog, payments = (self._client[service] for service in ("orders", "catalog", "payments"))
        at, letter = {"_id": name}, {"_id": name, "outbox": [self.entry]}
        paid = {"$set": {"state": "paid", "version": 3}, "$push": {"applied": {"id": f"evt:{name}"}}}
        skus = [self._skus[(2 * number + place) % len(self._skus)] for place in (0, 1)]
        reserving, selling = self._begin(), self._begin()
        reserving.insert(catalog["reservations"], {**self.reservation, **at})
        selling.update(catalog["reservations"], at, paid).insert(catalog["bare_movements"], letter)
        for sku in skus:
            reserving.update(catalog["stock"], {"_id": sku}, {"$inc": {"reserved": 1, "available": -1}})
            selling.update(catalog["stock"], {"_id": sku}, {"$inc": {"reserved": -1, "on_hand": -1}})
        reserving.commit()
        order = {**self.order, **at, "checkout_id": name}
        placed = {**at, "checkouts": [{**self.checkout, **at}]}
        self._begin().insert(orders["checkouts"], placed).insert(orders["orders"], order).commit()
        self._begin().insert(payments["payables"], {**self.payable, **at, "trade_nos": [name]}).commit()
        collecting = self._begin().update(payments["payables"], at, paid)
        collecting.insert(payments["entries"], {**self.entry, **at}).insert(payments["bare_letters"], letter).commit()
        self._begin().update(orders["orders"], at, paid).insert(orders["bare_letters"], letter).commit()
        selling.commit()
        told = {**self.message, **at, "messages": [{**each, **at} for each in self.message["messages"][:1]]}
        self._begin().insert(self._client["broadcast"]["inbox"], told).commit()

    def _begin(self) -> Transaction:
        return Transaction(self._client)
