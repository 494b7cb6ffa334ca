"""Money: the journal against itself, against every stored balance, and against payments, refunds and orders."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.chassis import money
from services.chassis.mongo import Database
from services.cli.audit.report import Finding, Wrong, compared, wrong_unless
from services.cli.audit.sheet import Sheet
from services.cli.audit.world import Check, World, batches, by_id, scan
from services.orders.model.states import State
from services.payments.model import ledger
from services.payments.model.payable import is_collected

TAKEN: Final = ("paid", "returned")
"""States of an attempt whose money the channel collected."""
OWED_TO_US: Final = ("shop:receivable", "platform:indemnity")
"""Kinds of accounts whose balance is never above zero; all others but the clearing ones are never below."""
STORED: Final = ("order:", "shop:", "redpack:", "buyer:", "share:")
"""Beginnings of accounts whose balance a document holds."""
CLEARING: Final = (ledger.CLEARING, ledger.BANK)
"""What the channel and the bank hold for the house; see ``clearing``."""
WAYS: Final = {
    ledger.CLEARING: {
        "collect": -1,
        "return": -1,
        "topup": -1,
        "deposit": -1,
        "refund": 1,
        "redirect": -1,
        "suspend": 0,
        "clear": 0,
    },
    ledger.BANK: {"payout": 1},
}
"""Which kinds of entries move a clearing account, and which way: −1 money came there, 1 it went from there, 0 both."""


# ----------------------------------------------------------------------------------------------------------------- the journal


def balanced(world: World) -> Iterator[Finding]:
    """Every journal entry has two postings or more, none of them zero, and their sum is 0."""
    for entry in scan(world.database("payments"), "entries", ("postings",)):
        amounts = [posting["amount"] for posting in entry["postings"]]
        well_formed = len(amounts) > 1 and 0 not in amounts and sum(amounts) == 0
        yield wrong_unless(well_formed, entry["_id"], "postings that sum to 0", amounts)


def balances(world: World) -> Iterator[Finding]:
    """Every stored balance (escrow, available, hold, deposit, receivable; waiting credits folded in) = the sum of its postings."""
    payments = world.database("payments")
    with Sheet() as sheet:
        for account, currency, amount in _postings(payments):
            if account.startswith(STORED):
                sheet.expect(f"{account} {currency}", amount)
        for payable in scan(payments, "payables", ("shares", "currency")):
            for share in payable["shares"]:
                sheet.find(f"{ledger.escrow(share['order_id'])} {payable['currency']}", share["escrow"])
        currencies = {}
        for shop in scan(payments, "shops"):
            currencies[shop["_id"]] = shop["currency"]
            for account, amount in _stored(shop):
                sheet.find(f"{account} {shop['currency']}", amount)
        for account, currency, amount in _beside(payments):
            sheet.find(f"{account} {currency}", amount)
        for credit in scan(payments, "credits", (), {"waiting": {"$exists": True}}):
            currency = currencies.get(credit["shop_id"], "")
            sheet.find(f"{_pocket(credit)} {currency}", credit["amount"])
        yield from sheet.findings()


def _beside(payments: Database) -> Iterator[tuple[str, str, int]]:
    """(account, currency, amount) of what rows beside the shops' balances hold."""
    for row in scan(payments, "packets", ("currency", "left")):
        yield ledger.packet(row["_id"]), row["currency"], row["left"]
    for row in scan(payments, "sharings", ("currency", "frozen")):
        yield ledger.frozen(row["_id"]), row["currency"], row["frozen"]
    for row in scan(payments, "wallets", ("currency", "balance")):
        yield ledger.wallet(row["_id"]), row["currency"], row["balance"]
    for row in scan(payments, "withdrawals", ("shop_id", "currency", "amount"), {"open": {"$exists": True}}):
        yield ledger.withdrawing(row["shop_id"]), row["currency"], row["amount"]
    for row in scan(payments, "maturing", ("shop_id", "currency", "amount"), {"waiting": {"$exists": True}}):
        yield ledger.pending(row["shop_id"]), row["currency"], row["amount"]


