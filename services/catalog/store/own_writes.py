"""Whether a merchant wrote anything since a page of the shop's lists was read: so a page may be kept, and what was just written is on it.

The count goes up after every call of a merchant that writes, before it is answered, and is read before a page is: a kept page whose count is
still in force was read after everything that its merchant has an answer to. What jobs write for a merchant needs no count: nothing is kept while
one is worked on, and asking for one is a call.
"""

from typing import Final

from services.chassis import commit, together
from services.chassis.mongo import Collection, Database

OWN_WRITES: Final = Collection("own_writes")


class OwnWrites:
    """The counts of all shops."""

    def __init__(self, database: Database) -> None:
        """The collections by name."""
        self._rows, self._imports = database["own_writes"], database["imports"]

    def note(self, shop_id: str) -> None:
        """The shop's merchant wrote something."""
        commit.tick(self._rows, shop_id)

    def count(self, shop_id: str) -> int | None:
        """How often the shop's merchant wrote; None while an import of the shop is worked on. Read together with others that ask."""
        row = together.find(self._rows, [shop_id]).get(shop_id)
        working = together.find_by(self._imports, "working_for", [shop_id], {})
        return None if working else int(row["count"]) if row else 0
