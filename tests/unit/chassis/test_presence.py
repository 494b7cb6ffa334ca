"""When the stack counts as quiet: judged from the rows that the processes write."""

import pytest

from services.chassis.presence import LIVE_MS, SETTLE_MS, Presence, expected, unquiet

NOW = 1_000_000
WANTED = expected(["orders"], ["orders"])
ALL = ("relay", "timers", "retries", "queues")


def report(service="orders", *, at=NOW, active=0, checks=ALL, checked=NOW - 10, **more):
    fresh = {
        "service": service,
        "process": "p",
        "role": "worker",
        "at": at,
        "active_at": active,
        "busy": 0,
        "settle_ms": 250,
    }
    return {**fresh, "checks": dict.fromkeys(checks, checked), "offsets": dict.fromkeys(checks, 7), "stuck": {}, **more}


def jobs(**more):
    return report(process="j", checks=("jobs",), **more)


def judge(*rows, since=0, offset=None):
    return unquiet(rows, WANTED, since=since, now=NOW, offset=offset)


def test_quiet_when_every_check_began_after_the_last_activity():
    assert judge(report(), jobs()) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((report(),), "jobs: no live process"),
        ((report(at=NOW - LIVE_MS - 1), jobs()), "relay: no live process"),
        ((report(busy=2), jobs()), "2 running"),
        ((report(active=NOW - 20), jobs()), "relay: still at work"),
        ((report(), jobs(active=NOW - 20)), "timers: still at work"),
        ((report(), jobs(stuck={"jobs": "3 to do"})), "3 to do"),
        (
            (report(), report(process="q", checks=(), at=NOW - SETTLE_MS * 3, active=NOW - SETTLE_MS * 3), jobs()),
            "q reports late",
        ),
    ],
)
def test_not_quiet(rows, said):
    assert any(said in problem for problem in judge(*rows))


def test_what_began_before_the_question_proves_nothing():
    assert judge(report(), jobs(), since=NOW - 100) != []


def test_one_of_two_workers_may_answer_for_a_check_but_both_must_be_idle():
    other = report(process="q", checks=("timers",))
    assert judge(report(), other, jobs()) == []
    assert judge(report(), {**other, "busy": 1}, jobs()) != []


def test_timers_must_have_seen_the_clock():
    assert judge(report(), jobs(), offset=7) == []
    assert judge(report(), jobs(), offset=8) == ["orders: timers: have not seen the clock at 8 ms"]


def test_other_services_do_not_matter():
    assert judge(report(), jobs(), report("catalog", busy=1)) == []


def test_a_presence_counts_what_runs_and_remembers_what_is_stuck():
    presence = Presence("orders", "p", "worker")
    with presence.working():
        assert presence.row()["busy"] == 1
    presence.stuck("relay", "broker away")
    assert presence.row()["stuck"] == {"relay": "broker away"}
    presence.clean("relay", 5, 7)
    row = presence.row()
    assert (row["busy"], row["stuck"], row["checks"], row["offsets"]) == (0, {}, {"relay": 5}, {"relay": 7})
