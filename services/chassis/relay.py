"""The relay: carries the events that documents promise to the broker, and into the log.

Every document whose ``outbox_at`` is set is taken from a bounded window (never "id greater than a cursor": a smaller id can commit
later), its events are published and confirmed, then one ordered bulk write logs them *first* and clears them from the document. A
crash between any two of these only sends again. Several relays of one service do no harm; one leads to save work.

A *letter* is a row of the log that was written with its events already, by the transaction that promised them (``Transaction.change``): it
is only marked as sent.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, Protocol, TypeVar

from prometheus_client import Counter
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from services.chassis import clock
from services.chassis.commit.documents import DUPLICATE_KEY
from services.chassis.events import Envelope
from services.chassis.logs import get
from services.chassis.mongo import LETTERS, Database, Document
from services.chassis.once import is_away
from services.chassis.presence import Presence

T = TypeVar("T")
LOG: Final = LETTERS.name
WINDOW: Final = 200
POLL_FIRST_S: Final = 0.02
POLL_MOST_S: Final = 0.5
LINGER_S: Final = 0.008
"""After a ring, so long others may commit too and share the writes."""
HOUSEKEEPING_S: Final = 1.0
CLOCK_STEP_MS: Final = 1000
"""A wall clock that is set back by less than this loses nothing."""
EVENTS_SENT: Final = Counter("jishi_events_sent_total", "Events published and confirmed", ("service",))
_log = get(__name__)


class BrokerAwayError(Exception):
    """The broker does not answer, or did not confirm."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event to publish: to its exchange, or (replay) to one queue only. ``resent``: how often it was sent again after a start."""

    envelope: Envelope
    queue: str = ""
    resent: int = 0


class Publisher(Protocol):
    """The broker as the relay sees it."""

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """Return when all are confirmed. Raises BrokerAwayError; any of them may have been sent then."""


