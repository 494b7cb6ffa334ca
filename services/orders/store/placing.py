"""What is being placed: one row of ``placings`` for all checkouts whose placing begins at the same time in one process.

::

    {_id, placings: [checkouts as they would be written, state placing], due_at}

The row is there before anything is reserved. When its time has come, those of its checkouts that did not come to be are given up: they
are written as abandoned, which releases what they may hold and bars a late attempt. Then the row waits to go (``expire_at``): as long as
it is there, the unique index over the ids in it tells a repetition from a first attempt without a read.
"""

from datetime import datetime, timedelta
from typing import Final

from services.chassis import commit, ids, together
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.mongo import Collection, Database, Document, Index
from services.orders.store.checkouts import Checkouts

PLACINGS: Final = Collection(
    "placings", (Index(("placings._id",), unique=True), Index(("expire_at",), expire_s=0)), timed=True
)
KEPT: Final = timedelta(days=1)
"""After that a repetition finds out by its reservation and its checkout; idempotency keys are honoured as long as these are there."""


class Placings:
    """Begins placings; the row is written together with whatever else waits for the database."""

    def __init__(self, database: Database, checkouts: Checkouts) -> None:
        """One for the life of a server."""
        self._checkouts, self._rows = checkouts, database["placings"]

    def begin(self, placing: Document, due: datetime) -> Document | None:
        """Write down that this prepared checkout is being placed and given up at ``due`` (UTC); or the checkout that is there already.

        A repetition that finds no checkout goes on beside its first attempt, or after a crash of it: that stands in a row already.
        """
        identity = ids.new_id("placing")
        row = commit.prepare(self._rows, {"_id": identity}, Cause(identity), due=due)
        transaction = Transaction(self._rows.database.client).gather(self._rows, row, "placings", [placing])
        try:
            together.commit(transaction)
        except (Taken, Shortfall):
            return self._checkouts.found([placing["_id"]]).get(placing["_id"])
        return None
