"""Questions about blocks and what is not sealed yet, and the one write that seals a block."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis import clock
from services.chassis.commit import Transaction
from services.chassis.mongo import Document
from services.payments.model import periods, sealing
from services.payments.model.sealing import OVERLAP_MS, Chain, Flaw, settled
from services.payments.store import Store

STANDING: Final = "journal"
"""The row of ``sealing`` that the jobs process always has work on."""
LOOK: Final = 50_000
"""Entries looked at in one round."""
WRITTEN: Final = {"written_at": 1}
_PART: Final = 20
"""Blocks read at once."""


def head(store: Store) -> Document | None:
    """The last block."""
    return next(iter(store.blocks.find({}).sort("number", -1).limit(1)), None)


def block(store: Store, number: int) -> Document | None:
    """A block by its number."""
    return store.blocks.find_one({"_id": number})


def following(store: Store, number: int, most: int) -> Iterator[Document]:
    """The blocks behind ``number``, at most ``most`` of them; where some are missing, those after the gap."""
    last = head(store)
    upto = min(number + most, last["number"] if last else 0)
    while number < upto:
        part = min(number + _PART, upto)
        query = {"number": {"$gt": number, "$lte": part}}
        yield from sorted(store.blocks.find(query), key=lambda found: int(found["number"]))
        number = part


def stored(store: Store, sealed: Document) -> dict[str, Document]:
    """The entries of a block as they are in the journal, by id."""
    ids = [line["id"] for line in sealed["entries"]]
    return {row["_id"]: row for row in store.entries.find({"_id": {"$in": ids}})}


def verified_before(store: Store, number: int) -> list[tuple[Document, dict[str, Document]]]:
    """The block ``number`` and those before it whose entries may still be looked for, oldest first, with their entries."""
    found: list[tuple[Document, dict[str, Document]]] = []
    last = block(store, number)
    since = last["reached"] - 2 * OVERLAP_MS if last is not None else 0
    while last is not None and last["reached"] > since:
        found.insert(0, (last, stored(store, last)))
        last = block(store, last["number"] - 1)
    return found


# ----------------------------------------------------------------------------------------------------------------- not sealed yet


@dataclass(frozen=True, slots=True)
class Unsealed:
    """What is in no block. ``rows``: ``{_id, written_at}``, oldest first; ``until``: wall ms until when that is all.

    ``last``: the head of the chain that this was asked of. A block may only follow that one: another that was made meanwhile holds some
    of these rows, and then the next number is taken.
    """

    rows: list[Document]
    until: int
    last: Document | None


def unsealed(store: Store, limit: int = LOOK) -> Unsealed:
    """What was written lately and is in no block yet."""
    last, row, now = head(store), standing(store), clock.wall_ms()
    low = settled(_reached_so_far(row, last))
    known = _sealed_since(store, low)
    # What another machine, whose clock is ahead, has written a moment ago is looked at too.
    rows = list(store.entries.find(_written_in(low, now + OVERLAP_MS), WRITTEN).sort("written_at", 1).limit(limit))
    if len(rows) == limit:
        now = min(now, rows[-1]["written_at"] - 1)
    left = [row for row in rows if row["_id"] not in known]
    return Unsealed(sorted(left, key=lambda one: (one["written_at"], one["_id"])), now, last)


def unsealed_of(store: Store, shop_id: str) -> list[Document]:
    """The entries that move the shop's money, were written lately and are in no block yet."""
    low = settled(_reached_so_far(standing(store), head(store)))
    known, window = _sealed_since(store, low), _written_in(low, clock.wall_ms() + OVERLAP_MS)
    return [one for one in store.entries.find({**window, "postings.shop": shop_id}) if one["_id"] not in known]


def standing(store: Store) -> Document:
    """The row that says how far sealing has come: ``reached`` (wall ms), ``summed`` and ``looked`` (numbers of blocks)."""
    return store.sealing.find_one({"_id": STANDING}) or {}


