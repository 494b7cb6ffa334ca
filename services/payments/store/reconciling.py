"""Reconciliation in the database: the days, their differences, and the ledger's and the trades' side of the channel's bill."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from services.chassis import clock
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change
from services.chassis.mongo import Document
from services.payments.model import reconciling
from services.payments.model.bills import midnight
from services.payments.model.bookkeeping import CHANNEL, book
from services.payments.model.plan import Books, Plan
from services.payments.model.reconciling import Key, Movement
from services.payments.store import Store
from services.payments.store.posting import post

AT_ONCE: Final = 500
FIRST_SPAN_MS: Final = 60_000


# ---------------------------------------------------------------------------------------------------------------- the ledger


def movements(store: Store, cst_day: str) -> Iterator[tuple[Key, Movement]]:
    """The ledger's side of the channel's bill of a day, as it is read, in the order of time.

    Read by when it was written, which is what its channel day was told from: the index of ``books`` has no order in which a
    large day could be read in parts.
    """
    begin = midnight(cst_day)
    written = _written(store, clock.ms(begin), clock.ms(begin + timedelta(days=1)))
    key = book(CHANNEL, cst_day)
    return _movements((entry for entry in written if key in entry["books"]), cst_day)


def _written(store: Store, begin: int, end: int) -> Iterator[Document]:
    """Entries written from ``begin`` to before ``end`` (wall ms), in spans that hold some hundreds each."""
    fields, span = {"kind": 1, "postings": 1, "books": 1}, FIRST_SPAN_MS
    while begin < end:
        until, count = min(begin + span, end), 0
        window = {"written_at": {"$gte": begin, "$lt": until}}
        for entry in store.entries.find(window, fields, batch_size=AT_ONCE):
            count += 1
            yield entry
        begin = until
        span = span * 2 if count < AT_ONCE // 2 else max(span // 2, 1) if count > 2 * AT_ONCE else span


def movements_elsewhere(store: Store, keys: Iterable[Key]) -> dict[Key, Movement]:
    """What the ledger has of these keys, on whatever day."""
    found: dict[Key, Movement] = {}
    ids = [identity for key in keys for identity in reconciling.entry_ids(key)]
    for some in _some(ids):
        for entry in store.entries.find({"_id": {"$in": some}}, {"kind": 1, "postings": 1, "books": 1}):
            days = [one.partition("|")[2] for one in entry["books"] if one.startswith(f"{CHANNEL}|")]
            found |= dict(_movements([entry], days[0] if days else ""))
    return found


def _movements(entries: Iterable[Document], cst_day: str) -> Iterator[tuple[Key, Movement]]:
    for entry in entries:
        moved = reconciling.movement_of(entry)
        if moved is not None:
            yield moved[0], Movement(moved[1], cst_day)


def trades(store: Store, numbers: Collection[str]) -> tuple[set[str], set[str]]:
    """Which of these trade numbers are ours, and which of those have been paid as far as the ledger knows."""
    ours: set[str] = set()
    paid: set[str] = set()
    for some in _some(sorted(set(numbers))):
        for payable in store.payables.find({"trade_nos": {"$in": some}}, {"payments": 1}):
            ours |= {one["out_trade_no"] for one in payable["payments"]}
            paid |= {one["out_trade_no"] for one in payable["payments"] if one.get("transaction_id")}
        for topup in store.topups.find({"_id": {"$in": some}}, {"state": 1}):
            ours.add(topup["_id"])
            if topup["state"] == "paid":
                paid.add(topup["_id"])
    return ours, paid


# --------------------------------------------------------------------------------------------------------------- differences


def differences_of(store: Store, cst_day: str) -> Iterator[Document]:
    """What every difference of a day is about, in no order: ``{_id, item, number}``."""
    fields = {"item": 1, "number": 1}
    return iter(store.differences.find({"day": cst_day}, fields, batch_size=AT_ONCE))


def differences(store: Store, ids: Iterable[str]) -> list[Document]:
    """These differences."""
    return [row for some in _some(ids) for row in store.differences.find({"_id": {"$in": some}})]


def page(store: Store, cst_day: str, after: str, limit: int) -> list[Document]:
    """Differences of a day behind the id ``after``, by id."""
    query = {"day": cst_day, "_id": {"$gt": after}}
    return list(store.differences.find(query).sort("_id", 1).limit(limit))


def open_by_number(store: Store, numbers: Iterable[str], besides: str) -> Mapping[str, list[Document]]:
    """Open differences of other days than ``besides`` about these payments and refunds."""
    found: dict[str, list[Document]] = defaultdict(list)
    for some in _some(sorted(set(numbers))):
        for row in store.differences.find({"number": {"$in": some}, "state": "open"}):
            if row["day"] != besides:
                found[row["number"]].append(row)
    return found


def counts(store: Store, cst_day: str) -> tuple[dict[str, int], int]:
    """How many differences of each kind the day has, and how many of all are open."""
    group = {"_id": {"kind": "$kind", "state": "$state"}, "count": {"$sum": 1}}
    kinds: dict[str, int] = defaultdict(int)
    waiting = 0
    for one in store.differences.aggregate([{"$match": {"day": cst_day}}, {"$group": group}]):
        kinds[one["_id"]["kind"]] += one["count"]
        waiting += one["count"] if one["_id"]["state"] == "open" else 0
    return dict(kinds), waiting


def report(store: Store, row: Document) -> dict[str, Any]:
    """A day's reconciliation as the API shows it."""
    kinds, waiting = counts(store, row["_id"])
    told: dict[str, Any] = {
        name: row[name] for name in ("state", "ledger", "channel", "matched", "bill_sha256") if name in row
    }
    told |= {"date": row["_id"], "kinds": kinds, "differences": sum(kinds.values()), "open": waiting}
    told |= {"problem": row.get("job_error", "")}
    if "reconciled_at" in row:
        told["reconciled_at"] = row["reconciled_at"]
    if "next_at" in row:
        told["next_run_at"] = clock.moment(row["next_at"])
    return told


def clear(
    store: Store, row: Document, resolution: str, cause: Cause, writing: Transaction | None = None, note: str = ""
) -> None:
    """Take an open difference back out of suspense, in one transaction. Raises Shortfall, Taken where another was faster."""
    entry = reconciling.clearing(row, resolution)
    told = {"resolution": resolution, "cleared_by": entry.id, "resolved_at": clock.business(), "note": note}
    change = Change(set={"state": "resolved", **told}, guard={"state": "open"})
    both = (writing or Transaction(store.client)).change(store.differences, row, change, cause)
    post(store, Plan(entries=(entry,)), Books(None), cause, both)


def _some(items: Iterable[str]) -> Iterator[list[str]]:
    """The items in lists of ``AT_ONCE``."""
    iterator = iter(items)
    while batch := list(islice(iterator, AT_ONCE)):
        yield batch
