"""How many orders of a shop are in which state, without counting those that have ended again and again.

Orders sort by when they were placed and none goes back, so once no order of a stretch of time can change its state any more, what it holds
of each final state is fixed. A shop's census keeps the sum over all such stretches (sealed); what is left is counted when somebody asks.

::

    {_id: shop_id, sequence, below: serial, sums: {completed, closed}, left: [[low, high], …]}

Everything below ``below`` is in the sums, but for the stretches in ``left`` in which something was still open.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.orders.model.states import TABLE, State

Census = Mapping[str, Any]
OPEN: Final = tuple(state for state in State if any(row.source is state for row in TABLE))
FINAL: Final = tuple(state for state in State if state not in OPEN)
"""States that nothing leads out of."""


def new(shop_id: str) -> dict[str, Any]:
    """Of a shop of which nothing is sealed."""
    return {"_id": shop_id, "sequence": 0, "below": 0, "sums": dict.fromkeys(FINAL, 0), "left": []}


def trusted(census: Census) -> dict[str, Any]:
    """The census, or an empty one where it was made when other states were final: then all is counted anew."""
    found = dict(census)
    return found if set(found["sums"]) == set(FINAL) else {**new(found["_id"]), "sequence": found["sequence"]}


def sealed(census: Census, low: int, high: int, sums: Mapping[str, int]) -> dict[str, Any]:
    """[low, high) holds so many of each final state and nothing open: the next stretch, or one of those that were left."""
    total = {state: census["sums"].get(state, 0) + sums.get(state, 0) for state in FINAL}
    left = [stretch for stretch in census["left"] if stretch != [low, high]]
    return {**census, "sums": total, "left": left, "below": max(census["below"], high)}


def left(census: Census, high: int) -> dict[str, Any]:
    """From ``below`` to ``high`` something is open: it is counted when somebody asks."""
    return {**census, "left": [*census["left"], [census["below"], high]], "below": high}


def stretches(census: Census, end: int) -> list[tuple[int, int]]:
    """What is to be counted beside the sums: neighbours as one."""
    found: list[tuple[int, int]] = []
    for low, high in [*census["left"], [census["below"], end]]:
        if found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found
