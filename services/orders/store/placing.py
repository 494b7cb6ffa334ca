"""What is being placed: one row of ``placings`` for all checkouts whose placing begins at the same time in one process.

::

    {_id, placings: [checkouts as they would be written, state placing], due_at}

The row is there before anything is reserved. When its time has come, those of its checkouts that did not come to be are given up: they
are written as abandoned, which releases what they may hold and bars a late attempt. Then the row waits to go (``expire_at``): as long as
it is there, the unique index over the ids in it tells a repetition from a first attempt without a read.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.chassis import commit, ids
from services.chassis.commit import Cause, Taken
from services.chassis.mongo import Collection, Database, Document, Index
from services.chassis.together import Together
from services.orders.store.checkouts import Checkouts

PLACINGS: Final = Collection(
    "placings", (Index(("placings._id",), unique=True), Index(("expire_at",), expire_s=0)), timed=True
)
KEPT: Final = timedelta(days=1)
"""After that a repetition finds out by its reservation and its checkout; idempotency keys are honoured as long as these are there."""


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
        if self._noted(asked):
            return [None] * len(asked)
        found = self._checkouts.found(placing["_id"] for placing, _ in asked)
        for one in asked:
            if one[0]["_id"] not in found:
                self._noted(
                    [one]
                )  # or it is noted: a repetition goes on beside its first attempt, or after a crash of it
        return [found.get(placing["_id"]) for placing, _ in asked]

    def _noted(self, asked: Sequence[tuple[Document, datetime]]) -> bool:
        """Write the row for all of them; False, and nothing is written, when one of them stands in a row already."""
        identity = ids.new_id("placing")
        row = {"_id": identity, "placings": [placing for placing, _ in asked]}
        try:
            commit.create(self._rows, row, Cause(identity), due=min(due for _, due in asked), natural=True)
        except Taken:
            return False
        return True
