"""A running stack is waited for, a stopped one is judged by when it was last seen at work, and quotas are recomputed from real sends."""

from dataclasses import replace

import pytest

from services.broadcast.commands import sending
from services.broadcast.store import admission
from services.chassis import clock, subscriptions
from services.cli.audit.events import Log
from services.cli.audit.run import audit
from services.cli.audit.world import seen


def violations(house, **given) -> list[tuple[str, str]]:
    return [(found.check, found.found) for found in audit(house.settings, **given).violations]


def alive(house) -> None:
    """One worker, of orders, that says it has something to do."""
    now = clock.wall_ms()
    row = {"service": "orders", "process": "p", "role": "worker", "at": now + 60_000, "active_at": now, "busy": 1}
    checks = {"checks": {}, "offsets": {}, "stuck": {"relay": "broker away"}}
    house.database("jishi")["quiet"].insert_one({"_id": "orders@p", **row, **checks})


def test_a_stack_that_does_not_become_quiet_is_told_what_is_stuck(house):
    alive(house)
    report = audit(house.settings, wait_s=0.1)
    assert report.running
    told = {violation.found for violation in report.violations if violation.check == "quiet"}
    assert {
        "orders: 1 running in p",
        "orders: relay: broker away",
        "catalog: queues: no live process looks after it",
    } <= told
    assert {violation.check for violation in report.violations} == {"quiet"}


def test_an_outbox_of_a_stopped_stack_is_a_finding(house):
    house.open_shop("s1", "a1")
    (tea,) = house.sell("s1", "茶", (500, 3))
    assert violations(house) == [("events.outboxes", "1 events not sent")]
    house.settle()
    assert violations(house) == []
    house.place("b1", (tea, 1))
    assert violations(house) == []


def test_a_stopped_stack_is_judged_by_when_its_worker_was_last_seen(house):
    house.open_shop("s1", "a1")
    (tea,) = house.sell("s1", "茶", (500, 3))
    house.place("b1", (tea, 1))
    house.settle()
    processes, wall = house.database("jishi")["processes"], clock.wall_ms()
    processes.insert_one({"_id": "p", "role": "worker", "at": wall + 3_600_000, "offset_ms": clock.offset_ms()})
    assert {check for check, _ in violations(house, stopped=True)} == {"events.overdue"}, (
        "somebody should have closed it"
    )
    processes.update_one({"_id": "p"}, {"$set": {"at": wall}})
    assert violations(house, stopped=True) == []
    assert seen(house.client, house.settings, stopped=True).wall_ms == wall


def test_a_stack_without_its_worker_is_not_called_stopped(house):
    server = {"_id": "s", "role": "server", "at": clock.wall_ms() + 60_000, "offset_ms": clock.offset_ms()}
    house.database("jishi")["processes"].insert_one(server)
    report = audit(house.settings, wait_s=0.1)
    assert report.running
    assert "orders: relay: no live process looks after it" in {violation.found for violation in report.violations}


def test_a_handler_without_decide_fails(house):
    mute = subscriptions.workers()[1]
    first, *others = mute.handlers
    workers = [replace(mute, handlers=(replace(first, decide=None), *others))]
    wrong = [found for found in Log(workers).decidable(seen(house.client, house.settings)) if found]
    assert [(found.subject, found.found) for found in wrong] == [(f"{mute.service}.{first.name}", "no decide")]


def test_a_logged_event_of_a_handler_without_decide_is_not_believed(house):
    house.open_shop("s1", "a1")
    catalog = next(worker for worker in subscriptions.workers() if worker.service == "catalog")
    handlers = tuple(replace(handler, decide=None) for handler in catalog.handlers if handler.name == "copy_shop")
    log = Log([replace(catalog, handlers=handlers)])
    list(log.decided(seen(house.client, house.settings)))
    assert {pair.handler: dict(pair.verdicts) for pair in log.pairs} == {
        "(nobody)": {"lost": 1},
        "catalog.copy_shop": {"failed": 1},
    }


@pytest.mark.parametrize(
    ("broken", "to_all", "times", "check"),
    [
        ({"received_per_month": 9}, False, 5, "broadcast.caps"),
        ({"history_per_day": 9}, True, 2, "broadcast.limits"),
        ({"history_per_day": 9, "history_per_month": 9}, True, 5, "broadcast.limits"),
    ],
)
def test_a_service_that_forgets_its_quota_is_found(house, monkeypatch, broken, to_all, times, check):
    house.open_shop("s1", "a1")
    house.follow("a1", 20)
    tag = house.tag("a1", 10)
    honest = admission.rules_at
    for room in (admission, sending):
        monkeypatch.setattr(room, "rules_at", lambda when: replace(honest(when), **broken))
    for _ in range(times):
        house.send("a1", 0 if to_all else tag)
    found = {name for name, _ in violations(house)}
    assert check in found
    assert found <= {check, "broadcast.caps"}
