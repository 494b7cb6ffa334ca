"""Questions about blocks and what is not sealed yet, and the one write that seals a block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis import clock
from services.chassis.commit import Transaction
from services.chassis.mongo import Document
from services.payments.model import periods, sealing
from services.payments.model.sealing import OVERLAP_MS, Chain, Flaw
from services.payments.store import Store

STANDING: Final = "journal"
"""The row of ``sealing`` that the jobs process always has work on."""
LOOK: Final = 50_000
"""Entries looked at in one round."""
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
    """What is in no block yet."""
    last = head(store)
    row = store.sealing.find_one({"_id": STANDING}) or {}
    reached, now = int(row.get("reached", 0)), clock.wall_ms()
    low = reached - OVERLAP_MS
    known = {
        line["id"]
        for sealed in store.blocks.find({"reached": {"$gt": low - OVERLAP_MS, "$lt": now * 2}}, {"entries.id": 1})
        for line in sealed["entries"]
    }
    # What another machine, whose clock is ahead, has written a moment ago is looked at too.
    window = {"written_at": {"$gt": low, "$lte": now + OVERLAP_MS}}
    rows = list(store.entries.find(window, {"written_at": 1}).sort("written_at", 1).limit(limit))
    if len(rows) == limit:
        now = min(now, rows[-1]["written_at"] - 1)
    left = [row for row in rows if row["_id"] not in known]
    return Unsealed(sorted(left, key=lambda one: (one["written_at"], one["_id"])), now, last)


def seal(store: Store, before: Document | None, rows: Sequence[Document], reached: int) -> Document:
    """Seal these entries (``_id``) in the block that follows ``before``, with what they move in their periods, in one write; the block.

    Raises Taken or Shortfall where another process was faster, and nothing is written then.
    """
    found = {row["_id"]: row for row in store.entries.find({"_id": {"$in": [row["_id"] for row in rows]}})}
    entries = [found[row["_id"]] for row in rows]
    sealed = sealing.block(before, entries, max(reached, before["reached"] if before else 0), clock.business())
    writing = Transaction(store.client).insert(store.blocks, sealed)
    _reached(writing, store, reached)
    added = periods.additions(entries)
    there = {row["_id"] for row in store.periods.find({"_id": {"$in": list(added)}}, {"_id": 1})}
    for row_id, row in added.items():
        more = row.pop("added")
        if row_id in there:
            writing.update(store.periods, {"_id": row_id}, {"$inc": dict(more)})
        else:
            writing.insert(store.periods, {"_id": row_id, **row})
    writing.commit()
    return sealed


def nothing_until(store: Store, reached: int) -> None:
    """Remember that every entry written until ``reached`` (wall ms) is sealed, so that the next round begins there."""
    writing = Transaction(store.client)
    _reached(writing, store, reached)
    writing.commit()


def _reached(writing: Transaction, store: Store, reached: int) -> None:
    writing.update(store.sealing, {"_id": STANDING}, {"$max": {"reached": reached}})


# ---------------------------------------------------------------------------------------------------------------------- verifying


@dataclass(frozen=True, slots=True)
class Verified:
    """One run over blocks. ``ended``: it came to the head; then ``waiting`` entries are in no block, the oldest written at ``oldest``.

    ``number``, ``head``: the last block verified and its hash; ``oldest``: wall ms, 0 where none waits.
    """

    number: int
    head: str
    entries: int
    flaws: list[Flaw]
    ended: bool
    waiting: int = 0
    oldest: int = 0


def verify(store: Store, after: int, most: int) -> Verified:
    """Verify up to ``most`` blocks behind block ``after`` against the journal, and at the head what is in no block."""
    chain, flaws = Chain(), list[Flaw]()
    chain.resume(verified_before(store, after) if after else ())
    chain.number, chain.checked, low = after, 0, chain.settled
    for sealed in following(store, after, most):
        flaws += chain.take(sealed, stored(store, sealed))
        if chain.settled > low:
            flaws += chain.written(_written(store, low, chain.settled))
            low = chain.settled
            chain.forget()
    last = head(store)
    if last is not None and chain.number < last["number"]:
        return Verified(chain.number, chain.head, chain.checked, flaws, ended=False)
    waiting = [row["written_at"] for row in _written(store, low, clock.wall_ms()) if row["_id"] not in chain.seen]
    oldest = min(waiting, default=0)
    return Verified(chain.number, chain.head, chain.checked, flaws, ended=True, waiting=len(waiting), oldest=oldest)


def _written(store: Store, low: int, high: int) -> Iterator[Document]:
    window = {"written_at": {"$gt": low, "$lte": high}}
    return iter(store.entries.find(window, {"written_at": 1}))
