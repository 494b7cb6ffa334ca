"""Two tiny services for the worker tests, run as a real worker process: ``python tests/contract/worker_toy.py [service …]``.

*orders* keeps ``things`` and tells ``payment_rejected`` of them. *payments* listens twice: ``count`` adds the amount to one document
(early while the document is missing), ``book`` writes an entry and a total in one transaction. It tells ``refund.succeeded``, which
*orders* writes back into the thing. What a handler does besides is asked for in ``reason``: boom (raise), once:<path> (kill -9 of the
worker the first time).
"""

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import services.chassis.amqp.patch  # noqa: F401 - patches

from services.chassis import clock, commit, subscriptions
from services.chassis.decisions import DONE, EARLY, Change, Decision, Fact, apply
from services.chassis.mongo import Collection
from services.chassis.reacting import Handler, Timer, Worker, on_document

REJECTED = "jishi.orders.order.payment_rejected.v1"
REFUNDED = "jishi.payments.refund.succeeded.v1"

THINGS = Collection("things", keyed=True, emits=True, timed=True)
SUMS = Collection("sums", keyed=True, emits=True)
PLAIN = (Collection("entries"), Collection("totals"))


def misbehave(reason: str) -> None:
    if reason == "boom":
        raise RuntimeError("as asked")
    if reason.startswith("once:"):
        mark = Path(reason.removeprefix("once:"))
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def count(document, event) -> Decision:
    if document is None:
        return EARLY
    if event.id in document["seen"]:
        return DONE
    misbehave(event.data["reason"])
    told = Fact(REFUNDED, {"order_id": event.subject, "amount": event.data["amount"], "refund_id": event.id})
    return apply(Change(inc={"sum": event.data["amount"]}, push={"seen": [event.id]}, facts=(told,)))


def load_entry(database, event):
    return database["entries"].find_one({"_id": event.id})


def book(entry, _event) -> Decision:
    return DONE if entry else apply()


def write_entry(delivery, _state, _decision) -> None:
    database, event = delivery.database, delivery.event
    database["totals"].update_one({"_id": "all"}, {"$setOnInsert": {"sum": 0}}, upsert=True)
    transaction = commit.Transaction(database.client).handled(database, delivery.row_id, waited=delivery.waited)
    transaction.insert(database["entries"], {"_id": event.id, "amount": event.data["amount"], "at": clock.wall_ms()})
    transaction.update(database["totals"], {"_id": "all"}, {"$inc": {"sum": event.data["amount"]}})
    transaction.commit()


def refunded(document, event) -> Decision:
    if document is None:
        return EARLY
    return apply(Change(inc={"refunded": event.data["amount"]}))


def expire(database, document, _now, cause) -> None:
    if document.get("reason") == "boom":
        raise RuntimeError("as asked")
    commit.change(database["things"], document["_id"], cause, lambda _: Change(inc={"fired": 1}, due=None), fetch=False)


WORKERS = tuple(
    subscriptions.complete(worker)
    for worker in (
        Worker(
            "orders",
            (THINGS,),
            (on_document(REFUNDED, "refunded", "things", refunded, key=lambda event: event.data["order_id"]),),
            (Timer("things", expire),),
        ),
        Worker(
            "payments",
            (SUMS, *PLAIN),
            (
                on_document(REJECTED, "count", "sums", count),
                Handler(REJECTED, "book", load_entry, book, write_entry),
            ),
        ),
        Worker("accounts", ()),
    )
)


if __name__ == "__main__":
    from services.chassis.amqp import runner
    from services.chassis.settings import settings

    wanted = sys.argv[1:] or [worker.service for worker in WORKERS]
    runner.run(settings(), [worker for worker in WORKERS if worker.service in wanted], WORKERS, name="toy")
