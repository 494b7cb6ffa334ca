"""Milestones: some products of every list, by which a page of it is found whatever the list's length.

About every 32nd product is a milestone of the lists that it is on, every 32nd of these one of the second level, and so on. Which ones
follows from their ids, so nobody counts and nobody has to agree. A milestone only says where to look: one that is out of date, or missing, costs a
question more and changes no answer.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from services.catalog.model.products import State

STEP: Final = 32
"""Products between two milestones, on average: a page reads about one page more than it shows."""
LEVELS: Final = 3
"""So a list of 10,000,000 products has some 300 of the highest, which are read at once."""
LIVING: Final = (State.DRAFT, State.LISTED, State.DELISTED)
"""The states of what is not deleted."""


def level(product_id: str) -> int:
    """Of how many levels the product is a milestone; 0 for most."""
    drawn, found = int.from_bytes(hashlib.blake2b(product_id.encode(), digest_size=8).digest()), 0
    while found < LEVELS and drawn % STEP == 0:
        drawn, found = drawn // STEP, found + 1
    return found


def list_name(shop_id: str, state: str = "", category_id: int = 0) -> str:
    """The name of a shop's list: of all that is not deleted, of one state, or of one state and category."""
    if category_id:
        return f"{shop_id}/{state}/{category_id}"
    return f"{shop_id}/{state}" if state else shop_id


def changes_name(shop_id: str) -> str:
    """The name of the list of everything in a shop, deleted products with it, by when it was last changed."""
    return f"{shop_id}/changes"


def key(name: str, number: int) -> str:
    """What the milestones of level ``number`` of the list ``name`` are found by."""
    return f"{name}/{number}"


def milestone(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """{_id, sequence, keys, position, changed_at} of a stored product on its lists; None for most."""
    levels = range(1, level(row["_id"]) + 1)
    if not levels:
        return None
    shop_id, state = row["shop_id"], row["state"]
    of_state = (list_name(shop_id, state), list_name(shop_id, state, row["listing"]["category_id"]))
    names = [*of_state, changes_name(shop_id)]
    if state != State.DELETED:
        names.append(list_name(shop_id))
    keys = [key(name, number) for name in dict.fromkeys(names) for number in levels]
    places = {"position": row["position"], "changed_at": row["updated_at"]}
    return {"_id": row["_id"], "sequence": row["version"], "keys": keys, **places}