def _stored(shop: Mapping[str, Any]) -> list[tuple[str, int]]:
    identity = shop["_id"]
    return [
        (ledger.available(identity), shop["available"]),
        (ledger.deposit(identity), shop["deposit"]),
        (ledger.receivable(identity), -shop["receivable"]),
        *((ledger.hold(identity, case_id), amount) for case_id, amount in shop["held"].items()),
    ]


def _pocket(credit: Mapping[str, Any]) -> str:
    if credit["pocket"] == "hold":
        return ledger.hold(credit["shop_id"], credit["case_id"])
    account = {"available": ledger.available, "deposit": ledger.deposit}[credit["pocket"]]
    return account(credit["shop_id"])


def signs(world: World) -> Iterator[Finding]:
    """No account is on the wrong side of zero; in suspense is what reconciliation put there and nobody has resolved."""
    payments = world.database("payments")
    with Sheet() as sheet:
        for account, currency, amount in _postings(payments):
            sheet.find(f"{account} {currency}", amount)
        for one in scan(payments, "differences", ("amount", "currency"), {"state": "open"}):
            sheet.expect(f"{ledger.SUSPENSE} {one['currency']}", one["amount"])
        for key, expected, balance in sheet.rows():
            kind = ledger.kind_of(key.rpartition(" ")[0])
            if kind in CLEARING:
                continue  # by their entries: see ``clearing``
            if kind == ledger.SUSPENSE:
                yield compared(key, expected, balance)
            elif kind in OWED_TO_US:
                yield wrong_unless(balance <= 0, key, "at most 0", balance)
            else:
                yield wrong_unless(balance >= 0, key, "at least 0", balance)


def clearing(world: World) -> Iterator[Finding]:
    """The clearing accounts: money comes by payments and deposits and goes by refunds and payouts, never the other way round, and the channel gave back no more than it took."""
    payments, given = world.database("payments"), defaultdict[str, int](int)
    for entry in scan(payments, "entries", ("kind", "postings", "currency")):
        kind, wrong = entry["kind"], []
        for posting in entry["postings"]:
            if posting["account"] not in CLEARING:
                continue
            way = WAYS[posting["account"]].get(kind)
            if way is None or posting["amount"] * way < 0:
                wrong.append((posting["account"], posting["amount"]))
            if posting["account"] == ledger.CLEARING and way:
                given[entry["currency"]] += posting["amount"]
        yield wrong_unless(not wrong, entry["_id"], f"money moved as {kind} moves it", wrong)
    for currency, amount in sorted(given.items()):
        yield wrong_unless(amount <= 0, f"{ledger.CLEARING} {currency}", "at most 0", amount)


def withdrawn(world: World) -> Iterator[Finding]:
    """Every withdrawal: a paid one left the house once, a failed one came back whole and once, one that waits did neither."""
    payments = world.database("payments")
    with Sheet() as sheet:
        for row in scan(payments, "withdrawals", ("state", "amount", "fee")):
            sheet.expect(f"payout:{row['_id']}", row["amount"] if row["state"] == "paid" else 0)
            sheet.expect(f"withdraw-back:{row['_id']}", row["amount"] + row["fee"] if row["state"] == "failed" else 0)
        for entry in scan(payments, "entries", ("kind", "postings")):
            if entry["kind"] == "payout":
                sheet.find(entry["_id"], _moved(entry, ledger.BANK))
            elif entry["kind"] == "withdraw_back":
                sheet.find(entry["_id"], sum(one["amount"] for one in entry["postings"] if one["amount"] > 0))
        yield from sheet.findings()


def _postings(payments: Database) -> Iterator[tuple[str, str, int]]:
    for entry in scan(payments, "entries", ("postings", "currency")):
        for posting in entry["postings"]:
            yield posting["account"], entry["currency"], posting["amount"]


# ---------------------------------------------------------------------------------------------------------- collected, shared


