"""Jobs: leased, resumed after kill -9, fair, and ended in order."""

import threading
from datetime import timedelta

import pytest

from services.chassis import clock, jobs, logs, mongo
from services.chassis.jobs import Crew, Jobs, LeaseLost
from services.chassis.mongo import Collection, Index
from services.chassis.presence import Presence
from services.chassis.reacting import Job
from tests.backends.processes import wait_until

TASKS = Collection("tasks", (Index(("next_at",), sparse=True),))


@pytest.fixture
def database(memory_world):
    logs.configure(memory_world.settings, "orders", "test")
    database = memory_world.database("orders")
    mongo.declare(database, (TASKS,))
    return database


def add(database, *names: str) -> None:
    for number, name in enumerate(names):
        database["tasks"].insert_one({"_id": name, "next_at": clock.wall_ms() - 1000 + number, "steps": 0})


def task(database, name: str = "1"):
    return database["tasks"].find_one({"_id": name})


def finish(run) -> None:
    run.database["tasks"].update_one(
        {"_id": run.row["_id"], **run.guard}, {"$inc": {"steps": 1}, "$unset": {"next_at": ""}}
    )


def jobs_of(database, run, name: str = "a") -> Jobs:
    return Jobs("orders", database, (Job("tasks", "work", run),), Presence("orders", name, "jobs"))


def claim(found: Jobs, give_up=lambda: False):
    (pair, *_) = found.claimable()
    return found.claim(*pair, give_up)


def test_a_row_is_worked_on_once_and_then_at_rest(database):
    add(database, "1")
    first, second = jobs_of(database, finish), jobs_of(database, finish, "b")
    (pair,) = first.claimable()
    lease = first.claim(*pair, lambda: False)
    assert second.claim(*pair, lambda: False) is None
    assert second.claimable() == []
    assert first.run(pair[0], lease) == "done"
    assert task(database) == {"_id": "1", "steps": 1}
    assert first.claimable() == []
    assert first.presence.row()["checks"]["jobs"] > 0


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_is_told(database):
    add(database, "1")
    dead = claim(jobs_of(database, finish))
    other = jobs_of(database, finish, "b")
    assert other.claimable() == []
    database["tasks"].update_one({"_id": "1"}, {"$set": {"claimed_until": clock.wall_ms() - 1}})
    lease = claim(other)
    assert lease is not None
    dead._until = 0
    with pytest.raises(LeaseLost, match="another"):
        dead.keep()
    finish(dead)
    assert task(database)["steps"] == 0, "the guard keeps the loser's writes out"


def test_keep_prolongs_the_lease_when_a_third_of_it_is_used(database):
    add(database, "1")
    lease = claim(jobs_of(database, finish))
    until = task(database)["claimed_until"]
    lease.keep()
    assert task(database)["claimed_until"] == until, "fresh: no write"
    lease._until -= 5000
    lease.keep()
    assert task(database)["claimed_until"] >= until


def test_a_failing_job_comes_back_later_and_says_why(database):
    add(database, "1")

    def fail(_run):
        raise RuntimeError("boom")

    found = jobs_of(database, fail)
    pauses = []
    for _ in range(4):
        lease = claim(found)
        assert found.run(found._jobs[0], lease) == "failed"
        row = task(database)
        pauses.append(row["next_at"] - clock.wall_ms())
        database["tasks"].update_one({"_id": "1"}, {"$set": {"next_at": clock.wall_ms()}})
    assert (row["job_failures"], row["job_error"], "claim" in row) == (4, "RuntimeError: boom", False)
    assert pauses[3] > pauses[0] * 3
    assert "1 to do" in found.presence.row()["stuck"]["jobs"]

    better = jobs_of(database, finish)
    better.run(better._jobs[0], claim(better))
    assert task(database) == {"_id": "1", "steps": 1}


def test_a_job_that_returns_with_work_left_goes_behind_those_that_wait(database):
    add(database, "1", "2")
    found = jobs_of(database, lambda run: run.keep())
    assert [row["_id"] for _, row in found.claimable()] == ["1", "2"]
    found.run(found._jobs[0], claim(found))
    assert [row["_id"] for _, row in found.claimable()] == ["2", "1"]


def test_a_job_that_can_do_nothing_yet_is_looked_at_again_later(database):
    add(database, "1")
    found = jobs_of(database, lambda run: run.later(60_000))
    (pair,) = found.claimable()
    began = clock.wall_ms()
    lease = found.claim(*pair, lambda: False)
    assert found.run(pair[0], lease) == "done"
    row = task(database)
    assert row["next_at"] >= began + 60_000
    assert set(row) == {"_id", "next_at", "steps"}, "the lease is given back"
    assert found.claimable() == []
    lost = found.claim(pair[0], row, lambda: False)
    database["tasks"].update_one({"_id": "1"}, {"$set": {"claim": "another"}})
    lost.later(1)
    assert task(database)["next_at"] == row["next_at"], "who lost the lease moves nothing"


def crew_of(*found: Jobs, threads: int = 2) -> tuple[Crew, threading.Thread]:
    crew = Crew(found, threads)
    thread = threading.Thread(target=crew.run, daemon=True)
    thread.start()
    return crew, thread


def test_a_crew_does_everything_and_two_crews_do_nothing_twice(database):
    add(database, *(str(number) for number in range(20)))
    crews = [crew_of(jobs_of(database, finish, name)) for name in "ab"]
    wait_until(lambda: database["tasks"].count_documents({"next_at": {"$gt": 0}}) == 0, "all tasks")
    for crew, thread in crews:
        crew.stop()
        thread.join()
    assert {row["steps"] for row in database["tasks"].find()} == {1}


def test_stopping_gives_leases_back_at_the_next_step(database):
    add(database, "1")
    started = threading.Event()

    def endless(run):
        while True:
            started.set()
            run.keep()

    crew, thread = crew_of(jobs_of(database, endless))
    assert started.wait(20)
    crew.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert "claim" not in task(database)
    assert task(database)["next_at"] <= clock.wall_ms()


def test_one_long_job_does_not_keep_the_only_thread_from_others(database, monkeypatch):
    add(database, "long", "short")
    values = {"job_turn": 0.05, "job_lease": 10}
    spans = type("Spans", (), {"span": staticmethod(lambda name, _when: timedelta(seconds=values[name]))})
    monkeypatch.setattr(jobs.policy, "load", lambda _service: spans)

    def work(run):
        if run.row["_id"] == "short":
            finish(run)
            return
        while task(run.database, "short")["steps"] == 0:
            run.keep()
        finish(run)

    crew, thread = crew_of(jobs_of(database, work), threads=1)
    wait_until(lambda: database["tasks"].count_documents({"steps": 1}) == 2, "both")
    crew.stop()
    thread.join()
