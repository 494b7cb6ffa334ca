"""What broadcast does when it hears of a fact or a job's timer is due."""

from datetime import datetime
from typing import Final

from services.broadcast import model
from services.broadcast.delivery import Adapter, Inbox, chunk_id, recipients_of
from services.broadcast.model import ChunkState
from services.broadcast.store import Store, follower_id, pack
from services.chassis import clock, commit
from services.chassis.commit import Transaction
from services.chassis.decisions import Change, Decision
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler, keep_copy, timer_on_document

ADAPTER: Final[Adapter] = Inbox()


def load_chunk(database: Database, event: Event) -> ChunkState:
    """The job of a chunk, and whether the chunk was delivered."""
    store = Store(database)
    row = store.chunks.find_one({"_id": chunk_id(event.subject, event.data["chunk"])}, {"_id": 1})
    return ChunkState(store.jobs.find_one({"_id": event.subject}, {"outbox": 0}), row is not None)


def deliver_chunk(delivery: Delivery, state: ChunkState, _decision: Decision) -> None:
    """Deliver one chunk exactly once: its row, the counts on the job and the mark of this delivery in one transaction."""
    store, data, job = Store(delivery.database), delivery.event.data, state.job
    if job is None:
        return
    part = store.job_shards.find_one({"_id": f"{job['_id']}:{data['shard']}"}) or {"first_chunk": 0, "recipients": b""}
    recipients = recipients_of(part, data["chunk"], job["chunk_size"])
    delivered = ADAPTER.deliver(store, job, recipients, data["shard"])
    errors = recipients - delivered
    row = {
        "_id": chunk_id(job["_id"], data["chunk"]),
        "job_id": job["_id"],
        "shard": data["shard"],
        "at": clock.business(),
    }
    added = {"sent_count": len(delivered), "error_count": len(errors), "chunks_done": 1}
    (
        Transaction(delivery.database.client)
        .handled(delivery.database, delivery.row_id, waited=delivery.waited)
        .insert(store.chunks, {**row, "delivered": pack(delivered), "errors": pack(errors)})
        .update(store.jobs, {"_id": job["_id"]}, {"$inc": added})
        .commit()
    )
    if job["chunks_done"] + 1 >= job["chunks"] - MAYBE_LAST:
        commit.change(store.jobs, job["_id"], delivery.cause.part("finish"), _finish, fetch=False)


MAYBE_LAST: Final = 32
"""Deliveries that may run beside this one: only the last ones look whether the job is done; its timer looks again anyway."""


def _finish(job: Document) -> Change | None:
    return model.finish(job, clock.business())


def load_message(database: Database, event: Event) -> bool:
    """Whether the message that an order's fact gives is in the inbox already."""
    return database["inbox"].find_one({"_id": message_id(event)}, {"_id": 1}) is not None


def write_message(delivery: Delivery, _known: bool, _decision: Decision) -> None:
    """Put an order's fact into the buyer's inbox."""
    event = delivery.event
    kind, text = model.order_message(event.type, event.data)
    message = {
        "_id": message_id(event),
        "reader": follower_id(event.data["account_id"], event.data["openid"]),
        "kind": kind,
        "text": text,
        "reference": event.data["order_id"],
        "at": event.data.get("paid_at") or event.data.get("shipped_at") or clock.business(),
    }
    Transaction(delivery.database.client).insert(delivery.database["inbox"], message).commit()


def message_id(event: Event) -> str:
    """One message an order and kind of fact."""
    return f"{event.subject}:{event.type.rsplit('.', 2)[1]}"


def tick(job: Document, now: datetime) -> Change | None:
    """The job's timer."""
    return model.tick(job, now)


HANDLERS: Final = (
    keep_copy("jishi.accounts.account.changed.v1", "keep_account", "accounts"),
    Handler(model.CHUNK_DUE, "deliver_chunk", load_chunk, model.decide_chunk, deliver_chunk),
    Handler("jishi.orders.order.paid.v1", "tell_paid", load_message, model.decide_message, write_message),
    Handler("jishi.orders.order.shipped.v1", "tell_shipped", load_message, model.decide_message, write_message),
)
TIMERS: Final = (timer_on_document("jobs", tick),)