def _reached_so_far(row: Document, last: Document | None) -> int:
    return max(int(row.get("reached", 0)), last["reached"] if last is not None else 0)


def _sealed_since(store: Store, low: int) -> set[str]:
    """The ids in all blocks that may hold what was written after ``low``."""
    blocks = {"reached": {"$gt": low - OVERLAP_MS, "$lt": clock.wall_ms() * 2}}
    return {line["id"] for sealed in store.blocks.find(blocks, {"entries.id": 1}) for line in sealed["entries"]}


def _written_in(low: int, high: int) -> Document:
    return {"written_at": {"$gt": low, "$lte": high}}


# --------------------------------------------------------------------------------------------------------- what came late


def blocks_of(store: Store, ids: Iterable[str]) -> dict[str, list[int]]:
    """Entry id → the numbers of the blocks that hold it, of those that are in some."""
    wanted, found = set(ids), dict[str, list[int]]()
    for sealed in store.blocks.find({"entries.id": {"$in": sorted(wanted)}}, {"entries.id": 1}) if wanted else ():
        for line in sealed["entries"]:
            if line["id"] in wanted:
                found.setdefault(line["id"], []).append(int(sealed["_id"]))
    return found


def overlooked(store: Store, number: int) -> tuple[list[Document], Document | None, bool]:
    """What is in no block though it was written in the time from which block ``number`` + 1 took its entries.

    Answers (rows ``{_id, written_at}`` oldest first, the head of the chain that this was asked of, whether there is such a block).
    Behind the last block it is the time since then of which the 5-second rounds look at nothing any more.
    """
    last = head(store)
    ends = {one["_id"]: one for one in store.blocks.find({"_id": {"$in": [number, number + 1]}}, {"reached": 1})}
    low = settled(ends[number]["reached"]) if number in ends else -1
    high = settled(ends[number + 1]["reached"] if number + 1 in ends else _reached_so_far(standing(store), last))
    rows = list(store.entries.find(_written_in(low, high), WRITTEN).sort("written_at", 1))
    sealed = blocks_of(store, [row["_id"] for row in rows])
    return [row for row in rows if row["_id"] not in sealed], last, number + 1 in ends


def looked(store: Store, name: str, number: int) -> None:
    """Remember that the look ``name`` has come to block ``number``."""
    writing = Transaction(store.client)
    writing.update(store.sealing, {"_id": STANDING}, {"$set": {f"looked.{name}": number}})
    writing.commit()


# ------------------------------------------------------------------------------------------------------------------- sealing


def seal(
    store: Store, before: Document | None, rows: Sequence[Document], reached: int, *, late: bool = False
) -> Document:
    """Seal these entries (``_id``) in the block that follows ``before``, with what they move in their periods, in one write; the block.

    Raises Taken or Shortfall where another process was faster, and nothing is written then.
    """
    found = {row["_id"]: row for row in store.entries.find({"_id": {"$in": [row["_id"] for row in rows]}})}
    entries = [found[row["_id"]] for row in rows]
    upto = max(reached, before["reached"] if before else 0)
    sealed = sealing.block(before, entries, upto, clock.business(), late=late)
    writing = Transaction(store.client).insert(store.blocks, sealed)
    _summed(writing, store, sealed["number"], entries, {"$max": {"reached": reached}})
    writing.commit()
    return sealed


def sum_up(store: Store) -> bool:
    """Add the first block that is in no sum yet to the sums, in one write; False where none is.

    Blocks are summed when they are made. This is for sums that are to be made anew from the chain: drop ``sums`` and unset ``summed``
    in the standing row. Raises Shortfall where another process was faster.
    """
    number = int(standing(store).get("summed", 0)) + 1
    sealed = block(store, number)
    if sealed is None:
        return False
    writing = Transaction(store.client)
    _summed(writing, store, number, list(stored(store, sealed).values()), {})
    writing.commit()
    return True


