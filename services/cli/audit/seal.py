"""The seal over the journal: every block as it was made, every entry in its block."""

from collections.abc import Iterator
from typing import Final

from services.chassis import policy
from services.cli.audit.report import Finding, Wrong
from services.cli.audit.sheet import Sheet
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
        found = sealing.verify(store, number, PART, int(within))
        yield from (Wrong(f"{flaw.kind}: {flaw.subject}", flaw.expected, flaw.found) for flaw in found.flaws)
        yield from (None for _ in range(found.number - number))
        ended, number = found.ended, found.number
        if found.oldest and world.wall_ms - found.oldest > within:
            told = f"{found.waiting} in none, the oldest for {(world.wall_ms - found.oldest) // 1000} s"
            yield Wrong("entries", "each in a block", told)


def summed(world: World) -> Iterator[Finding]:
    """Every sum of a shop's day and month, by account and side: what the sealed entries of that time moved, neither more nor less."""
    waiting = {row["_id"] for row in sealing.unsealed(Store(world.database("payments"))).rows}
    fields = ("postings", "currency", "posted_at", "written_at")
    with Sheet() as sheet:
        for entry in scan(world.database("payments"), "entries", fields):
            is_sealed = "written_at" in entry and entry["_id"] not in waiting
            for row_id, row in periods.additions([entry] if is_sealed else ()).items():
                for side, amount in row["added"].items():
                    sheet.expect(f"{row_id} {side}", amount)
        for row in scan(world.database("payments"), "sums"):
            for currency, pockets in row["moved"].items():
                for pocket, sides in pockets.items():
                    for side, amount in sides.items():
                        sheet.find(f"{row['_id']} moved.{currency}.{pocket}.{side}", amount)
        yield from sheet.findings()


CHECKS: Final[tuple[Check, ...]] = (sealed, summed)
