"""Reconciliation (对账): the ledger's movements of one channel day against the rows of the channel's bill. Pure.

Amounts are signed fen: payments positive, refunds negative. Each difference has an ``amount`` = channel - ledger; posting it to
``suspense`` makes ``channel:clearing`` of the day what the bill says. One of another day with the opposite amount takes it back.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.payments.model import ledger
from services.payments.model.channel_bill import PAYMENT, REFUND, Billed
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Document

Row = dict[str, Any]
Key = tuple[str, str]
"""(payment | refund, number)."""
ITEMS: Final = {
    "collect": PAYMENT,
    "return": PAYMENT,
    "topup": PAYMENT,
    "deposit": PAYMENT,
    "refund": REFUND,
    "redirect": REFUND,
}
"""Kinds of entries that are the other side of a row of the channel's bill. A redirect takes its refund back: the bill has neither."""
PREFIXES: Final = {PAYMENT: ("collect", "return", "topup", "deposit"), REFUND: ("refund",)}
POSTED: Final = "suspend"
CLEARED: Final = "clear"


@dataclass(frozen=True, slots=True)
class Movement:
    """What the ledger has: ``amount`` signed, on the channel day ``day``."""

    amount: int
    day: str
    out_trade_no: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the house knows beside the day's entries, about the keys that only one side has.

    ``elsewhere``: movements of other days by key; ``next_door``: the keys of the bills of the day before and after, with their
    day; ``trades``: which of the bill's trade numbers are ours; ``paid``: trade numbers of which the ledger has a payment.
    """

    elsewhere: Mapping[Key, Movement]
    next_door: Mapping[Key, str]
    trades: Collection[str]
    paid: Collection[str]


@dataclass(frozen=True, slots=True)
class Found:
    """One difference as it is found. ``occurrence``: 0, or which of several rows of one number too many."""

    kind: str
    item: str
    number: str
    out_trade_no: str
    ours: int
    theirs: int
    missing_in: str = ""
    other_day: str = ""
    occurrence: int = 0

    @property
    def amount(self) -> int:
        """What the channel has more than the ledger, in fen."""
        return self.theirs - self.ours

    @property
    def slot(self) -> str:
        """What it is about, within its day."""
        return f"{self.item}:{self.number}:{self.occurrence}"


def movement_of(entry: Document) -> tuple[Key, int] | None:
    """The key and signed amount of an entry that is the other side of a bill row; None for every other entry."""
    item = ITEMS.get(entry["kind"])
    if item is None:
        return None
    number = str(entry["_id"]).partition(":")[2]
    return (item, number), -sum(one["amount"] for one in entry["postings"] if one["account"] == ledger.CLEARING)


def netted(lines: Sequence[tuple[int, str]]) -> tuple[int, str] | None:
    """What entries of one key (amount, trade) come to; None where one takes the other back."""
    total = sum(amount for amount, _ in lines)
    return (total, lines[0][1]) if total else None


def entry_ids(key: Key) -> list[str]:
    """The ids that the ledger's entry of this key may have."""
    item, number = key
    return [f"{prefix}:{number}" for prefix in PREFIXES[item]]


def grouped(rows: Sequence[Billed]) -> dict[Key, list[Billed]]:
    """The bill's rows by key."""
    found: dict[Key, list[Billed]] = defaultdict(list)
    for row in rows:
        found[row.item, row.number].append(row)
    return dict(found)


def compare(
    ours: Mapping[Key, Movement], theirs: Mapping[Key, Sequence[Billed]], known: Known
) -> tuple[list[Found], int]:
    """All differences of the day, in the order of their numbers, and how many payments and refunds agree."""
    found, matched = [], 0
    for key in sorted({*ours, *theirs}):
        mine, rows = ours.get(key), theirs.get(key, ())
        if not rows:
            found.append(_only_here(key, ours[key], known))
            continue
        first = rows[0]
        if mine is None:
            found.append(_only_there(key, first, known))
        elif mine.amount != first.amount:
            found.append(Found("amount", *key, first.out_trade_no, mine.amount, first.amount))
        else:
            matched += 1
        found += [
            Found("double", *key, row.out_trade_no, 0, row.amount, occurrence=number)
            for number, row in enumerate(rows[1:], start=1)
        ]
    return found, matched


