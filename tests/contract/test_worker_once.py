"""A delivery takes effect once, whatever comes in between: what becomes of its `handled` row."""

import json
import random

import pytest

from services.chassis import clock, commit, events, logs, mongo, parking
from services.chassis.commit import Cause, Shortfall, Taken
from services.chassis.decisions import Fact, apply
from services.chassis.errors import Refusal
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.chassis.reacting import Handler
from tests.contract import worker_toy as toy

PAYMENTS = next(worker for worker in toy.WORKERS if worker.service == "payments")


@pytest.fixture
def database(memory_world):
    logs.configure(memory_world.settings, "payments", "test")
    database = memory_world.database("payments")
    mongo.declare(database, PAYMENTS.collections)
    return database


def intake_of(database, *handlers) -> Intake:
    return Intake("payments", database, handlers or PAYMENTS.handlers, Presence("payments", "test", "worker"))


@pytest.fixture
def intake(database) -> Intake:
    return intake_of(database)


def rejected(subject: str, number: int = 1, *, amount: int = 5, reason: str = "") -> bytes:
    data = {"order_id": subject, "amount": amount, "reason": reason}
    envelope = events.pack(
        Fact(toy.REJECTED, data),
        entity=f"orders.things:{subject}",
        subject=subject,
        sequence=number,
        causation="",
        traceparent="",
    )
    return json.dumps(envelope).encode()


def open_sum(database, subject: str) -> None:
    commit.create(database["sums"], {"_id": subject, "sum": 0, "seen": []}, Cause(f"cmd:{subject}"))


def total(database) -> int:
    return database["totals"].find_one({"_id": "all"})["sum"]


def row(database):
    return database["handled"].find_one({"_id": "payments.count:orders.things:1:1"})


def due_now(database) -> None:
    """As if the pauses of all waiting rows had passed."""
    database["handled"].update_many({"state": "waiting"}, {"$set": {"next_at": clock.wall_ms()}})


def test_an_event_delivered_twice_counts_once_in_one_document_and_in_several(intake, database):
    open_sum(database, "1")
    assert [intake.receive("count", rejected("1")) for _ in range(2)] == [Result.APPLIED, Result.DONE]
    assert [intake.receive("book", rejected("1")) for _ in range(2)] == [Result.APPLIED, Result.DONE]
    assert database["sums"].find_one({"_id": "1"})["sum"] == 5
    assert total(database) == 5
    assert database["handled"].count_documents({"state": "waiting"}) == 0


def test_the_rows_of_several_documents_refuse_a_second_run_even_when_nothing_else_does(database):
    blind = Handler(toy.REJECTED, "book", lambda *_: None, lambda *_: apply(), toy.write_entry)
    intake = intake_of(database, blind)
    assert intake.receive("book", rejected("1")) is Result.APPLIED
    assert intake.receive("book", rejected("1")) is Result.DONE
    assert total(database) == 5


def test_twice_and_shuffled_ends_the_same(database, intake):
    for seed in range(50):
        print(f"seed {seed}")
        chance = random.Random(seed)
        subjects = [f"{seed}a", f"{seed}b"]
        for subject in subjects:
            open_sum(database, subject)
        bodies = [rejected(subject, number, amount=number) for subject in subjects for number in (1, 2)] * 2
        chance.shuffle(bodies)
        for body in bodies:
            for name in chance.sample(["count", "book"], 2):
                assert intake.receive(name, body) in {Result.APPLIED, Result.DONE}
        assert [database["sums"].find_one({"_id": subject})["sum"] for subject in subjects] == [3, 3]
        assert total(database) == 6 * (seed + 1)


def test_an_early_event_waits_without_an_attempt_and_goes_when_what_it_waits_for_is_there(intake, database):
    assert intake.receive("count", rejected("1")) is Result.EARLY
    assert row(database)["state"] == "waiting"
    assert row(database)["entity"] == "1"
    assert "attempts" not in row(database)
    open_sum(database, "1")
    due_now(database)
    intake.sweep()
    assert row(database)["state"] == "done"
    assert database["sums"].find_one({"_id": "1"})["sum"] == 5
    assert intake.sweep() == 0


def test_an_early_event_goes_at_once_when_another_event_of_its_entity_is_applied(database):
    opening = Handler(
        toy.REJECTED,
        "open",
        lambda *_: None,
        lambda *_: apply(),
        lambda delivery, *_: open_sum(database, delivery.event.subject),
    )
    intake = intake_of(database, *PAYMENTS.handlers, opening)
    assert intake.receive("count", rejected("1")) is Result.EARLY
    far = clock.wall_ms() + 3_600_000
    database["handled"].update_one({"_id": row(database)["_id"]}, {"$set": {"next_at": far}})
    assert intake.receive("open", rejected("2")) is Result.APPLIED
    assert not intake.wake.is_set()
    assert intake.receive("open", rejected("1")) is Result.APPLIED
    assert intake.wake.is_set()
    intake.sweep()
    assert row(database)["state"] == "done"