def collected(world: World) -> Iterator[Finding]:
    """Every success that the channel told us of is in the journal once: collected into escrow, or booked in to be returned."""
    payments = world.database("payments")
    with Sheet() as sheet:
        for payable in scan(payments, "payables", ("payments",)):
            for one in payable["payments"]:
                if one["state"] in TAKEN:
                    sheet.expect(one["transaction_id"], one["amount"])
        for entry in scan(payments, "entries", ("kind", "postings")):
            if entry["kind"] in ("collect", "return"):
                sheet.find(entry["_id"].partition(":")[2], -_outside(entry))
        yield from sheet.findings()


def payables(world: World) -> Iterator[Finding]:
    """Every payable: Σ shares = its amount, and what was paid of each share is in escrow, refunded, settled or commission."""
    for payable in scan(world.database("payments"), "payables", ("shares", "amount", "state")):
        subject = f"payable {payable['_id']}"
        total = sum(share["amount"] for share in payable["shares"])
        lost = [share for share in payable["shares"] if not _accounted(share)]
        yield compared(subject, payable["amount"], total) or wrong_unless(
            not lost, subject, "every share accounted for", lost
        )


def _accounted(share: Mapping[str, Any]) -> bool:
    """Whether a share may be as it is. What the platform pays for a case leaves the escrow alone, so the parts may be more."""
    if not is_collected(share):
        return bool(share["escrow"] == share["refunded"] == share["settled"] == 0)
    if max(share["escrow"], share["refunded"], share["settled"]) > share["amount"]:
        return False
    if share["state"] == "settled":
        return bool(share["escrow"] == 0)
    return bool(share["settled"] == 0 and share["escrow"] + share["refunded"] >= share["amount"])


def shares(world: World) -> Iterator[Finding]:
    """Every order: what it took and what it rejected of payments = its collect postings, one for each of them."""
    with Sheet() as amounts, Sheet() as times:
        for order in scan(world.database("orders"), "orders", ("paid", "rejected", "rejected_payments.payment_id")):
            amounts.expect(order["_id"], order["paid"] + order["rejected"])
            times.expect(order["_id"], bool(order["paid"]) + len(order.get("rejected_payments", ())))
        for entry in scan(world.database("payments"), "entries", ("kind", "postings")):
            for posting in entry["postings"] if entry["kind"] == "collect" else ():
                if posting["kind"] == "order:escrow":
                    order_id = posting["account"].split(":")[1]
                    amounts.find(order_id, posting["amount"])
                    times.find(order_id, 1)
        yield from amounts.findings()
        yield from (finding for finding in times.findings() if finding is not None)


def escrow(world: World) -> Iterator[Finding]:
    """Every finished order (completed, closed): nothing of it is left in escrow."""
    fields = ("checkout_id", "state")
    finished = {"state": {"$in": [State.COMPLETED.value, State.CLOSED.value]}}
    for batch in batches(scan(world.database("orders"), "orders", fields, finished)):
        known = by_id(world.database("payments"), "payables", [order["checkout_id"] for order in batch], ("shares",))
        for order in batch:
            rows = known.get(order["checkout_id"], {}).get("shares", ())
            left = sum(share["escrow"] for share in rows if share["order_id"] == order["_id"])
            yield compared(f"order {order['_id']} ({order['state']})", 0, left)


def commissions(world: World) -> Iterator[Finding]:
    """Every settlement: the platform's fee is the rate frozen at the sale, of the goods that were not refunded out of escrow before."""
    fields = ("lines.amount", "amount", "commission_bp")
    settled = (entry for entry in scan(world.database("payments"), "entries") if entry["kind"] == "settle")
    for batch in batches(settled):
        ids = [entry["_id"].partition(":")[2] for entry in batch]
        orders, back = by_id(world.database("orders"), "orders", ids, fields), _back_from_escrow(world, ids)
        for entry in batch:
            order = orders.get(entry["_id"].partition(":")[2])
            if order is None:
                yield Wrong(entry["_id"], "an order", None)
                continue
            goods = min(sum(line["amount"] for line in order["lines"]), order["amount"])
            owed = money.share(max(0, goods - back[order["_id"]]), order["commission_bp"])
            yield compared(f"order {order['_id']} (fee)", owed, _moved(entry, ledger.FEE))


