"""Bills: every movement of a shop's money is on one shop's bill of one day."""

from collections.abc import Iterator
from typing import Final

from services.chassis.calendar import day
from services.cli.audit.report import Finding, wrong_unless
from services.cli.audit.sheet import Sheet
from services.cli.audit.world import Check, World, scan
from services.payments.model import ledger
from services.payments.model.bookkeeping import CHANNEL, book


def billed(world: World) -> Iterator[Finding]:
    """Σ over the shops' bills = the ledger: every posting of an order's or a shop's account belongs to a shop, on the day it was made."""
    with Sheet() as sheet:
        for entry in scan(world.database("payments"), "entries", ("postings", "books", "posted_at", "currency")):
            shops = {posting["shop"] for posting in entry["postings"] if posting.get("shop")}
            expected = sorted(book(shop, day(entry["posted_at"])) for shop in shops)
            found = sorted(one for one in entry["books"] if not one.startswith(book(CHANNEL, "")))
            yield wrong_unless(found == expected, entry["_id"], expected, found)
            moves = any(posting["account"] == ledger.CLEARING for posting in entry["postings"])
            yield wrong_unless(
                len(entry["books"]) - len(found) == int(moves), entry["_id"], "one day of the channel", entry["books"]
            )
            for posting in entry["postings"]:
                if posting["kind"].startswith(("order:", "shop:")):
                    sheet.expect(f"{posting['kind']} {entry['currency']}", posting["amount"])
                if posting.get("shop"):
                    sheet.find(f"{posting['kind']} {entry['currency']}", posting["amount"])
        yield from sheet.findings()


CHECKS: Final[tuple[Check, ...]] = (billed,)