def _summed(writing: Transaction, store: Store, number: int, entries: Sequence[Document], more: Document) -> None:
    """The sums with these entries of block ``number``, of which those of the block before it must be the last."""
    before = {"_id": STANDING, "summed": number - 1 or None}
    writing.update(store.sealing, before, {"$set": {"summed": number}, **more})
    added = periods.additions(entries)
    there = {row["_id"] for row in store.sums.find({"_id": {"$in": list(added)}}, {"_id": 1})}
    for row_id, row in added.items():
        amounts = row.pop("added")
        if row_id in there:
            writing.update(store.sums, {"_id": row_id}, {"$inc": dict(amounts)})
        else:
            writing.insert(store.sums, {"_id": row_id, **row})


def nothing_until(store: Store, reached: int) -> None:
    """Remember that every entry written until ``reached`` (wall ms) is sealed, so that the next round begins there."""
    writing = Transaction(store.client)
    writing.update(store.sealing, {"_id": STANDING}, {"$max": {"reached": reached}})
    writing.commit()


# ---------------------------------------------------------------------------------------------------------------------- verifying


@dataclass(frozen=True, slots=True)
class Verified:
    """One run over blocks. ``ended``: it came to the head; then ``waiting`` entries are in no block, the oldest written at ``oldest``.

    ``number``, ``head``: the last block verified and its hash; ``late``: entries under seal in blocks that say that they came late;
    ``oldest``: wall ms, 0 where none waits.
    """

    number: int
    head: str
    entries: int
    flaws: list[Flaw]
    ended: bool
    late: int = 0
    waiting: int = 0
    oldest: int = 0


def verify(store: Store, after: int, most: int, patience_ms: int = 0) -> Verified:
    """Verify up to ``most`` blocks behind block ``after`` against the journal, and at the head what is in no block.

    What is in no block is no flaw for ``patience_ms`` after it was written: it waits to be sealed.
    """
    chain, flaws = Chain(), list[Flaw]()
    chain.resume(verified_before(store, after) if after else ())
    chain.number, chain.checked, chain.late, low = after, 0, 0, chain.settled
    missed: list[Document] = []
    for sealed in following(store, after, most):
        flaws += chain.take(sealed, stored(store, sealed), _elsewhere(store, sealed))
        if chain.settled > low:
            missed += _in_none(store, chain.seen, low, chain.settled)
            low = chain.settled
            chain.forget()
    patient = clock.wall_ms() - patience_ms
    flaws += chain.written(row for row in missed if row["written_at"] <= patient)
    last = head(store)
    if last is not None and chain.number < last["number"]:
        return Verified(chain.number, chain.head, chain.checked, flaws, ended=False, late=chain.late)
    waiting = [row for row in missed if row["written_at"] > patient]
    waiting += _in_none(store, chain.seen, low, clock.wall_ms())
    oldest = min((row["written_at"] for row in waiting), default=0)
    return Verified(
        chain.number, chain.head, chain.checked, flaws, True, late=chain.late, waiting=len(waiting), oldest=oldest
    )


def _elsewhere(store: Store, sealed: Document) -> Mapping[str, int]:
    """Of the entries of a late block, those that an earlier block holds too."""
    if not sealed.get("late"):
        return {}
    found = blocks_of(store, [line["id"] for line in sealed["entries"]])
    return {name: min(numbers) for name, numbers in found.items() if min(numbers) < sealed["number"]}


def _in_none(store: Store, seen: Mapping[str, int], low: int, high: int) -> list[Document]:
    """What was written then and is in no block: not in those just verified, nor in a later one that says that it is late."""
    rows = [row for row in store.entries.find(_written_in(low, high), WRITTEN) if row["_id"] not in seen]
    sealed = blocks_of(store, [row["_id"] for row in rows])
    return [row for row in rows if row["_id"] not in sealed]