def _back_from_escrow(world: World, order_ids: Sequence[str]) -> Mapping[str, int]:
    """What the refunds of these orders say that they took from escrow."""
    found = dict.fromkeys(order_ids, 0)
    rows = scan(
        world.database("payments"), "refunds", ("order_id", "sources", "cause"), {"order_id": {"$in": list(order_ids)}}
    )
    for row in rows:
        if row["cause"] != "rejected":  # money that the order did not take; what it took came with another payment
            found[row["order_id"]] += sum(one["amount"] for one in row["sources"] if one["account"] == "escrow")
    return found


# ------------------------------------------------------------------------------------------------------------- refunds, holds


def refunds(world: World) -> Iterator[Finding]:
    """Every refund has exactly one entry, which gives exactly its amount back through the channel or into the wallet."""
    payments = world.database("payments")
    with Sheet() as amounts, Sheet() as times:
        for refund in scan(payments, "refunds", ("amount",)):
            amounts.expect(refund["_id"], refund["amount"])
            times.expect(refund["_id"], 1 if refund["amount"] else 0)
        for entry in scan(payments, "entries", ("kind", "postings", "refs")):
            if entry["kind"] == "refund":
                number = entry["_id"].partition(":")[2]
                amounts.find(number, _outside(entry))
                times.find(number, 1)
        yield from amounts.findings()
        yield from (finding for finding in times.findings() if finding is not None)


def refunded(world: World) -> Iterator[Finding]:
    """Every refund has reached the buyer, and those of one transaction are not more than was paid with it."""
    with Sheet() as sheet:
        fields = ("state", "transaction_id", "amount", "total", "sources")
        for refund in scan(world.database("payments"), "refunds", fields):
            drawn = sum(source["amount"] for source in refund["sources"])
            expected, found = ("succeeded", refund["amount"]), (refund["state"], drawn)
            yield compared(f"refund {refund['_id']} (state, drawn)", expected, found)
            sheet.find(f"{refund['transaction_id']} {refund['total']}", refund["amount"])
        for key, _, given in sheet.rows():
            transaction, _, total = key.rpartition(" ")
            if given > int(total):
                yield Wrong(f"transaction {transaction}", f"at most {total} refunded", given)


def holds(world: World) -> Iterator[Finding]:
    """Every closed case: what was held for it was released or paid out."""
    payments = world.database("payments")
    with Sheet() as sheet:
        for entry in scan(payments, "entries", ("postings",)):
            for posting in entry["postings"]:
                if posting["kind"] == "shop:hold":
                    sheet.find(posting["account"].split(":", 3)[3], posting["amount"])
        for payable in scan(payments, "payables", ("cases",)):
            for case_id, case in payable["cases"].items():
                sheet.expect(case_id, int(case["state"] == "closed"))
        for case_id, is_closed, held in sheet.rows():
            if is_closed:
                yield compared(f"case {case_id}", 0, held)


def _outside(entry: Mapping[str, Any]) -> int:
    """What an entry gives to buyers: at the channel, or into their wallets."""
    given = [one for one in entry["postings"] if one["account"] == ledger.CLEARING or one["kind"] == "buyer:wallet"]
    return sum(posting["amount"] for posting in given)


def _moved(entry: Mapping[str, Any], account: str) -> int:
    return sum(posting["amount"] for posting in entry["postings"] if posting["account"] == account)


CHECKS: Final[tuple[Check, ...]] = (
    balanced,
    balances,
    signs,
    clearing,
    withdrawn,
    collected,
    payables,
    shares,
    escrow,
    commissions,
    refunds,
    refunded,
    holds,
)