class Relay:
    """The outboxes of one service."""

    def __init__(
        self, database: Database, collections: Iterable[str], publisher: Publisher, presence: Presence
    ) -> None:
        """``collections``: the names of those that emit."""
        self._database, self._publisher, self._presence = database, publisher, presence
        self._names = tuple(collections)
        self._intervals = dict.fromkeys(self._names, POLL_FIRST_S)
        self._polls = dict.fromkeys(self._names, 0.0)
        self._clean = dict.fromkeys(self._names, 0)
        self._bounds: dict[str, int] = {}
        """Collection → how far (``outbox_at``) its next sweep reads, while there is more than a window."""
        self._rung: set[str] = set()
        self._bell = threading.Event()

    # ------------------------------------------------------------------------------------------------------------- one sweep

    def sweep(self, name: str) -> int:
        """Send what the documents of one collection promise, at most a window of it; answers how many events (a window: look again)."""
        began = clock.wall_ms()
        documents = self._window(name, began + CLOCK_STEP_MS)
        if not documents:
            self._clean[name] = began
            return 0
        self._presence.active()
        batch = _first_letters(documents) if name == LOG else _first_events(documents)
        self._publisher.publish([Outgoing(envelope) for _, envelopes in batch for envelope in envelopes])
        if name == LOG:
            self._mark_sent([document for document, _ in batch])
        else:
            self._settle(name, batch)
        EVENTS_SENT.labels(self._presence.service).inc(sum(len(envelopes) for _, envelopes in batch))
        self._presence.active()
        return max(len(documents), sum(len(envelopes) for _, envelopes in batch))

    def _window(self, name: str, latest: int) -> list[Document]:
        """A window of documents with events. After a full one the next looks only about twice as far: a database that reads a whole
        range before its limit would read all of a long backlog for every window of it.
        """
        bound = min(self._bounds.pop(name, latest), latest)
        query = {"outbox_at": {"$gt": 0, "$lte": bound}}
        found = self._database[name].find(query, {"outbox": 1, "outbox_at": 1})
        documents = list(found.sort("outbox_at", 1).limit(WINDOW))
        if not documents and bound < latest:
            return self._window(name, latest)
        if len(documents) == WINDOW:
            self._bounds[name] = 2 * documents[-1]["outbox_at"] - documents[0]["outbox_at"] + 1
        return documents

    def _settle(self, name: str, batch: list[tuple[Document, list[Envelope]]]) -> None:
        """Log what was sent, then clear it: nothing leaves its document before it is in the log. Two commands, whatever the batch.

        Cleared one by one, never by an update of many: on the embedded database that waits for transactions while it keeps them out.
        """
        envelopes = [envelope for _, sent in batch for envelope in sent]
        now = clock.wall()
        logged = [{"_id": envelope["id"], "envelope": envelope, "sent_at": now} for envelope in envelopes]
        try:
            if logged:  # else a document that says it has events and has none: it is cleared all the same
                self._database[LOG].insert_many(logged, ordered=False)
        except BulkWriteError as error:
            if any(problem["code"] != DUPLICATE_KEY for problem in error.details["writeErrors"]):
                raise  # else: logged by an earlier try
        rows = f"{self._database.name}.{name}"
        cleared = [
            UpdateOne({"_id": document["_id"]}, _without([envelope["id"] for envelope in sent]), namespace=rows)
            for document, sent in batch
        ]
        self._database.client.bulk_write(cleared, ordered=False)

    def _mark_sent(self, letters: Sequence[Document]) -> None:
        """They are in the log already. One by one for the reason ``_settle`` has."""
        log = self._database[LOG]
        sent = {"$set": {"sent_at": clock.wall()}, "$unset": {"outbox_at": ""}}
        log.bulk_write([UpdateOne({"_id": letter["_id"]}, sent) for letter in letters], ordered=False)

    # ------------------------------------------------------------------------------------------------------- sending again

    def resend(self, since_ms: int) -> int:
        """Publish again what was logged after ``since_ms`` (wall): what a broker in memory may have lost. Answers how many."""
        window = {"sent_at": {"$gt": clock.moment(max(0, since_ms - CLOCK_STEP_MS)), "$lte": _soon()}}
        sent = 0
        for batch in _batches(self._database[LOG].find(window)):
            again = [UpdateOne({"_id": row["_id"]}, {"$inc": {"resent": 1}}) for row in batch]
            self._database[LOG].bulk_write(again, ordered=False)
            told = [Outgoing(envelope, resent=row.get("resent", 0) + 1) for row in batch for envelope in logged_in(row)]
            self._publisher.publish(told)
            sent += len(told)
        return sent

    def acquaint(self, subscriptions: Iterable[tuple[str, str]]) -> None:
        """Remember who listens to this service (name, event type); who is new to it asks for a replay of the whole log by that."""
        for name, event_type in subscriptions:
            new = {"type": event_type, "replay_from": 1, "since": clock.wall()}
            self._database["subscribers"].update_one({"_id": name}, {"$setOnInsert": new}, upsert=True)

    def replay_asked(self) -> int:
        """Send the log again to the subscribers that asked; answers how many events. A crash in between begins it again."""
        sent = 0
        for asked in list(self._database["subscribers"].find({"replay_from": {"$gt": 0}})):
            self._presence.active()
            window = {"sent_at": {"$gte": clock.moment(asked["replay_from"]), "$lte": _soon()}}
            log = self._database[LOG].find(window)
            told = (envelope for row in log for envelope in logged_in(row) if envelope["type"] == asked["type"])
            for batch in _batches(told):
                self._publisher.publish([Outgoing(envelope, queue=asked["_id"]) for envelope in batch])
                sent += len(batch)
            finished = {"_id": asked["_id"], "replay_from": asked["replay_from"]}
            self._database["subscribers"].update_one(finished, {"$unset": {"replay_from": ""}})
            if sent:
                _log.info("log replayed", subscriber=asked["_id"], events=sent)
        return sent

    # ----------------------------------------------------------------------------------------------------------------- for ever

    def ring(self, name: str) -> None:
        """Facts were just committed to the collection ``database.collection``; others' are ignored."""
        database, _, collection = name.partition(".")
        if database == self._database.name and collection in self._intervals:
            self._rung.add(collection)
            self._bell.set()

    def look(self) -> None:
        """Poll everything now."""
        self._polls = dict.fromkeys(self._names, 0.0)
        self._bell.set()

    def run(self, stopping: threading.Event) -> None:
        """Relay until ``stopping`` is set: rung collections at once, all of them by poll. Outages are waited for."""
        housekeeping = 0.0
        while not stopping.is_set():
            try:
                if self._presence.leads and time.monotonic() >= housekeeping:
                    self.replay_asked()
                    housekeeping = time.monotonic() + HOUSEKEEPING_S
                self._turn()
            except BrokerAwayError as error:
                self._pause(stopping, "broker away", error)
            except Exception as error:  # noqa: BLE001 - a loop must go on
                if not is_away(error):
                    _log.exception("relay failed", service=self._presence.service)
                self._pause(stopping, "database away" if is_away(error) else "failing", error)

    def _turn(self) -> None:
        """Look at what was rung and what is due for a poll; wait when there was nothing."""
        rung, self._rung = self._rung, set()
        self._bell.clear()
        polled = self._due() - rung
        found = 0
        for name in rung:
            events = self.sweep(name)
            self._polls[name] = time.monotonic() + self._intervals[name]  # it was looked at just now
            found += events
            if events >= WINDOW:
                self.ring(f"{self._database.name}.{name}")
        for name in polled:
            found += self._poll(name)
        if self._presence.leads and not found:
            self._presence.clean("relay", min(self._clean.values(), default=clock.wall_ms()), clock.offset_ms())
        if self._bell.wait(self._wait_s()):
            time.sleep(LINGER_S)

    def _poll(self, name: str) -> int:
        """One poll: what rings did not tell is there → poll often for a while; nothing → ever more seldom."""
        found = self.sweep(name)
        interval = POLL_FIRST_S if found else min(self._intervals[name] * 2, POLL_MOST_S)
        self._intervals[name] = interval
        self._polls[name] = time.monotonic() + (0 if found >= WINDOW else interval)
        return found

    def _due(self) -> set[str]:
        if not self._presence.leads:
            return set()
        now = time.monotonic()
        return {name for name in self._names if self._polls[name] <= now}

    def _wait_s(self) -> float:
        if not self._presence.leads or not self._names:
            return POLL_MOST_S
        return max(0.0, min(self._polls.values()) - time.monotonic())

    def _pause(self, stopping: threading.Event, what: str, error: Exception) -> None:
        self._presence.stuck("relay", f"{what}: {type(error).__name__}")
        _log.warning("relay waits", service=self._presence.service, why=what, error=str(error)[:200])
        stopping.wait(1.0)


