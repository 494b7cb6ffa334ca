"""Broadcast's store, commands and reactions on a real database, without servers or a broker: messages are handed over by the test."""

import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.broadcast.commands import following, sending
from services.broadcast.store import Store
from services.broadcast.store.bitmaps import unpack
from services.broadcast.worker import WORKER
from services.chassis import clock, commit, events
from services.chassis.commit import Cause, Outcome
from services.chassis.decisions import Fact
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.chassis.timers import Timers

_keys = itertools.count()


def fresh(key: str = "", body: str = "h") -> Cause:
    """The cause of a command: a new one each time, or that of a client's key."""
    return Cause(f"cmd:{key or next(_keys)}", body)


def openids(first: int, end: int) -> list[str]:
    """As many openids."""
    return [f"o{number:027d}" for number in range(first, end)]


class House:
    """What the tests do to broadcast."""

    def __init__(self, database) -> None:
        self.database = database
        self.store = Store(database)
        self.intake = Intake("broadcast", database, WORKER.handlers, Presence("broadcast", "test", "worker"))
        self.timers = Timers("broadcast", database, WORKER.timers, Presence("broadcast", "test", "worker"))

    def at(self, text: str) -> datetime:
        """Move the business clock on to a moment of CST, such as ``2026-01-05T10:00``."""
        when = datetime.fromisoformat(text + ":00+08:00")
        clock.see(clock.ms(when) - clock.wall_ms())
        return when

    def account(self, account_id: str = "service", **fields: Any) -> str:
        """An official account whose fact has reached us; by default a verified service account past its warm-up."""
        known = {"kind": "service", "verified": True, "warmed_up": True, "name": account_id, **fields}
        commit.copy(self.store.accounts, account_id, 1, known)
        return account_id

    def follow(self, account_id: str, who: Iterable[str]) -> dict[str, int]:
        """Followers come, as many calls as it takes."""
        wanted, answer = list(who), {}
        for begin in range(0, len(wanted), following.OPENIDS_A_CALL):
            some = wanted[begin : begin + following.OPENIDS_A_CALL]
            answer, _ = following.bulk_follow(self.store, fresh(), account_id, some, "test")
        return answer

    def leave(self, account_id: str, who: Iterable[str], *, mute: bool = False) -> dict[str, int]:
        """Followers leave, or mute."""
        return following.bulk_unfollow(self.store, fresh(), account_id, list(who), mute=mute)[0]

    def unmute(self, account_id: str, who: Iterable[str]) -> dict[str, int]:
        """Muted followers get broadcasts again."""
        return following.bulk_unmute(self.store, fresh(), account_id, list(who))[0]

    def tag(self, account_id: str, name: str, who: Iterable[str]) -> int:
        """A new tag on these followers; its id."""
        tag = following.create_tag(self.store, fresh(), account_id, name).document
        following.assign_tag(self.store, fresh(), account_id, tag["tag_id"], list(who))
        return int(tag["tag_id"])

    def send(self, account_id: str, tag_id: int = 0, *, cause: Cause | None = None, **asked: Any) -> Outcome:
        """A broadcast to all, or to a tag."""
        whole = {"to_all": not tag_id, "tag_id": tag_id, "clientmsgid": "", "content": {"text": "新品到店"}, **asked}
        return sending.send(self.store, cause or fresh(), account_id, whole)

    def messages(self, job_id: str) -> list[bytes]:
        """Take the facts out of a job's outbox, as the relay does."""
        job = self.store.jobs.find_one({"_id": job_id})
        told = job.get("outbox", [])
        self.store.jobs.update_one({"_id": job_id}, {"$set": {"outbox": []}, "$unset": {"outbox_at": ""}})
        return [json.dumps(envelope).encode() for envelope in told]

    def deliver(self, messages: Iterable[bytes]) -> list[Result]:
        """Hand chunk messages to their handler."""
        return [self.intake.receive("deliver_chunk", message) for message in messages]

    def hear(self, name: str, event_type: str, data: dict[str, Any], *, subject: str, sequence: int = 1) -> Result:
        """Hand a fact of another service to a handler."""
        entity, fact = f"{event_type.split('.')[1]}.rows:{subject}", Fact(event_type, data)
        envelope = events.pack(fact, entity=entity, subject=subject, sequence=sequence, causation="", traceparent="")
        return self.intake.receive(name, json.dumps(envelope).encode())

    def run(self, job_id: str) -> dict[str, Any]:
        """Deliver and let the job's timer run until it is sent; the job then."""
        while True:
            self.deliver(self.messages(job_id))
            job = self.store.job(job_id)
            if job["state"] == "sent":
                return job
            clock.see(clock.offset_ms() + 1000)
            self.timers.sweep()

    def received(self, account_id: str, month: str) -> dict[int, int]:
        """k → how many followers have received at least k broadcasts this month."""
        counts: dict[int, int] = {}
        for shard in self.store.shards_of(account_id):
            for k, bits in shard.get("received", {}).get(month, {}).items():
                counts[int(k)] = counts.get(int(k), 0) + len(unpack(bits))
        return counts

    def sets(self, job_id: str) -> dict[str, set[int]]:
        """Who was a recipient, capped, muted, reached and not reached, over all shards and chunks of a job."""
        found: dict[str, set[int]] = {name: set() for name in ("recipients", "capped", "muted", "delivered", "errors")}
        for part in self.store.job_parts(job_id):
            for name in ("recipients", "capped", "muted"):
                found[name] |= set(unpack(part[name]))
        for row in self.store.chunks.find({"job_id": job_id}):
            for name in ("delivered", "errors"):
                assert not found[name] & set(unpack(row[name])), "in two chunks"
                found[name] |= set(unpack(row[name]))
        return found
