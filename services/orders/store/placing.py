"""What is being placed: one row of ``placings`` for all checkouts whose placing begins at the same time in one process.

::

    {_id, placings: [checkouts as they would be written, state placing], due_at}

The row is there before anything is reserved. When its time has come, those of its checkouts that did not come to be are given up: they
are written as abandoned, which releases what they may hold and bars a late attempt. Then the row may go (``expire_at``).
"""

from collections.abc import Sequence
from datetime import datetime

from services.chassis import commit, ids
from services.chassis.commit import Cause
from services.chassis.mongo import Database, Document
from services.chassis.together import Together
from services.orders.store.checkouts import Checkouts


class Placings:
    """Begins placings, those that wait at the same time by one read and one write."""

    def __init__(self, database: Database, checkouts: Checkouts) -> None:
        """One for the life of a server."""
        self._checkouts, self._rows = checkouts, database["placings"]
        self._together: Together[tuple[Document, datetime]] = Together(self._begin)

    def begin(self, placing: Document, due: datetime) -> Document | None:
        """Write down that this prepared checkout is being placed and given up at ``due`` (UTC); or the checkout that is there already."""
        found: Document | None = self._together.ask((placing, due))
        return found

    def _begin(self, asked: Sequence[tuple[Document, datetime]]) -> list[Document | None]:
        found = self._checkouts.found(placing["_id"] for placing, _ in asked)
        new = [(placing, due) for placing, due in asked if placing["_id"] not in found]
        if new:
            identity = ids.new_id("placing")
            row = {"_id": identity, "placings": [placing for placing, _ in new]}
            commit.create(self._rows, row, Cause(identity), due=min(due for _, due in new), natural=True)
        return [found.get(placing["_id"]) for placing, _ in asked]
