"""What may be asked: followers, tags, broadcasts and their deliveries, quotas, an inbox."""

from collections.abc import Mapping
from typing import Any, Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.commands import sending
from services.broadcast.commands.following import by_shard
from services.broadcast.delivery import chunk_id
from services.broadcast.store import SHARD_BITS, Store, follower_id, unpack
from services.chassis import calendar, paging
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document

PAGE_DEFAULT: Final = 20
PAGE_MOST: Final = 200
DELIVERIES_MOST: Final = 1_000
INBOX_JOBS: Final = 50
"""An inbox looks through so many of the account's newest broadcasts."""
_FAR: Final = 2**62


def page_size(asked: int, most: int = PAGE_MOST) -> int:
    """The size of a page: default 20, at most ``most``. Raises Refusal for a negative one."""
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    return min(asked or PAGE_DEFAULT, most)


def job(store: Store, account_id: str, job_id: str) -> Document:
    """A broadcast of the account. Raises Refusal NOT_FOUND, for another's too."""
    found = store.jobs.find_one({"_id": job_id}, {"outbox": 0})
    if found is None or found["account_id"] != account_id:
        raise not_found("broadcast", job_id)
    return found


def jobs(store: Store, account_id: str, size: int, token: str) -> tuple[list[Document], str]:
    """A page of the account's broadcasts, newest first."""
    filters = {"account_id": account_id}
    bound = paging.decode(token, filters)
    found = store.jobs_page(account_id, bound[0] if bound else _FAR, size + 1)
    more = len(found) > size
    return found[:size], paging.encode(filters, [found[size - 1]["ordered"]]) if more else ""


def followers(store: Store, account_id: str, size: int, token: str) -> tuple[list[Document], str]:
    """A page of the account's followers in the order they came."""
    filters = {"account_id": account_id}
    bound = paging.decode(token, filters)
    start = bound[0] if bound else 0
    present = BitMap()
    for shard in store.shards_of(account_id):
        present |= unpack(shard.get("followers"))
    rest = present - BitMap(range(start)) if start else present
    wanted = list(rest[: size + 1])
    rows = store.by_ordinals(account_id, wanted[:size])
    return rows, paging.encode(filters, [wanted[size]]) if len(wanted) > size else ""


def tags(store: Store, account_id: str) -> list[Document]:
    """The account's tags, at most 100."""
    return list(store.tags.find({"account_id": account_id}).limit(model.TAGS_PER_ACCOUNT))


def quota(store: Store, account_id: str, tag_id: int) -> dict[str, Any]:
    """What is left of the quotas, when they reset, and whom a broadcast now would reach."""
    admission = sending.read(store, account_id)
    sending.judge(store, admission, tag_id)
    day_left, month_left = model.left(admission.account, model.usage(admission.quota, admission.now), admission.rules)
    return {
        "day_left": day_left,
        "month_left": month_left,
        "day_resets": calendar.next_day(admission.now),
        "month_resets": calendar.next_month(admission.now),
        "followers": sum(part.total for part in admission.parts.values()),
        "capped": admission.count("capped"),
        "muted": admission.count("muted"),
        "reach": admission.count("recipients"),
    }


def deliveries(store: Store, account_id: str, asked: Mapping[str, Any]) -> tuple[list[str], int, str]:
    """Followers of a broadcast by what became of them: (openids, how many in all, next token).

    ``asked``: job_id, outcome (sent, error, monthly_cap, muted), page_size, page_token.
    """
    found = job(store, account_id, asked["job_id"])
    outcome = asked["outcome"]
    totals = {
        "sent": found["sent_count"],
        "error": found["error_count"],
        "monthly_cap": found["skipped_monthly_cap"],
        "muted": found["skipped_muted"],
    }
    if outcome not in totals:
        raise invalid("outcome", "must be one of sent, error, monthly_cap, muted")
    size = page_size(asked["page_size"], DELIVERIES_MOST)
    filters = {"job_id": found["_id"], "outcome": outcome}
    bound = paging.decode(asked["page_token"], filters)
    wanted = _ordinals(store, found, outcome, bound[0] if bound else 0, size + 1)
    rows = store.by_ordinals(account_id, wanted[:size])
    token = paging.encode(filters, [wanted[size]]) if len(wanted) > size else ""
    return [row["openid"] for row in rows], totals[outcome], token


def _ordinals(store: Store, found: Document, outcome: str, start: int, count: int) -> list[int]:
    wanted: list[int] = []
    for part in store.job_parts(found["_id"]):
        if (part["number"] + 1) << SHARD_BITS <= start:
            continue
        for bits in _bitmaps(store, found, part, outcome):
            wanted += (bits - BitMap(range(start)) if start and bits.min() < start else bits)[: count - len(wanted)]
            if len(wanted) >= count:
                return wanted
    return wanted


def _bitmaps(store: Store, found: Document, part: Document, outcome: str) -> Any:
    """The non-empty bitmaps of an outcome in one shard of a job, in order; those of chunks a hundred at a time."""
    if outcome in ("monthly_cap", "muted"):
        bits = unpack(part["capped" if outcome == "monthly_cap" else "muted"])
        yield from [bits] if bits else []
        return
    chunks = -(-len(unpack(part["recipients"])) // found["chunk_size"])
    names = [chunk_id(found["_id"], part["first_chunk"] + n) for n in range(chunks)]
    for begin in range(0, len(names), 100):
        rows = store.chunk_rows(names[begin : begin + 100])
        for name in names[begin : begin + 100]:
            bits = unpack(rows[name]["delivered" if outcome == "sent" else "errors"]) if name in rows else BitMap()
            yield from [bits] if bits else []


def inbox(store: Store, account_id: str, openid: str, size: int) -> list[dict[str, Any]]:
    """A follower's messages from one account, newest first: template messages and broadcasts delivered to them."""
    reader = follower_id(account_id, openid)
    messages = [
        {
            "message_id": row["_id"],
            "kind": "template",
            "text": row["text"],
            "reference": row["reference"],
            "at": row["at"],
        }
        for row in store.messages(reader, size)
    ]
    follower = store.followers.find_one({"_id": reader})
    if follower is not None:
        messages += _broadcasts_to(store, account_id, follower["ordinal"])
    return sorted(messages, key=lambda message: message["at"], reverse=True)[:size]


def _broadcasts_to(store: Store, account_id: str, ordinal: int) -> list[dict[str, Any]]:
    """The account's newest broadcasts whose delivered bitmap holds the ordinal: three queries, however many there are."""
    recent = {row["_id"]: row for row in store.jobs_page(account_id, _FAR, INBOX_JOBS)}
    number = next(iter(by_shard(BitMap([ordinal]))))
    parts = store.job_shards.find({"_id": {"$in": [f"{job_id}:{number}" for job_id in recent]}})
    chunk_of: dict[str, Document] = {}
    for part in parts:
        recipients = unpack(part["recipients"])
        if ordinal in recipients:
            found = recent[part["job_id"]]
            chunk = part["first_chunk"] + (recipients.rank(ordinal) - 1) // found["chunk_size"]
            chunk_of[chunk_id(found["_id"], chunk)] = found
    return [
        {
            "message_id": chunk_of[name]["_id"],
            "kind": "broadcast",
            "text": chunk_of[name]["content"]["text"],
            "reference": chunk_of[name]["_id"],
            "at": row["at"],
        }
        for name, row in store.chunk_rows(chunk_of).items()
        if ordinal in unpack(row["delivered"])
    ]
