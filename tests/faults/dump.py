"""A canonical dump of all databases: what was reached, without when and under which drawn ids.

Times and bookkeeping (versions, causes) are left out. A generated id is renamed by what says something about it: the hash of all
documents in which it stands, in which other ids are renamed the same way, a few rounds long (colour refinement). Two dumps are equal
where the data are the same but for the names of things.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from services.chassis import mongo
from services.chassis.relay import logged_in

ROUNDS = 4
BOOKKEEPING = frozenset(
    [
        "version",
        "applied",
        "archived",
        "created_by",
        "created_hash",
        "hash",
        "cause_id",
        "causation",
        "slot",
        "serial",
        "position",
        "at",
        "traceparent",
        "resent",
        "claim",
        "claimed_until",
        "next_at",
        "due_at",
        "outbox_at",
        "expire_at",
        "sent_at",
        "written_at",
        "said_hash",
    ]
)
"""Fields that say how or when a document was written, not what it says. ``serial`` and ``position`` are made of time, ``at`` is one."""
NOT_DUMPED = frozenset(
    {
        "handled",
        "applied_archive",
        "answers",
        "subscribers",
        "import_files",
        "placings",
        "reconciliations",
        "milestones",
    }
)
"""How deliveries and commands were remembered; the blocks of uploaded files; that a real day is still to be compared with the channel's;
where lists may look, which is drawn with the ids."""
TOGETHER = {"inbox": "messages", "checkouts": "checkouts"}
"""Collections with rows of what was written together → the field that holds it."""
IN_ORDER_OF_ARRIVAL = frozenset({"timeline", "refunds", "cases", "transactions", "rejected_payments"})
TOKEN = re.compile(r"(?=[-A-Za-z0-9_]*(?:[0-9]|[a-z][-_]*[A-Z]))[-A-Za-z0-9_]{18,}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
MARK = "\x00"
COLOUR = re.compile("«[0-9a-f]+»")


def dump(databases: Mapping[str, mongo.Database], *, ignored: Iterable[str] = NOT_DUMPED) -> Counter[str]:
    """Every document of the databases (by service), rendered; as often as it is there."""
    rendered = []
    for service, database in sorted(databases.items()):
        for name in sorted(set(database.list_collection_names()) - set(ignored)):
            rows = (each for row in database[name].find() for each in _apart(name, row))
            rendered += [_document(service, name, row) for row in rows]
    return Counter(_named(rendered))


def difference(found: Counter[str], wanted: Counter[str]) -> str:
    """What one has and the other has not, a line each; empty where they are equal.

    One odd document renames its neighbours: where documents differ with their ids hidden, only those are shown.
    """
    hidden = [Counter(COLOUR.sub("*", line) for line in one.elements()) for one in (found, wanted)]
    shown = hidden if hidden[0] != hidden[1] else [found, wanted]
    more = [f"+ {line}" for line in sorted((shown[0] - shown[1]).elements())]
    less = [f"- {line}" for line in sorted((shown[1] - shown[0]).elements())]
    return "\n".join([*less, *more])


def _apart(name: str, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What stands in a row of its own or in one with others, as it was written together: each event, what each order moved."""
    if name == "event_log":
        return [{part: envelope[part] for part in ("type", "subject", "data")} for envelope in logged_in(row)]
    if name == "movements" and "movements" in row and "ref" in (row["movements"] or [{}])[0]:
        by_order: dict[str, list[Any]] = defaultdict(list)
        for movement in row["movements"]:
            by_order[movement["ref"]].append({part: movement[part] for part in ("sku_id", "delta")})
        return [{"kind": row["kind"], "ref": ref, "movements": moved} for ref, moved in by_order.items()]
    if TOGETHER.get(name) in row:
        return list(row[TOGETHER[name]])
    return [row]


def _document(service: str, name: str, row: Mapping[str, Any]) -> str:
    if "cause" in row and name == "entries":
        row = {field: value for field, value in row.items() if field != "cause"}
    return f"{service}.{name} {_render(row)}"


def _render(value: Any, field: str = "") -> str:
    if isinstance(value, Mapping):
        parts = [f"{_text(str(k))}: {_render(v, str(k))}" for k, v in value.items() if not _is_left_out(str(k), v)]
        return "{" + ", ".join(sorted(parts, key=_masked)) + "}"
    if isinstance(value, (list, tuple)):
        parts = [_render(one) for one in value]
        return "[" + ", ".join(sorted(parts, key=_masked) if field in IN_ORDER_OF_ARRIVAL else parts) + "]"
    if isinstance(value, str):
        # An event's id ends in the version of its document, which counts how many writes it came by.
        return '"' + _text(value.rpartition(":")[0] if field == "event" else value) + '"'
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _is_left_out(field: str, value: Any) -> bool:
    if field in BOOKKEEPING or isinstance(value, datetime):
        return True
    return isinstance(value, str) and MOMENT.match(value) is not None


def _text(text: str) -> str:
    """Generated ids stand between marks."""
    return TOKEN.sub(lambda found: MARK + found.group() + MARK, text)


def _masked(text: str) -> str:
    return "#".join(text.split(MARK)[::2])


def _named(rendered: list[str]) -> list[str]:
    """The documents with their ids renamed."""
    pieces = [text.split(MARK) for text in rendered]
    where: dict[str, set[int]] = defaultdict(set)
    for number, parts in enumerate(pieces):
        for token in parts[1::2]:
            where[token].add(number)
    names = dict.fromkeys(where, "?")
    for _ in range(ROUNDS):
        names = {token: _colour(token, found, pieces, names.__getitem__) for token, found in where.items()}
    return ["".join(names[part] if n % 2 else part for n, part in enumerate(parts)) for parts in pieces]


def _colour(token: str, found: set[int], pieces: list[list[str]], name: Callable[[str], str]) -> str:
    told = sorted(
        "".join(("*" if part == token else name(part)) if n % 2 else part for n, part in enumerate(pieces[number]))
        for number in found
    )
    return "«" + hashlib.blake2b("\n".join(told).encode(), digest_size=4).hexdigest() + "»"