def _first_events(documents: Sequence[Document]) -> list[tuple[Document, list[Envelope]]]:
    """The events of the documents in order, at most a window of events; the rest is sent by the next sweep."""
    batch: list[tuple[Document, list[Envelope]]] = []
    room = WINDOW
    for document in documents:
        if room <= 0:
            break
        envelopes = document.get("outbox", [])[:room]
        batch.append((document, envelopes))
        room -= len(envelopes)
    return batch


def _first_letters(letters: Sequence[Document]) -> list[tuple[Document, list[Envelope]]]:
    """Whole letters in order, up to about a window of events: one of them is sent or not."""
    batch: list[tuple[Document, list[Envelope]]] = []
    events = 0
    for letter in letters:
        if batch and events + len(letter["outbox"]) > WINDOW:
            break
        batch.append((letter, letter["outbox"]))
        events += len(letter["outbox"])
    return batch


def logged_in(row: Document) -> list[Envelope]:
    """The events of a row of the log: one that was sent from a document, or those of a letter."""
    envelopes: list[Envelope] = [row["envelope"]] if "envelope" in row else row["outbox"]
    return envelopes


def _soon() -> datetime:
    """The end of all that was logged until now, by whichever process's clock."""
    return clock.moment(clock.wall_ms() + CLOCK_STEP_MS)


def _without(ids: list[str]) -> list[Document]:
    """The update that takes sent events out of a document; it is unmarked only when none is left."""
    left = {"$filter": {"input": {"$ifNull": ["$outbox", []]}, "cond": {"$not": {"$in": ["$$this.id", ids]}}}}
    empty = {"$eq": ["$outbox", []]}
    unmarked = {name: {"$cond": [empty, "$$REMOVE", f"${name}"]} for name in ("outbox", "outbox_at")}
    return [{"$set": {"outbox": left}}, {"$set": unmarked}]


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, WINDOW)):
        yield batch
