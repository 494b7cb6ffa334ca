"""Sealing: journal entries are put under seal in blocks, after they were written, so that no writer waits for another.

A block lists entries by id and digest, and its own hash covers the block before it: whoever changes, removes, inserts or reorders
anything under seal has to make every later block anew, and the head that an auditor wrote down no longer fits.

::

    {_id: number, number, previous, reached, sealed_at, entries: [{id, digest}], hash, late: true}

``reached``: wall ms; every entry that was written until then, less ``OVERLAP_MS``, and was there when the block was made is in it or an
earlier one. What was written before that and became visible later (a writer that slept, a clock that is behind) is sealed in a
block that says so: ``late``. So each entry has one place: a block that is not late holds only what was written after the time
that the blocks before it answer for, a late one only what was written within it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.payments.model.plan import Document

GENESIS: Final = "0" * 64
"""What the first block follows."""
OVERLAP_MS: Final = 120_000
"""How far back a round looks for entries that were committed after others written later: a transaction lives 60 s at most, then its tries."""
BLOCK: Final = 500
"""Entries in one block."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What a verification found.

    ``kind``: changed, missing, inserted, sealed_twice, late_untold, not_late (of an entry), block_changed, block_missing (of a block).
    """

    kind: str
    subject: str
    expected: str = ""
    found: str = ""


def canonical(document: Document) -> bytes:
    """A document as the bytes that are hashed: JSON with sorted names, UTC moments to the millisecond, no spaces."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_moment, allow_nan=False
    ).encode()


def _moment(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"no canonical form of {type(value).__name__}")
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def digest(document: Document) -> str:
    """SHA-256 of everything that is stored of an entry."""
    return hashlib.sha256(canonical(document)).hexdigest()


def settled(reached: int) -> int:
    """Wall ms until which a chain that ``reached`` so far answers for every entry written."""
    return reached - OVERLAP_MS


def is_late(written_at: int, previous: Document | None) -> bool:
    """Whether what was written then (wall ms) should have been in the block ``previous`` or an earlier one."""
    return previous is not None and written_at <= settled(previous["reached"])


def block(
    previous: Document | None, entries: Sequence[Document], reached: int, now: datetime, *, late: bool = False
) -> dict[str, Any]:
    """The block after ``previous`` over these stored entries, in their order. ``reached``: wall ms; ``now``: business time, UTC."""
    number = 1 if previous is None else previous["number"] + 1
    sealed: dict[str, Any] = {
        "_id": number,
        "number": number,
        "previous": GENESIS if previous is None else previous["hash"],
        "reached": reached,
        # The database keeps milliseconds; what is hashed must be what is read again.
        "sealed_at": now.replace(microsecond=now.microsecond // 1000 * 1000),
        "entries": [{"id": entry["_id"], "digest": digest(entry)} for entry in entries],
        **({"late": True} if late else {}),
    }
    return {**sealed, "hash": hash_of(sealed)}


def hash_of(sealed: Document) -> str:
    """The hash of a block: of all that is stored of it but the hash."""
    return digest({name: value for name, value in sealed.items() if name != "hash"})


@dataclass(slots=True)
class Chain:
    """Verifies blocks one after the other. ``seen``: entry id → ``written_at`` of what is under seal and may still be looked for.

    ``late``: entries in blocks that are late; ``checked``: all.
    """

    number: int = 0
    head: str = GENESIS
    reached: int = 0
    checked: int = 0
    late: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Wall ms: every entry written until then must be under seal in a block that was verified."""
        return settled(self.reached)

    def resume(self, before: Iterable[tuple[Document, Mapping[str, Document]]]) -> None:
        """Go on behind blocks that were verified before, oldest first, with their entries as they are stored."""
        for sealed, stored in before:
            self._passed(sealed)
            self._remember(sealed, stored)

    def take(
        self, sealed: Document, stored: Mapping[str, Document], elsewhere: Mapping[str, int] | None = None
    ) -> list[Flaw]:
        """The flaws of the next block. ``stored``: its entries as they are in the journal, by id.

        ``elsewhere``: entry id → an earlier block that holds it too, for those of a late block: they may be in any.
        """
        flaws = self._linked(sealed)
        for line in sealed["entries"]:
            entry = stored.get(line["id"])
            if line["id"] in self.seen or line["id"] in (elsewhere or {}):
                flaws.append(Flaw("sealed_twice", line["id"], "one block", f"again in block {sealed['number']}"))
            flaws += self._misplaced(sealed, line["id"], entry)
            if entry is None:
                flaws.append(Flaw("missing", line["id"], line["digest"], ""))
            elif (found := digest(entry)) != line["digest"]:
                flaws.append(Flaw("changed", line["id"], line["digest"], found))
        self._passed(sealed)
        self._remember(sealed, stored)
        return flaws

    def written(self, rows: Iterable[Document]) -> list[Flaw]:
        """Flaws of the entries (``_id``, ``written_at``) written from the last call's ``settled`` to this one's: all must be under seal."""
        return [Flaw("inserted", row["_id"], "in a block", "in none") for row in rows if row["_id"] not in self.seen]

    def _misplaced(self, sealed: Document, name: str, entry: Document | None) -> list[Flaw]:
        """A flaw where a block says of an entry that it is late and it is not, or the other way round."""
        written = entry.get("written_at") if entry is not None else None
        if written is None or (written <= self.settled) == sealed.get("late", False):
            return []
        if sealed.get("late"):
            return [Flaw("not_late", name, f"written until {self.settled}", f"at {written}")]
        return [Flaw("late_untold", name, "in a block that says so", f"block {sealed['number']}")]

    def forget(self) -> None:
        """Drop what nobody will look for any more."""
        self.seen = {name: at for name, at in self.seen.items() if at > self.settled}

    def _linked(self, sealed: Document) -> list[Flaw]:
        flaws, name = [], f"block {sealed['number']}"
        if sealed["number"] != self.number + 1:
            flaws.append(Flaw("block_missing", f"block {self.number + 1}", "a block", f"next is {name}"))
        elif sealed["previous"] != self.head:
            flaws.append(Flaw("block_changed", name, f"follows {self.head}", f"follows {sealed['previous']}"))
        if (found := hash_of(sealed)) != sealed["hash"]:
            flaws.append(Flaw("block_changed", name, sealed["hash"], found))
        return flaws

    def _passed(self, sealed: Document) -> None:
        self.number, self.head = sealed["number"], sealed["hash"]
        self.reached = max(self.reached, sealed["reached"])
        self.checked += len(sealed["entries"])
        self.late += len(sealed["entries"]) if sealed.get("late") else 0

    def _remember(self, sealed: Document, stored: Mapping[str, Document]) -> None:
        for line in sealed["entries"]:
            entry = stored.get(line["id"])
            self.seen[line["id"]] = entry.get("written_at", 0) if entry is not None else 0
