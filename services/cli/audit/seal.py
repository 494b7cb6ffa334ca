"""The seal over the journal: every block as it was made, every entry in its block."""

from collections.abc import Iterator
from typing import Final

from services.chassis import policy
from services.cli.audit.report import Finding, Wrong, compared
from services.cli.audit.world import Check, World, scan
from services.payments.model import periods
from services.payments.store import Store, sealing

PART: Final = 100
"""Blocks verified at once."""


def sealed(world: World) -> Iterator[Finding]:
    """Every block of the sealed journal follows the one before it and holds its entries as they are; none waits for its seal too long."""
    store = Store(world.database("payments"))
    within = policy.load("payments").span("seal_within", world.now).total_seconds() * 1000
    ended, number = False, 0
    while not ended:
        found = sealing.verify(store, number, PART)
        yield from (Wrong(f"{flaw.kind}: {flaw.subject}", flaw.expected, flaw.found) for flaw in found.flaws)
        yield from (None for _ in range(found.number - number))
        ended, number = found.ended, found.number
        if found.oldest and world.wall_ms - found.oldest > within:
            told = f"{found.waiting} in none, the oldest for {(world.wall_ms - found.oldest) // 1000} s"
            yield Wrong("entries", "each in a block", told)


def summed(world: World) -> Iterator[Finding]:
    """Every shop: the sums of its days and of its months are the same, and what all sealed entries moved."""
    store = Store(world.database("payments"))
    waiting = {row["_id"] for row in sealing.unsealed(store).rows}
    moved: dict[str, periods.Moved] = {}
    for entry in scan(world.database("payments"), "entries", ("postings", "currency", "written_at")):
        is_sealed = "written_at" in entry and entry["_id"] not in waiting
        for owner in periods.owners(entry) if is_sealed else ():
            moved[owner] = periods.summed((), moved.get(owner, {}), periods.moved([entry], owner))
    owners = moved.keys() | {row["owner"] for row in scan(world.database("payments"), "periods", ("owner",))}
    for owner in sorted(owners):
        for span in (periods.DAY, periods.MONTH):
            rows = scan(world.database("payments"), "periods", (), {"owner": owner, "span": span})
            yield compared(f"shop {owner} by {span}", _nonzero(moved.get(owner, {})), _nonzero(periods.summed(rows)))


def _nonzero(found: periods.Moved) -> periods.Moved:
    return {key: amount for key, amount in sorted(found.items()) if amount}


CHECKS: Final[tuple[Check, ...]] = (sealed, summed)