def _only_here(key: Key, mine: Movement, known: Known) -> Found:
    other = known.next_door.get(key, "")
    if other:
        return Found("late", *key, mine.out_trade_no, mine.amount, 0, other_day=other)
    return Found("missing", *key, mine.out_trade_no, mine.amount, 0, missing_in="channel")


def _only_there(key: Key, row: Billed, known: Known) -> Found:
    other = known.elsewhere.get(key)
    if other is not None:
        return Found("late", *key, row.out_trade_no, 0, row.amount, other_day=other.day)
    if row.out_trade_no not in known.trades:
        return Found("unknown", *key, row.out_trade_no, 0, row.amount)
    if row.item == REFUND:
        return Found("refund_only", *key, row.out_trade_no, 0, row.amount)
    if row.out_trade_no in known.paid:
        return Found("double", *key, row.out_trade_no, 0, row.amount)
    return Found("missing", *key, row.out_trade_no, 0, row.amount, missing_in="ledger")


# --------------------------------------------------------------------------------------------------------- what is made of them


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: ``post`` a difference found, ``clear`` one that is no longer found, or ``pair`` one with that of another day."""

    action: str
    found: Found | None = None
    difference: Row | None = None
    generation: int = 0


def steps(found: Sequence[Found], before: Sequence[Row], others: Mapping[str, Sequence[Row]]) -> list[Step]:
    """What a run of a day does. ``before``: all differences of the day that earlier runs wrote down; ``others``: open differences
    of other days by number.

    Done again it has nothing to do: what is found and stands as it was found, or was dealt with by a person or another day, stays.
    """
    by_slot: dict[str, list[Row]] = defaultdict(list)
    for one in before:
        by_slot[one["slot"]].append(one)
    planned: list[Step] = []
    now = {one.slot: one for one in found}
    for slot, rows in by_slot.items():
        gone = slot not in now
        planned += [
            Step("clear", difference=row)
            for row in rows
            if row["state"] == "open" and (gone or now[slot].amount != row["amount"])
        ]
    used: set[str] = set()
    for new in found:
        rows = by_slot.get(new.slot, [])
        if any(row["amount"] == new.amount and row.get("resolution") != "corrected" for row in rows):
            continue
        pair = next((row for row in others.get(new.number, ()) if _opposite(new, row) and row["_id"] not in used), None)
        if pair is not None:
            used.add(pair["_id"])
        planned.append(Step("pair" if pair else "post", new, pair, len(rows)))
    return planned


def _opposite(one: Found, row: Document) -> bool:
    return bool(row["item"] == one.item and row["amount"] == -one.amount and row["state"] == "open")


def difference_id(day: str, found: Found, generation: int) -> str:
    """The id of a difference: its day and slot; one that was put right and came back has a new one."""
    return f"{day}:{found.slot}" + (f":{generation}" if generation else "")


def row(day: str, found: Found, generation: int, currency: str) -> dict[str, Any]:
    """A difference as it is stored, open."""
    identity = difference_id(day, found, generation)
    return {
        "_id": identity,
        "day": day,
        "slot": found.slot,
        "currency": currency,
        "kind": found.kind,
        "missing_in": found.missing_in,
        "item": found.item,
        "number": found.number,
        "out_trade_no": found.out_trade_no,
        "ledger_amount": found.ours,
        "channel_amount": found.theirs,
        "amount": found.amount,
        "other_day": found.other_day,
        "state": "open",
        "entry_id": f"{POSTED}:{identity}",
    }


def posting(difference: Document) -> Entry:
    """The entry that puts a difference into suspense and cites it."""
    amount = difference["amount"]
    sides = (Posting(ledger.CLEARING, -amount), Posting(ledger.SUSPENSE, amount))
    return _entry(POSTED, difference, sides)


def clearing(difference: Document, resolution: str) -> Entry:
    """The entry that takes a difference back out of suspense: undone, or borne (kept) by the house."""
    amount = difference["amount"]
    against = ledger.CLEARING
    if resolution == "absorbed":
        against = ledger.FEE if amount > 0 else ledger.INDEMNITY
    return _entry(CLEARED, difference, (Posting(ledger.SUSPENSE, -amount), Posting(against, amount)))


def _entry(kind: str, difference: Document, sides: tuple[Posting, Posting]) -> Entry:
    refs = (str(difference["_id"]), difference["number"], difference["out_trade_no"])
    terms = {"kind": difference["kind"], "date": difference["day"]}
    return Entry(f"{kind}:{difference['_id']}", kind, difference["currency"], sides, refs, terms)
