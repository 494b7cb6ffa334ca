"""Answers that may be a moment old: one read for many readers, never older than said."""

import threading

import pytest

from services.chassis import fresh
from services.chassis.fresh import Fresh


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    now = {"s": 100.0}
    monkeypatch.setattr(fresh.clock, "monotonic", lambda: now["s"])
    return now


def test_an_answer_is_kept_for_its_age_from_when_its_reading_began(clock):
    answers, seen = iter(range(9)), Fresh(0.7)

    def load():
        clock["s"] += 0.5
        return next(answers)

    assert seen.get("a", load) == 0
    clock["s"] += 0.1
    assert seen.get("a", load) == 0
    clock["s"] += 0.11
    assert seen.get("a", load) == 1
    assert seen.get("b", load) == 2


def test_a_failure_is_not_kept():
    seen = Fresh(0.7)

    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        seen.get("a", fail)
    assert seen.get("a", lambda: 1) == 1


def test_the_oldest_is_forgotten():
    seen, reads = Fresh(10, most=2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        seen.get(key, lambda key=key: reads.append(key))
    assert reads == ["a", "b", "c", "b"]


def test_many_readers_share_one_read():
    seen, reads, begun, go = Fresh(60), [], threading.Event(), threading.Event()

    def load():
        reads.append(1)
        begun.set()
        go.wait(10)
        return 7

    found = []
    threads = [threading.Thread(target=lambda: found.append(seen.get("a", load))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert (found, len(reads)) == ([7] * 8, 1)


def test_of_several_only_those_that_are_too_old_are_read_and_by_one_read(clock):
    seen, reads, there = Fresh(0.7), [], {"a": 1, "b": 2}

    def load(keys):
        reads.append(keys)
        return {key: there[key] for key in keys if key in there}

    assert seen.get_many(["a"], load) == {"a": 1}
    assert seen.get_many(["a", "b", "none"], load) == {"a": 1, "b": 2}
    assert reads == [["a"], ["b", "none"]]
    there["a"] = 3
    seen.forget("a")
    assert seen.get_many(["a", "b"], load) == {"a": 3, "b": 2}
    del there["a"]
    clock["s"] += 0.71
    assert seen.get_many(["a", "b"], load) == {"b": 2}
    assert reads[2:] == [["a"], ["a", "b"]]
