"""Counting the orders of a shop from the index, and keeping what needs no counting any more."""

from typing import Final

from pymongo.collection import Collection

from services.chassis import clock, commit
from services.chassis.mongo import Database, Document
from services.orders.model import census, keys
from services.orders.store.serials import END, RANDOM_BITS, first_serial

DAY: Final = 86_400_000 << RANDOM_BITS
"""A day of serials: the shortest stretch that is sealed."""
MOST_DAYS: Final = 32
"""The longest one: no single look at the index is longer."""
SEALING_S: Final = 1.0
"""So long a question may seal before it answers; the next one goes on."""


class Counting:
    """The counts of one shop after another."""

    def __init__(self, database: Database) -> None:
        """Over orders' database."""
        self._orders: Collection[Document] = database["orders"]
        self._rows: Collection[Document] = database["census"]

    def of_shop(self, shop_id: str) -> dict[str, int]:
        """Orders by state, and ``in_dispute``. Exact: what is not sealed is counted now."""
        known = self._seal(shop_id)
        counted = {state.value: int(known["sums"].get(state, 0)) for state in (*census.OPEN, *census.FINAL)}
        for low, high in census.stretches(known, END):
            for state in counted:
                counted[state] += self._count(shop_id, state, low, high)
        word = {"keys": keys.in_dispute(shop_id), "serial": {"$gte": 0, "$lte": END}}
        counted["in_dispute"] = self._orders.count_documents(word)
        return counted

    def _seal(self, shop_id: str) -> Document:
        """Seal what can be sealed, each step written before the next: a question that is cut off has not worked for nothing."""
        known = census.trusted(self._rows.find_one({"_id": shop_id}) or census.new(shop_id))
        until = clock.monotonic() + SEALING_S
        for low, high in list(known["left"]):
            if clock.monotonic() < until and not self._open(shop_id, low, high):
                known = self._kept(census.sealed(known, low, high, self._final(shop_id, low, high)))
        ripe = first_serial(clock.business()) - DAY  # what is placed now gets a serial of now, a little later
        while clock.monotonic() < until and known["below"] + DAY <= ripe:
            low = known["below"]
            days = min(MOST_DAYS, (ripe - low) // DAY)
            while (some := self._open(shop_id, low, low + days * DAY)) and days > 1:
                days //= 2
            high = low + days * DAY
            after = (
                census.left(known, high) if some else census.sealed(known, low, high, self._final(shop_id, low, high))
            )
            known = self._kept(after)
        return known

    def _kept(self, known: Document) -> Document:
        """Written, unless somebody else was faster: theirs says the same of the same stretch, and ours is true as well."""
        sequence = known["sequence"] + 1
        values = {name: known[name] for name in ("below", "sums", "left")}
        commit.copy(self._rows, known["_id"], sequence, values)
        return {**known, "sequence": sequence}

    def _open(self, shop_id: str, low: int, high: int) -> bool:
        """Whether any order there may still change its state."""
        return any(
            self._orders.find_one(_where(shop_id, state, low, high), {"_id": 1}) is not None for state in census.OPEN
        )

    def _final(self, shop_id: str, low: int, high: int) -> dict[str, int]:
        return {state: self._count(shop_id, state, low, high) for state in census.FINAL}

    def _count(self, shop_id: str, state: str, low: int, high: int) -> int:
        return self._orders.count_documents(_where(shop_id, state, low, high))


def _where(shop_id: str, state: str, low: int, high: int) -> Document:
    return {"shop_id": shop_id, "state": str(state), "serial": {"$gte": low, "$lt": high}}
