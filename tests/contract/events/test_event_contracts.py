"""Every event type as it is on the wire, for ever: a message sent by an older release must still be understood.

``golden/<type>.json`` holds an ``envelope`` as it was sent, and the ``data`` that handlers must see. A new field adds to both; a
field that changes its name, type or meaning breaks these tests, and needs a ``v2`` of the event instead.
"""

import json
from datetime import datetime
from pathlib import Path

import pytest

from services.chassis import events, logs, mongo, subscriptions
from services.chassis.decisions import Decision, Fact, Verdict
from services.chassis.events import UndecodableError

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))}
TABLE = subscriptions.table(subscriptions.workers())


def as_json(value):
    """Plain values with times as text, as the samples write them."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


def as_plain(value, descriptor):
    """The sample's data with its times as moments, as a change promises them."""
    plain = {}
    for name, item in value.items():
        message = descriptor.fields_by_name[name].message_type
        if message is None:
            plain[name] = item
        elif message.full_name == "google.protobuf.Timestamp":
            plain[name] = datetime.fromisoformat(item)
        else:
            plain[name] = [as_plain(i, message) for i in item] if isinstance(item, list) else as_plain(item, message)
    return plain


def test_every_event_type_has_a_sample_and_every_sample_its_type():
    assert set(SAMPLES) == set(events.payloads())


@pytest.mark.parametrize("event_type", sorted(SAMPLES))
def test_a_sample_is_understood_as_it_always_was(event_type):
    envelope, expected = SAMPLES[event_type]["envelope"], SAMPLES[event_type]["data"]
    event = events.unpack(envelope)
    assert as_json(dict(event.data)) == expected
    assert (event.type, event.id) == (event_type, envelope["id"])
    assert (event.subject, event.sequence) == (envelope["subject"], envelope["sequence"])
    assert (event.causation, event.traceparent) == (envelope["causationid"], envelope["traceparent"])
    assert event.time == datetime.fromisoformat("2026-11-22T06:00:00.500+00:00")
    assert event.source == f"/jishi/{event_type.split('.')[1]}"


@pytest.mark.parametrize("event_type", sorted(SAMPLES))
def test_a_sample_shows_every_field(event_type):
    fields = events.payloads()[event_type].DESCRIPTOR.fields_by_name
    told = SAMPLES[event_type]["data"]
    assert {name for name in fields if told.get(name) in (None, "", 0, [], {}, False)} == set()


@pytest.mark.parametrize("event_type", sorted(SAMPLES))
def test_what_is_sent_today_looks_like_the_sample(event_type):
    envelope, data = SAMPLES[event_type]["envelope"], SAMPLES[event_type]["data"]
    fact = Fact(event_type, as_plain(data, events.payloads()[event_type].DESCRIPTOR))
    entity, _, sequence = envelope["id"].rpartition(":")
    packed = events.pack(
        fact,
        entity=entity,
        subject=envelope["subject"],
        sequence=int(sequence),
        causation=envelope["causationid"],
        traceparent=envelope["traceparent"],
    )
    assert {**packed, "time": envelope["time"]} == envelope


@pytest.mark.parametrize("event_type", sorted(SAMPLES))
def test_fields_of_a_newer_sender_are_ignored(event_type):
    envelope = SAMPLES[event_type]["envelope"]
    newer = {**envelope, "data": {**envelope["data"], "colour_of_the_box": "red"}}
    assert events.unpack(newer) == events.unpack(envelope)


@pytest.mark.parametrize(
    "broken", [{"type": "jishi.orders.order.vanished.v1"}, {"sequence": "x"}, {"data": {"amount": []}}]
)
def test_what_is_no_event_of_ours_is_undecodable(broken):
    envelope = SAMPLES["jishi.orders.order.paid.v1"]["envelope"]
    with pytest.raises(UndecodableError):
        events.unpack({**envelope, **broken})
    with pytest.raises(UndecodableError):
        events.unpack({name: value for name, value in envelope.items() if name not in broken})


def test_no_event_is_without_a_subscriber():
    heard = {subscription.handler.event_type for subscription in TABLE}
    assert set(events.payloads()) - heard == set()


@pytest.mark.parametrize("subscription", TABLE, ids=lambda found: found.name)
def test_every_handler_decides_on_the_sample(memory_world, subscription):
    """In an empty house: it may be early, stale or apply, but it must understand the event; asked twice it says the same."""
    handler = subscription.handler
    logs.configure(memory_world.settings, subscription.service, "test")
    database = memory_world.database(subscription.service)
    worker = next(found for found in subscriptions.workers() if found.service == subscription.service)
    mongo.declare(database, worker.collections)
    assert all(callable(part) for part in (handler.load, handler.decide, handler.apply, handler.entity))
    event = events.unpack(SAMPLES[handler.event_type]["envelope"])
    decisions = [handler.decide(handler.load(database, event), event) for _ in range(2)]
    assert all(isinstance(decision, Decision) and decision.verdict in Verdict for decision in decisions)
    assert decisions[0].verdict == decisions[1].verdict
    assert decisions[0].verdict is not Verdict.DONE, "nothing was done here yet"
    assert handler.entity(event)
