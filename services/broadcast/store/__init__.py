"""Collections of broadcast.

A follower has an ordinal in its account. Sets of followers are roaring bitmaps of ordinals, in shards of 2²⁰ (``bitmaps``):
``shards`` (followers, muted, received ≥ k per month), ``tag_shards`` (members of a tag), ``job_shards`` (recipients, capped and muted of a
job), ``chunks`` (delivered and errors of one delivery). ``quotas``: an account's month. ``inbox``: template messages, those of several
readers that were put there together in one row {messages: [{_id, reader, kind, text, reference}], at}.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from services.chassis.mongo import Collection, Database, Document, Index

T = TypeVar("T")
MESSAGE_ID: Final = "messages._id"
COLLECTIONS: Final = (
    Collection("accounts"),
    Collection("followers", indexes=(Index(("account_id", "ordinal"), unique=True),)),
    Collection("shards", indexes=(Index(("account_id", "number"), unique=True),)),
    Collection(
        "tags",
        indexes=(Index(("account_id", "name"), unique=True), Index(("account_id", "place"), unique=True)),
        keyed=True,
    ),
    Collection("tag_shards", indexes=(Index(("tag", "number"), unique=True),)),
    Collection("quotas"),
    Collection("client_ids", indexes=(Index(("expire_at",), expire_s=0),)),
    Collection("jobs", indexes=(Index(("account_id", "-number"), unique=True),), keyed=True, emits=True, timed=True),
    Collection("job_shards", indexes=(Index(("job_id",)),)),
    Collection("chunks", indexes=(Index(("job_id",)),)),
    Collection("inbox", indexes=(Index((MESSAGE_ID,), unique=True), Index(("messages.reader", "-at")))),
)
"""``tags.place`` (0 to 99) makes the limit of tags exact; ``jobs.number`` counts an account's broadcasts within their months."""
_HEAD: Final = {"followers": 0, "muted": 0, "received": 0}
_BOOKKEEPING: Final = {"outbox": 0, "applied": 0}


def follower_id(account_id: str, openid: str) -> str:
    """The id of a follower's document."""
    return f"{account_id}/{openid}"


def shard_id(account_id: str, number: int) -> str:
    """The id of a shard's document."""
    return f"{account_id}:{number}"


def tag_key(account_id: str, tag_id: int) -> str:
    """The id of a tag's document."""
    return f"{account_id}:{tag_id}"


def part_id(job_id: str, number: int) -> str:
    """The id of a job's part in one shard."""
    return f"{job_id}:{number}"


def _portions(wanted: list[T]) -> Iterator[list[T]]:
    """A hundred at a time: the embedded database takes the square of an ``$in``'s length."""
    for begin in range(0, len(wanted), 100):
        yield wanted[begin : begin + 100]


class Store:
    """Followers, tags, quotas, jobs."""

    def __init__(self, database: Database) -> None:
        """Open the collections in broadcast's own database."""
        self.database = database
        self.accounts = database["accounts"]
        self.followers = database["followers"]
        self.shards = database["shards"]
        self.tags = database["tags"]
        self.tag_shards = database["tag_shards"]
        self.quotas = database["quotas"]
        self.client_ids = database["client_ids"]
        self.jobs = database["jobs"]
        self.job_shards = database["job_shards"]
        self.chunks = database["chunks"]
        self.inbox = database["inbox"]

    def followers_of(self, account_id: str, openids: Iterable[str]) -> dict[str, Document]:
        """openid → follower, of those that are known (also those that left)."""
        wanted = [follower_id(account_id, openid) for openid in openids]
        return {row["openid"]: row for some in _portions(wanted) for row in self.followers.find({"_id": {"$in": some}})}

    def by_ordinals(self, account_id: str, ordinals: list[int]) -> list[Document]:
        """The followers with these ordinals, in order of ordinal."""
        found: list[Document] = []
        for some in _portions(ordinals):
            found += self.followers.find({"account_id": account_id, "ordinal": {"$in": some}})
        return sorted(found, key=lambda row: int(row["ordinal"]))

    def shards_of(self, account_id: str, *, fields: Iterable[str] = ()) -> list[Document]:
        """All shards of an account in order, with their bitmaps, or with ``fields`` (and number) only."""
        wanted = dict.fromkeys(("number", *fields), 1) if fields else None
        return list(self.shards.find({"account_id": account_id}, wanted).sort("number", 1))

    def shard_heads(self, account_id: str) -> list[Document]:
        """All shards of an account without their bitmaps, in order."""
        return list(self.shards.find({"account_id": account_id}, _HEAD).sort("number", 1))

    def some_shards(self, account_id: str, numbers: Iterable[int]) -> dict[int, Document]:
        """number → shard, of those numbers that exist."""
        ids = [shard_id(account_id, number) for number in numbers]
        return {row["number"]: row for row in self.shards.find({"_id": {"$in": ids}})}

    def tag(self, account_id: str, tag_id: int) -> Document | None:
        """One tag of an account."""
        return self.tags.find_one({"_id": tag_key(account_id, tag_id)})

    def tags_of(self, account_id: str) -> list[Document]:
        """All tags of an account in the order of their places."""
        return list(self.tags.find({"account_id": account_id}).sort("place", 1))

    def members(self, tag: str) -> dict[int, Document]:
        """number → tag shard, of one tag (by key)."""
        return {row["number"]: row for row in self.tag_shards.find({"tag": tag})}

    def quota(self, account_id: str, month: str) -> Document | None:
        """The account's month."""
        return self.quotas.find_one({"_id": f"{account_id}:{month}"})

    def job(self, job_id: str) -> Document | None:
        """One job without its bookkeeping."""
        return self.jobs.find_one({"_id": job_id}, _BOOKKEEPING)

    def jobs_page(self, account_id: str, before: int, size: int) -> list[Document]:
        """Jobs of an account, newest first, those whose ``number`` is below ``before``."""
        query = {"account_id": account_id, "number": {"$gt": 0, "$lt": before}}
        return list(self.jobs.find(query, _BOOKKEEPING).sort("number", -1).limit(size))

    def jobs_that_reached(self, account_id: str, most: int) -> int:
        """How many broadcasts of the account had recipients, counted up to ``most``."""
        query: dict[str, Any] = {"account_id": account_id, "filter_count": {"$gt": 0}}
        return self.jobs.count_documents(query, limit=most)

    def chunk_rows(self, ids: Iterable[str]) -> dict[str, Document]:
        """id → delivered chunk, of those named that were delivered."""
        return {row["_id"]: row for row in self.chunks.find({"_id": {"$in": list(ids)}})}

    def job_parts(self, job_id: str) -> list[Document]:
        """A job's parts, shard by shard in order."""
        return sorted(self.job_shards.find({"job_id": job_id}), key=lambda row: int(row["number"]))

    def messages(self, reader: str, since: datetime, until: datetime, size: int) -> list[Document]:
        """The newest template messages of a reader (account/openid) from ``since`` to ``until``, at least ``size`` where there are so many."""
        query = {"messages.reader": reader, "at": {"$gte": since, "$lte": until}}
        rows = self.inbox.find(query).sort("at", -1).limit(size)
        return [{**each, "at": row["at"]} for row in rows for each in row["messages"] if each["reader"] == reader]
