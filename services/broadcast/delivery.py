"""Delivery of one chunk of a broadcast. The built-in adapter writes to the followers' inbox by fan-out on read:
the chunk's ``delivered`` bitmap is the delivery, one row a chunk under an id derived from it, so nobody gets anything twice.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from pyroaring import BitMap

from services.broadcast.store import Store, unpack


class Adapter(Protocol):
    """A way to reach followers: the inbox now; webhook and SMTP are to come."""

    def deliver(self, store: Store, job: Mapping[str, Any], recipients: BitMap, shard: int) -> BitMap:
        """Deliver to ``recipients`` (ordinals of one shard); answers those that were reached."""


class Inbox:
    """The built-in adapter: who still follows is reached; who left between admission and delivery is an error."""

    def deliver(self, store: Store, job: Mapping[str, Any], recipients: BitMap, shard: int) -> BitMap:
        """Those of ``recipients`` who still follow."""
        row = store.shards.find_one({"_id": f"{job['account_id']}:{shard}"}, {"followers": 1})
        return recipients & unpack((row or {}).get("followers"))


def chunk_id(job_id: str, chunk: int) -> str:
    """The id of a delivered chunk's row."""
    return f"{job_id}:{chunk}"


def recipients_of(part: Mapping[str, Any], chunk: int, size: int) -> BitMap:
    """The recipients in chunk number ``chunk`` of a job's shard: by rank, ``size`` each."""
    begin = (chunk - part["first_chunk"]) * size
    found: BitMap = unpack(part["recipients"])[begin : begin + size]
    return found
