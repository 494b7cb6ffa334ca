"""A follower's inbox at one official account: template messages, and the broadcasts that were delivered to them (fan-out on read)."""

from datetime import UTC, datetime
from typing import Any, Final

from services.broadcast.store import Store, bitmaps, follower_id, part_id
from services.broadcast.store.bitmaps import unpack
from services.broadcast.store.chunks import chunk_id, chunk_of
from services.chassis import paging
from services.chassis.mongo import Document

JOBS_A_LOOK: Final = 50
"""A page looks through so many of the account's broadcasts; it is shorter than asked when few of them reached the follower."""
_FIRST: Final = datetime(2014, 5, 29, tzinfo=UTC)
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_FAR: Final = 2**62


def inbox(store: Store, account_id: str, openid: str, size: int, token: str) -> tuple[list[Document], str]:
    """A page of messages, newest first, and the token of the next: a constant number of queries, however many followers there are."""
    reader = follower_id(account_id, openid)
    filters = {"reader": reader}
    bound = paging.decode(token, filters, datetime, list, int)
    until, shown, below = (bound[0], bound[1], bound[2]) if bound else (_LAST, [], _FAR)
    jobs = store.jobs_page(account_id, below, JOBS_A_LOOK)
    horizon = min(job["admitted_at"] for job in jobs) if len(jobs) == JOBS_A_LOOK else _FIRST
    told = [_template(row) for row in store.messages(reader, _FIRST, until, size + len(shown) + 1)]
    told += _broadcasts(store, reader, jobs)
    found = [message for message in told if message["at"] <= until and message["message_id"] not in shown]
    found.sort(key=lambda message: (message["at"], message["message_id"]), reverse=True)
    page = [message for message in found if message["at"] >= horizon][:size]
    if len(page) == len(found) and horizon == _FIRST:
        return page, ""
    edge = page[-1]["at"] if len(page) == size else horizon
    at_edge = [message["message_id"] for message in page if message["at"] == edge] + (shown if edge == until else [])
    next_below = max((job["number"] for job in jobs if job["admitted_at"] <= edge), default=0) + 1
    return page, paging.encode(filters, [edge, at_edge, next_below])


def _template(row: Document) -> Document:
    shown = {name: row[name] for name in ("text", "reference", "at")}
    return {"message_id": row["_id"], "kind": "template", **shown}


def _broadcasts(store: Store, reader: str, jobs: list[Document]) -> list[dict[str, Any]]:
    """Those of ``jobs`` that were delivered to the reader, in three queries."""
    follower = store.followers.find_one({"_id": reader})
    if follower is None:
        return []
    ordinal = follower["ordinal"]
    recent = {part_id(job["_id"], bitmaps.shard_of(ordinal)): job for job in jobs}
    chunks: dict[str, Document] = {}
    for part in store.job_shards.find({"_id": {"$in": list(recent)}}, {"recipients": 1, "first_chunk": 1}):
        recipients, job = unpack(part["recipients"]), recent[part["_id"]]
        if ordinal in recipients:
            chunks[chunk_id(job["_id"], chunk_of(part, recipients, ordinal, job["chunk_size"]))] = job
    delivered = store.chunk_rows(chunks)
    return [_broadcast(chunks[name]) for name, row in delivered.items() if ordinal in unpack(row["delivered"])]


def _broadcast(job: Document) -> Document:
    text, job_id = job["content"]["text"], job["_id"]
    return {"message_id": job_id, "kind": "broadcast", "text": text, "reference": job_id, "at": job["admitted_at"]}
