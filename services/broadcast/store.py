"""Collections of broadcast.

A follower has an ordinal in its account. Sets of followers are roaring bitmaps of ordinals, in shards of 2²⁰:
``shards`` (followers, muted, received ≥ k per month), ``tag_shards`` (members of a tag), ``job_shards`` (recipients, capped and muted of a
job), ``chunks`` (delivered, errors of one delivery). ``quotas``: an account's month. ``inbox``: template messages.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pyroaring import BitMap

from services.chassis.mongo import DAY_S, Collection, Database, Document, Index

SHARD_BITS: Final = 20
SHARD_SIZE: Final = 1 << SHARD_BITS

COLLECTIONS: Final = (
    Collection("accounts"),
    Collection("followers", indexes=(Index(("account_id", "ordinal"), unique=True),)),
    Collection("shards", indexes=(Index(("account_id", "number"), unique=True),)),
    Collection("tags", indexes=(Index(("account_id", "name"), unique=True),), keyed=True),
    Collection("tag_shards", indexes=(Index(("tag", "number"), unique=True),)),
    Collection("quotas"),
    Collection("client_ids", indexes=(Index(("at",), expire_s=2 * DAY_S),)),
    Collection("jobs", indexes=(Index(("account_id", "-ordered")),), keyed=True, emits=True, timed=True),
    Collection("job_shards", indexes=(Index(("job_id",)),)),
    Collection("chunks", indexes=(Index(("job_id",)),)),
    Collection("inbox", indexes=(Index(("reader", "-at")),)),
)
_NO_BITMAPS: Final = {"followers": 0, "muted": 0, "received": 0}


def pack(bits: BitMap) -> bytes:
    """A bitmap as it is stored."""
    bits.run_optimize()
    return bits.serialize()


def unpack(stored: bytes | None) -> BitMap:
    """A stored bitmap; nothing stored is nobody."""
    return BitMap.deserialize(bytes(stored)) if stored else BitMap()


def follower_id(account_id: str, openid: str) -> str:
    """The id of a follower's document."""
    return f"{account_id}/{openid}"


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
        return {row["openid"]: row for row in self.followers.find({"_id": {"$in": wanted}})}

    def by_ordinals(self, account_id: str, ordinals: list[int]) -> list[Document]:
        """The followers with these ordinals, in order of ordinal."""
        found = self.followers.find({"account_id": account_id, "ordinal": {"$in": ordinals}})
        return sorted(found, key=lambda row: int(row["ordinal"]))

    def shards_of(self, account_id: str) -> list[Document]:
        """All shards of an account, with their bitmaps, in order."""
        return list(self.shards.find({"account_id": account_id}).sort("number", 1))

    def shard_heads(self, account_id: str) -> list[Document]:
        """All shards of an account without their bitmaps, in order."""
        return list(self.shards.find({"account_id": account_id}, _NO_BITMAPS).sort("number", 1))

    def some_shards(self, ids: Iterable[str]) -> dict[int, Document]:
        """number → shard, of the shards named."""
        return {row["number"]: row for row in self.shards.find({"_id": {"$in": list(ids)}})}

    def members(self, tag_key: str) -> dict[int, Document]:
        """number → tag shard, of one tag."""
        return {row["number"]: row for row in self.tag_shards.find({"tag": tag_key})}

    def quota(self, account_id: str, month: str) -> Document | None:
        """The account's month."""
        return self.quotas.find_one({"_id": f"{account_id}:{month}"})

    def jobs_page(self, account_id: str, before: int, size: int) -> list[Document]:
        """Jobs of an account, newest first, those older than ``before`` (their ``ordered`` number)."""
        bounds = {"$gt": 0, "$lt": before}
        return list(self.jobs.find({"account_id": account_id, "ordered": bounds}).sort("ordered", -1).limit(size))

    def chunk_rows(self, ids: Iterable[str]) -> dict[str, Document]:
        """id → delivered chunk, of those named that were delivered."""
        return {row["_id"]: row for row in self.chunks.find({"_id": {"$in": list(ids)}})}

    def job_parts(self, job_id: str) -> list[Document]:
        """A job's shards in order."""
        return sorted(self.job_shards.find({"job_id": job_id}), key=lambda row: int(row["number"]))

    def messages(self, reader: str, size: int) -> list[Document]:
        """The newest template messages of a reader (account/openid)."""
        return list(self.inbox.find({"reader": reader}).sort("at", -1).limit(size))


def received(shard: Mapping[str, Any], month: str) -> dict[int, BitMap]:
    """k → who has received at least k broadcasts in ``month``."""
    return {int(k): unpack(bits) for k, bits in shard.get("received", {}).get(month, {}).items()}