def test_what_an_early_event_waits_for_may_come_while_it_is_written_down(database):
    asked = []

    def load(found, event):
        if asked:
            open_sum(found, event.subject)
        asked.append(1)
        return found["sums"].find_one({"_id": event.subject})

    count = next(handler for handler in PAYMENTS.handlers if handler.name == "count")
    intake = intake_of(database, Handler(toy.REJECTED, "count", load, count.decide, count.apply))
    assert intake.receive("count", rejected("1")) is Result.EARLY
    assert intake.wake.is_set()
    assert row(database)["next_at"] <= clock.wall_ms()


def test_an_event_that_waits_too_long_is_told(intake, database):
    intake.receive("count", rejected("1"))
    database["handled"].update_one({}, {"$set": {"since": clock.wall_ms() - 601_000, "next_at": clock.wall_ms()}})
    assert "alarmed_at" not in row(database)
    intake.sweep()
    assert "alarmed_at" in row(database)
    assert row(database)["state"] == "waiting"


def test_a_failing_event_is_tried_with_growing_pauses_then_parked_then_retried_by_hand(intake, database):
    open_sum(database, "1")
    assert intake.receive("count", rejected("1", reason="boom")) is Result.FAILED
    pauses = []
    while row(database)["state"] == "waiting":
        pauses.append(row(database)["next_at"] - clock.wall_ms())
        due_now(database)
        intake.sweep()
    assert len(pauses) == 7
    assert pauses[-1] > pauses[0] * 8
    parked = parking.parked(database)
    assert [(found["handler"], found["attempts"], found["error"]) for found in parked] == [
        ("count", 8, "RuntimeError: as asked")
    ]
    assert "next_at" not in parked[0]

    database["handled"].update_one({"_id": parked[0]["_id"]}, {"$set": {"event.data.reason": ""}})
    assert parking.retry(database, parked[0]["_id"]) == 1
    intake.sweep()
    assert row(database)["state"] == "done"
    assert database["sums"].find_one({"_id": "1"})["sum"] == 5


def test_a_parked_event_can_be_dropped_and_only_a_parked_one(intake, database):
    open_sum(database, "1")
    intake.receive("count", rejected("1", reason="boom"))
    assert not parking.drop(database, row(database)["_id"], "no")
    while row(database)["state"] == "waiting":
        due_now(database)
        intake.sweep()
    assert parking.drop(database, row(database)["_id"], "seen by hand")
    assert row(database)["state"] == "done"
    assert row(database)["dropped_because"] == "seen by hand"
    assert parking.retry(database) == 0


def test_a_failure_never_overwrites_done(intake, database):
    intake.receive("book", rejected("1"))
    assert database["handled"].find_one()["state"] == "done"
    broken = Handler(toy.REJECTED, "book", lambda *_: None, lambda *_: 1 / 0, toy.write_entry)
    assert intake_of(database, broken).receive("book", rejected("1")) is Result.FAILED
    assert database["handled"].find_one()["state"] == "done"
    assert database["handled"].count_documents({}) == 1


@pytest.mark.parametrize("body", [b"\xff\x00", b"[]", b'{"type": "jishi.orders.nothing.v1"}', b"{}"])
def test_an_undecodable_message_is_parked_at_once_and_once(intake, database, body):
    assert [intake.receive("count", body) for _ in range(2)] == [Result.PARKED, Result.PARKED]
    (parked,) = parking.parked(database)
    assert bytes(parked["raw"]) == body
    parking.retry(database)
    intake.sweep()
    assert len(parking.parked(database)) == 1


def test_a_message_that_seems_to_crash_the_worker_is_parked_before_it_runs(intake, database):
    open_sum(database, "1")
    assert intake.receive("count", rejected("1"), deliveries=21) is Result.PARKED
    assert database["sums"].find_one({"_id": "1"})["sum"] == 0


@pytest.mark.parametrize("error", [Taken(("_id",)), Shortfall()])
def test_a_lost_race_is_decided_again_at_once(database, error):
    tries = []

    def faster_once(delivery, state, decision):
        tries.append(delivery.waited)
        if len(tries) == 1:
            raise error
        toy.write_entry(delivery, state, decision)

    handler = Handler(toy.REJECTED, "book", toy.load_entry, toy.book, faster_once)
    assert intake_of(database, handler).receive("book", rejected("1")) is Result.APPLIED
    assert tries == [False, False]
    assert total(database) == 5


def test_races_without_end_become_a_failed_attempt(database):
    def always(*_):
        raise Shortfall

    handler = Handler(toy.REJECTED, "book", toy.load_entry, toy.book, always)
    assert intake_of(database, handler).receive("book", rejected("1")) is Result.FAILED
    assert database["handled"].find_one()["error"].startswith("ContendedError")


def test_a_full_outbox_is_not_the_events_fault(database):
    def full(*_):
        raise Refusal("BACKLOG_FULL", "full")

    intake = intake_of(database, Handler(toy.REJECTED, "book", toy.load_entry, toy.book, full))
    assert intake.receive("book", rejected("1")) is Result.FAILED
    for _ in range(10):
        due_now(database)
        intake.sweep()
    assert database["handled"].find_one()["state"] == "waiting"
    assert database["handled"].find_one()["attempts"] == 0


def test_a_waiting_row_claimed_by_another_worker_is_left_to_it(intake, database):
    open_sum(database, "1")
    intake.receive("count", rejected("1", reason="boom"))
    seen = {**row(database)}
    due_now(database)
    intake._again(seen)
    assert row(database)["attempts"] == 1
