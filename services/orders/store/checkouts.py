"""Checkouts: those that are placed together in one row, those that ended without orders each in a row of its own.

::

    {_id, checkouts: [placed checkout, …]}
    {_id: checkout id, checkouts: [{_id: checkout id}], state: refused | abandoned, …, outbox}

A placed checkout is never written again: what becomes of it is told from its orders. Its id stands in one row at most, whichever of
its ends is written first; the unique index over the ids says so.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.chassis import commit, together
from services.chassis.commit import Cause, Taken, Transaction
from services.chassis.decisions import Fact
from services.chassis.mongo import Collection, Database, Document, Index

BY_ID: Final = "checkouts._id"
CHECKOUTS: Final = Collection("checkouts", (Index((BY_ID,), unique=True),), emits=True)


class Checkouts:
    """The rows of checkouts."""

    def __init__(self, database: Database) -> None:
        """Over the database of orders."""
        self.rows = database[CHECKOUTS.name]

    def found(self, checkout_ids: Iterable[str]) -> dict[str, Document]:
        """Those of these checkouts that came to an end, with or without orders, by id."""
        rows = together.find_by(self.rows, BY_ID, checkout_ids, {})
        return {checkout_id: _in(row, checkout_id) for checkout_id, (row, *_) in rows.items()}

    def place(self, transaction: Transaction, checkout: Document) -> Transaction:
        """It comes to be, in the row of all that are placed together. Its commit meets Taken or Shortfall where it came to an end before."""
        return transaction.gather(self.rows, {}, "checkouts", [checkout])

    def end(self, checkout: Mapping[str, Any], cause: Cause, facts: tuple[Fact, ...]) -> tuple[Document, bool]:
        """It ends without orders, telling ``facts``. The end it came to, and whether that is this one and was written now."""
        row = {**checkout, "checkouts": [{"_id": checkout["_id"]}]}
        try:
            outcome = commit.create(self.rows, row, cause, facts=facts, natural=True)
        except Taken:  # it was placed
            return self.found([checkout["_id"]])[checkout["_id"]], False
        return outcome.document, not outcome.replayed


def _in(row: Document, checkout_id: str) -> Document:
    """The checkout in its row."""
    if row["_id"] == checkout_id:
        return row
    found: Document = next(each for each in row["checkouts"] if each["_id"] == checkout_id)
    return found
