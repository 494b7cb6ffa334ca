"""The relay on RabbitMQ: events a second out of documents, against a bare batched publish with confirms of the same bytes."""

import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.chassis import commit, events, mongo, subscriptions
from services.chassis.amqp.broker import ConfirmedPublisher
from services.chassis.amqp.topology import Topology
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.mongo import Collection
from services.chassis.presence import Presence
from services.chassis.relay import WINDOW, Outgoing, Relay
from services.chassis.settings import Settings
from tests.backends.secantus import SecantusServer
from tests.bench.report import Report

TYPE = "jishi.orders.order.paid.v1"
SAMPLE = Path(__file__).parent.parent / "contract" / "events" / "golden" / f"{TYPE}.json"
NAMES = (
    "relay on RabbitMQ: publish, log, clear",
    "  bare publish with confirms of the same bytes",
    "  relay against bare",
)
UNITS = ("events/s", "events/s", "ratio")


def measure(amqp_uri: str, count: int, report: Report) -> None:
    """One event a document, the documents of one collection with the indexes that every emitting collection has."""
    with _database() as uri:
        embedded, prefix = not os.environ.get("MONGO_URI"), f"bench_{secrets.token_hex(4)}_"
        settings = Settings(mongo_uri=uri, amqp_uri=amqp_uri, embedded=embedded, db_prefix=prefix)
        topology = Topology(settings, subscriptions.table(subscriptions.workers()))
        client = mongo.connect(settings)
        database = mongo.database(client, settings, "orders")
        envelopes = _promised(database, count)
        publisher = ConfirmedPublisher(settings, topology)
        relay = Relay(database, ["promises"], publisher, Presence("orders", "bench", "worker"))
        publisher.declare()
        relayed = _seconds(lambda: _sweep_all(relay))
        bare = _seconds(lambda: _publish_all(publisher, envelopes))
        publisher.close()
        if os.environ.get("MONGO_URI"):
            client.drop_database(database.name)
        client.close()
    rates = (count / relayed, count / bare, bare / relayed)
    for name, rate, unit in zip(NAMES, rates, UNITS, strict=True):
        report.add(name, rate, unit, note=f"{count} events in batches of {WINDOW}")


def not_measured(report: Report) -> None:
    """The rows without a broker."""
    for name, unit in zip(NAMES, UNITS, strict=True):
        report.add(name, None, unit, note="RabbitMQ is not installed")


@contextmanager
def _database() -> Iterator[str]:
    if os.environ.get("MONGO_URI"):
        yield os.environ["MONGO_URI"]
        return
    with tempfile.TemporaryDirectory(prefix="jishi-bench-") as folder:
        server = SecantusServer(Path(folder))
        server.start()
        try:
            yield server.uri
        finally:
            server.stop()


def _promised(database: mongo.Database, count: int) -> list[events.Envelope]:
    """``count`` documents that each promise an event; the envelopes."""
    mongo.declare(database, [Collection("promises", emits=True)])
    fact = Fact(TYPE, events.unpack(json.loads(SAMPLE.read_text(encoding="utf-8"))["envelope"]).data)
    rows = database["promises"]
    documents = [
        commit.prepare(rows, {"_id": f"p{number}"}, Cause(f"cmd:{number}"), facts=(fact,)) for number in range(count)
    ]
    for begin in range(0, count, WINDOW):
        rows.insert_many(documents[begin : begin + WINDOW])
    return [envelope for document in documents for envelope in document["outbox"]]


def _sweep_all(relay: Relay) -> None:
    while relay.sweep("promises"):
        pass


def _publish_all(publisher: ConfirmedPublisher, envelopes: list[events.Envelope]) -> None:
    for begin in range(0, len(envelopes), WINDOW):
        publisher.publish([Outgoing(envelope) for envelope in envelopes[begin : begin + WINDOW]])


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
