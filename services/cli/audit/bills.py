"""Bills: every movement of a shop's money is on one shop's bill of one day, and the closings are the sums of their days."""

from collections.abc import Iterator
from typing import Final

from services.chassis.calendar import day
from services.cli.audit.report import Finding, compared, wrong_unless
from services.cli.audit.sheet import Sheet
from services.cli.audit.world import Check, World, scan
from services.payments.model import bills, ledger
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


def closings(world: World) -> Iterator[Finding]:
    """Every closing of a shop's day = Σ of all its movements up to the end of that day."""
    payments = world.database("payments")
    with Sheet() as amounts, Sheet() as closed:
        for entry in scan(payments, "entries", ("postings", "posted_at")):
            for posting in entry["postings"]:
                if posting.get("shop"):
                    account = bills.account_of(posting["kind"])
                    key = f"{posting['shop']} {account} {day(entry['posted_at'])}"
                    amounts.find(key, posting["amount"])
                    closed.find(key, 0)
        for closing in scan(payments, "closings"):
            for account, amount in closing["accounts"].items():
                key = f"{closing['shop_id']} {account} {closing['day']}"
                amounts.expect(key, amount)
                closed.find(key, 1)
        whose, running = "", 0
        for (key, expected, moved), (_, _, is_closed) in zip(amounts.rows(), closed.rows(), strict=True):
            account = key.rpartition(" ")[0]
            running = moved + (running if account == whose else 0)
            whose = account
            if is_closed:
                yield compared(f"closing {key}", expected, running)


CHECKS: Final[tuple[Check, ...]] = (billed, closings)
