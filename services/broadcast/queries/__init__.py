"""What may be asked: followers, broadcasts and their deliveries, quotas; a follower's ``inbox``."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.store import Store, admission, bitmaps
from services.broadcast.store.bitmaps import from_ordinal, unpack
from services.broadcast.store.chunks import chunk_id, chunk_of
from services.chassis import calendar, paging
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document

PAGE_DEFAULT: Final = 20
PAGE_MOST: Final = 200
DELIVERIES_MOST: Final = 1_000
CHUNKS_AT_ONCE: Final = 100
COUNTS: Final = {
    "sent": "sent_count",
    "error": "error_count",
    "monthly_cap": "skipped_monthly_cap",
    "muted": "skipped_muted",
}
"""Outcome of a follower → where the job counts it."""
DELIVERED: Final = {"sent": "delivered", "error": "errors"}
FILTERED: Final = {"monthly_cap": "capped", "muted": "muted"}
_FAR: Final = 2**62


def page_size(asked: int, most: int = PAGE_MOST) -> int:
    """The size of a page: default 20, at most ``most``. Raises Refusal for a negative one."""
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    return min(asked or PAGE_DEFAULT, most)


def job(store: Store, account_id: str, job_id: str) -> Document:
    """A broadcast of the account. Raises Refusal NOT_FOUND, for another's too."""
    found = store.job(job_id)
    if found is None or found["account_id"] != account_id:
        raise not_found("broadcast", job_id)
    return found


def as_admitted(job: Document) -> Document:
    """The job as it was when it was admitted: nothing delivered yet."""
    began = {"state": "sending", "finished_at": None} if job["chunks"] else {}
    return {**job, **began, "sent_count": 0, "error_count": 0}


def jobs(store: Store, account_id: str, size: int, token: str) -> tuple[list[Document], str]:
    """A page of the account's broadcasts, newest first."""
    filters = {"account_id": account_id}
    bound = paging.decode(token, filters, int)
    found = store.jobs_page(account_id, bound[0] if bound else _FAR, size + 1)
    more = len(found) > size
    return found[:size], paging.encode(filters, [found[size - 1]["number"]]) if more else ""


def followers(store: Store, account_id: str, size: int, token: str) -> tuple[list[Document], str]:
    """A page of the account's followers in the order they came."""
    filters = {"account_id": account_id}
    bound = paging.decode(token, filters, int)
    wanted: list[int] = []
    start = bound[0] if bound else 0
    for shard in store.shards_of(account_id, fields=("followers",)):
        if shard["number"] >= bitmaps.shard_of(start) and len(wanted) <= size:
            wanted += from_ordinal(unpack(shard.get("followers")), start)[: size + 1 - len(wanted)]
    rows = store.by_ordinals(account_id, wanted[:size])
    return rows, paging.encode(filters, [wanted[size]]) if len(wanted) > size else ""


def quota(store: Store, account_id: str, tag_id: int) -> dict[str, Any]:
    """What is left of the quotas, when they reset, and whom a broadcast now would reach."""
    now = admission.read(store, account_id)
    admission.judge(store, now, tag_id)
    day_left, month_left = model.left(now.account, now.used, now.rules)
    return {
        "day_left": day_left,
        "month_left": month_left,
        "day_resets": calendar.next_day(now.now),
        "month_resets": calendar.next_month(now.now),
        "followers": now.total,
        "capped": now.count("capped"),
        "muted": now.count("muted"),
        "reach": now.count("recipients"),
    }


def deliveries(store: Store, account_id: str, asked: Mapping[str, Any]) -> tuple[list[str], int, str]:
    """Followers of a broadcast by what became of them: (openids, how many in all, next token).

    ``asked``: job_id, outcome (sent, error, monthly_cap, muted), page_size, page_token.
    """
    found = job(store, account_id, asked["job_id"])
    outcome = asked["outcome"]
    if outcome not in COUNTS:
        raise invalid("outcome", f"must be one of {', '.join(COUNTS)}")
    size = page_size(asked["page_size"], DELIVERIES_MOST)
    filters = {"job_id": found["_id"], "outcome": outcome}
    bound = paging.decode(asked["page_token"], filters, int)
    wanted = _ordinals(store, found, outcome, bound[0] if bound else 0, size + 1)
    rows = store.by_ordinals(account_id, wanted[:size])
    token = paging.encode(filters, [wanted[size]]) if len(wanted) > size else ""
    return [row["openid"] for row in rows], found[COUNTS[outcome]], token


def _ordinals(store: Store, found: Document, outcome: str, start: int, count: int) -> list[int]:
    """The first ``count`` ordinals from ``start`` on with this outcome."""
    wanted: list[int] = []
    for part in store.job_parts(found["_id"]):
        if part["number"] < bitmaps.shard_of(start):
            continue
        for bits in _sets(store, found, part, outcome, start):
            wanted += from_ordinal(bits, start)[: count - len(wanted)]
            if len(wanted) >= count:
                return wanted
    return wanted


def _sets(store: Store, found: Document, part: Document, outcome: str, start: int) -> Iterator[BitMap]:
    """The sets of an outcome in one shard of a job, in order, from the one that may hold ``start``; chunks a hundred at a time."""
    if outcome in FILTERED:
        yield unpack(part[FILTERED[outcome]])
        return
    recipients, size = unpack(part["recipients"]), found["chunk_size"]
    end = part["first_chunk"] - (-len(recipients) // size)
    for begin in range(chunk_of(part, recipients, start, size), end, CHUNKS_AT_ONCE):
        names = [chunk_id(found["_id"], number) for number in range(begin, min(begin + CHUNKS_AT_ONCE, end))]
        rows = store.chunk_rows(names)
        yield from (unpack(rows[name][DELIVERED[outcome]]) for name in names if name in rows)
