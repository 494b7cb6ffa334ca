"""Events: the envelope (CloudEvents 1.0 JSON) and the registry of payloads.

A payload is a protobuf message that carries ``option (jishi.options.v1.event_type)``; the registry is read from the generated
modules, so a type that no proto declares cannot be sent. Ids are derived from the document and its sequence: the same change
written again after a crash promises the same event, not a second one.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from google.protobuf.message import Message
from jishi.options.v1 import options_pb2

from services.chassis import clock, codec
from services.chassis.decisions import Fact
from services.chassis.settings import SERVICES

Envelope = dict[str, Any]
"""What is stored in an outbox and sent: specversion, id, source, type, subject, sequence, time, traceparent, causationid, data."""


class UndecodableError(ValueError):
    """A message that is no envelope of a known event type: parked at once."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as a handler sees it. ``data``: plain values by the conventions of ``codec``; ``sequence`` counts per entity."""

    id: str
    type: str
    subject: str
    sequence: int
    time: datetime
    data: Mapping[str, Any]
    causation: str = ""
    traceparent: str = ""
    source: str = ""


@cache
def payloads() -> Mapping[str, type[Message]]:
    """Event type → payload message class, of every service."""
    found: dict[str, type[Message]] = {}
    for service in SERVICES:
        name = f"jishi.{service}.v1.events_pb2"
        if importlib.util.find_spec(name) is None:
            continue
        for descriptor in importlib.import_module(name).DESCRIPTOR.message_types_by_name.values():
            event_type = descriptor.GetOptions().Extensions[options_pb2.event_type]
            if event_type:
                found[event_type] = codec.message_class(descriptor)
    return found


def exchange(event_type: str) -> str:
    """``jishi.orders.order.paid.v1`` → ``orders.events``."""
    return event_type.split(".")[1] + ".events"


def pack(fact: Fact, *, entity: str, subject: str, sequence: int, causation: str, traceparent: str) -> Envelope:
    """The envelope of a fact promised by the document ``entity`` (``database.collection:id``) as its event number ``sequence``.

    Raises KeyError for a type that no proto declares, BadValueError for data that does not fit its payload.
    """
    payload = codec.from_plain(payloads()[fact.type], fact.data)
    envelope = {
        "specversion": "1.0",
        "id": f"{entity}:{sequence}",
        "source": "/jishi/" + fact.type.split(".")[1],
        "type": fact.type,
        "subject": fact.subject or subject,
        "sequence": sequence,
        "time": clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "causationid": causation,
        "data": codec.bus_json(payload),
    }
    if traceparent:
        envelope["traceparent"] = traceparent
    return envelope


def unpack(envelope: Mapping[str, Any]) -> Event:
    """The event in an envelope. Raises UndecodableError."""
    try:
        payload = codec.from_bus(payloads()[envelope["type"]], envelope["data"])
        return Event(
            id=envelope["id"],
            type=envelope["type"],
            subject=envelope["subject"],
            sequence=int(envelope["sequence"]),
            time=datetime.fromisoformat(envelope["time"]),
            data=codec.to_plain(payload),
            causation=envelope.get("causationid", ""),
            traceparent=envelope.get("traceparent", ""),
            source=envelope.get("source", ""),
        )
    except Exception as error:  # whatever a stranger may send
        message = f"not an event we know: {type(error).__name__}: {error}"
        raise UndecodableError(message) from error
