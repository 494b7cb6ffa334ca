"""Timers fire once, in spite of neighbours that fail and of a second worker."""

from datetime import timedelta

import pytest

from services.chassis import clock, commit, logs, mongo
from services.chassis.commit import Cause, Shortfall
from services.chassis.decisions import Change
from services.chassis.presence import Presence
from services.chassis.reacting import Timer, timer_on_document
from services.chassis.timers import Timers
from tests.contract import worker_toy as toy


@pytest.fixture
def database(memory_world):
    logs.configure(memory_world.settings, "orders", "test")
    database = memory_world.database("orders")
    mongo.declare(database, (toy.THINGS,))
    return database


def timers_of(database, *timers: Timer, process: str = "test") -> Timers:
    return Timers("orders", database, timers, Presence("orders", process, "worker"))


def create(database, subject: str, *, seconds: int = 0) -> None:
    due = clock.business() + timedelta(seconds=seconds)
    commit.create(database["things"], {"_id": subject, "fired": 0}, Cause(f"cmd:{subject}"), due=due)


def fired(_document, _now) -> Change:
    return Change(inc={"fired": 1}, due=None)


def test_what_is_due_fires_once_and_what_is_not_stays(database):
    create(database, "due")
    create(database, "later", seconds=3600)
    timers = timers_of(database, timer_on_document("things", fired))
    assert [timers.sweep(), timers.sweep()] == [1, 0]
    assert {thing["_id"]: thing["fired"] for thing in database["things"].find()} == {"due": 1, "later": 0}
    assert "due_at" not in database["things"].find_one({"_id": "due"})
    assert timers._presence.row()["checks"]["timers"] > 0


def test_two_workers_that_saw_the_same_timer_make_one_effect(database):
    create(database, "1")
    first, second = (timers_of(database, timer_on_document("things", fired), process=name) for name in ("a", "b"))
    (document,) = second._due(second._timers[0])
    first.sweep()
    second._fire(second._timers[0], document)
    assert database["things"].find_one({"_id": "1"})["fired"] == 1


def test_workers_begin_at_different_slots(database):
    for number in range(20):
        create(database, str(number))
    orders = []
    for process in ("a", "b"):
        timers = timers_of(database, timer_on_document("things", fired), process=process)
        orders.append([document["_id"] for document in timers._due(timers._timers[0])])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("wrong", [RuntimeError("boom"), Shortfall()])
def test_one_that_fails_is_left_alone_for_a_while_and_keeps_nobody_waiting(database, wrong):
    tries = []

    def fire(found, document, now, cause):
        if document["_id"] == "bad":
            tries.append(cause.id)
            raise wrong
        timer_on_document("things", fired).fire(found, document, now, cause)

    create(database, "bad")
    create(database, "good")
    timers = timers_of(database, Timer("things", fire))
    assert [timers.sweep(), timers.sweep()] == [2, 0]
    assert tries == ["tmr:orders.things:bad:1"]
    assert database["things"].find_one({"_id": "good"})["fired"] == 1
    assert "1 fail" in timers._presence.row()["stuck"]["timers"]

    database["things"].update_one({"_id": "bad"}, {"$inc": {"version": 1}})
    timers.sweep()
    assert tries[1:] == ["tmr:orders.things:bad:2"], "a document that has moved is tried at once"


def test_a_timer_that_does_not_move_its_document_does_not_run_hot(database):
    create(database, "1")
    timers = timers_of(database, Timer("things", lambda *_: None))
    assert [timers.sweep() for _ in range(5)] == [1, 0, 0, 0, 0]
