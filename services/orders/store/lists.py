"""Orders in their order: by when they were placed, newest first, and a shop's by when they changed."""

from collections.abc import Mapping
from typing import Any, Final

from pymongo.collection import Collection

from services.chassis import clock
from services.chassis.mongo import Document
from services.orders.model.search import Search
from services.orders.store.finding import FIRST, GROWS, Reach, Walked, backward, forward, merged
from services.orders.store.serials import RANDOM_BITS, first_serial

BY_WORD: Final = ("keys", "serial")
BY_STATE: Final = ("shop_id", "state", "serial")
BY_CHANGE: Final = ("shop_id", "updated_at")
WITHOUT: Final = {"timeline": 0, "applied": 0, "outbox": 0}
"""What no list shows."""
CHANGES_FIRST_MS: Final = 1000


class Lists:
    """Walks of orders' indexes. None names its index: the embedded database walks a named one from end to end."""

    def __init__(self, orders: Collection[Document]) -> None:
        """Over the collection of orders."""
        self._orders, self._reach = orders, Reach()

    def newest(self, search: Search, low: int, high: int, most: int, span: int | None) -> Walked:
        """Up to ``most`` orders with low ≤ serial < high, newest first. ``span`` (of serials): of the walk that goes on; None: a first page."""
        name = str(search.ways)
        known, reached = self._reach.of(name)
        ends = (known or first_serial(clock.business())) + 1 if span is None else high

        def look(bottom: int, top: int, wanted: int) -> list[Document]:
            pages = [self._between(way, search.rest, bottom, top, wanted) for way in search.ways]
            return pages[0] if len(pages) == 1 else merged(pages, "serial", wanted)

        begins = max(reached // GROWS, FIRST) << RANDOM_BITS if span is None else span
        walked = backward(look, low, high, most, ends=ends, span=begins)
        if span is None and walked.rows:
            newest = walked.rows[0]["serial"]
            self._reach.sufficed(name, newest, (newest - walked.edge) >> RANDOM_BITS)
        return walked

    def _between(
        self, way: Mapping[str, Any], rest: Mapping[str, Any], low: int, high: int, most: int
    ) -> list[Document]:
        return self._walked({**way, "serial": {"$gte": low, "$lt": high}}, rest, {"serial": -1}, most)

    def changed(self, search: Search, from_ms: int, after: str, to_ms: int, most: int, span: int) -> Walked:
        """Up to ``most`` orders that changed at ``from_ms`` (those with ids above ``after``) or later and before ``to_ms``.

        The oldest change first; ``span`` in milliseconds.
        """
        found: list[Document] = []
        if after:
            found = self._changes(search, from_ms, from_ms + 1, most, {"_id": {"$gt": after}})
            from_ms += 1
        if len(found) >= most or from_ms >= to_ms:
            return Walked(found, from_ms, span)

        def look(bottom: int, top: int, wanted: int) -> list[Document]:
            return self._changes(search, bottom, top, wanted, {})

        walked = forward(look, from_ms, to_ms, most - len(found), span=span)
        return Walked(found + walked.rows, walked.edge, walked.span)

    def _changes(self, search: Search, low: int, high: int, most: int, more: Mapping[str, Any]) -> list[Document]:
        between = {"$gte": clock.moment(low), "$lt": clock.moment(high)}
        walked = {**search.ways[0], "updated_at": between}
        return self._walked(walked, {**search.rest, **more}, {"updated_at": 1, "_id": 1}, most)

    def _walked(
        self, indexed: Mapping[str, Any], beside: Mapping[str, Any], order: Mapping[str, int], most: int
    ) -> list[Document]:
        """At most so many orders of a span of an index, of those that also match what stands ``beside`` it.

        Asked for both at once, the embedded database takes no index whose fields are not just these, and walks all that the shop has; MongoDB
        makes one question of the two.
        """
        matching = [{"$match": dict(indexed)}, *([{"$match": dict(beside)}] if beside else [])]
        ordered: list[Document] = [{"$sort": dict(order)}, {"$limit": most}, {"$project": WITHOUT}]
        return list(self._orders.aggregate(matching + ordered))
