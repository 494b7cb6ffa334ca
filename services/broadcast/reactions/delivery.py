"""Delivery of one chunk of a broadcast, exactly once.

The built-in adapter writes to the followers' inbox by fan-out on read: the chunk's ``delivered`` bitmap is the delivery, one row a
chunk under an id derived from it, so nobody gets anything twice.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.model import ChunkState
from services.broadcast.store import Store, part_id, shard_id
from services.broadcast.store.bitmaps import pack, unpack
from services.broadcast.store.chunks import chunk_id, recipients_of
from services.chassis import clock, commit
from services.chassis.commit import Transaction
from services.chassis.decisions import Change, Decision
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler

MAYBE_LAST: Final = 32
"""Deliveries that may run beside this one: only the last ones look whether the job is done; its timer looks again anyway."""


class Adapter(Protocol):
    """A way to reach followers: the inbox now; webhook and SMTP are to come."""

    def deliver(self, store: Store, job: Mapping[str, Any], recipients: BitMap, shard: int) -> BitMap:
        """Deliver to ``recipients`` (ordinals of one shard); answers those that were reached."""


class Inbox:
    """The built-in adapter: who still follows is reached; who left between admission and delivery is an error."""

    def deliver(self, store: Store, job: Mapping[str, Any], recipients: BitMap, shard: int) -> BitMap:
        """Those of ``recipients`` who still follow."""
        row = store.shards.find_one({"_id": shard_id(job["account_id"], shard)}, {"followers": 1})
        return recipients & unpack((row or {}).get("followers"))


ADAPTER: Final[Adapter] = Inbox()


def load(database: Database, event: Event) -> ChunkState:
    """The job of a chunk, and whether the chunk was delivered."""
    store = Store(database)
    row = store.chunks.find_one({"_id": chunk_id(event.subject, event.data["chunk"])}, {"_id": 1})
    return ChunkState(store.job(event.subject), row is not None)


def deliver(delivery: Delivery, state: ChunkState, _decision: Decision) -> None:
    """Deliver one chunk: its row, the counts on the job and the mark of this delivery in one transaction."""
    store, data, job = Store(delivery.database), delivery.event.data, state.job
    if job is None:
        raise LookupError(delivery.event.subject)  # the model says EARLY then
    wanted = {"recipients": 1, "first_chunk": 1}
    part = store.job_shards.find_one({"_id": part_id(job["_id"], data["shard"])}, wanted)
    if part is None:
        raise LookupError(part_id(job["_id"], data["shard"]))
    recipients = recipients_of(part, data["chunk"], job["chunk_size"])
    delivered = ADAPTER.deliver(store, job, recipients, data["shard"])
    errors = recipients - delivered
    row = {
        "_id": chunk_id(job["_id"], data["chunk"]),
        "job_id": job["_id"],
        "shard": data["shard"],
        "delivered": pack(delivered),
        "errors": pack(errors),
        "at": clock.business(),
    }
    added = {"sent_count": len(delivered), "error_count": len(errors), "chunks_done": 1}
    (
        Transaction(delivery.database.client)
        .handled(delivery.database, delivery.row_id, waited=delivery.waited)
        .insert(store.chunks, row)
        .update(store.jobs, {"_id": job["_id"]}, {"$inc": added})
        .commit()
    )
    if job["chunks_done"] + 1 >= job["chunks"] - MAYBE_LAST:
        commit.change(store.jobs, job["_id"], delivery.cause.part("finish"), _finished, fetch=False)


def _finished(job: Document) -> Change | None:
    return model.finish(job, clock.business())


HANDLER: Final = Handler(model.CHUNK_DUE, "deliver_chunk", load, model.decide_chunk, deliver)
