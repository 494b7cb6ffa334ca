"""The relay: everything that documents promise is published and logged, nothing is cleared before, whatever breaks in between."""

import socket
import threading
from datetime import timedelta

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from services.chassis import bell, clock, commit, logs, mongo, parking, relay
from services.chassis.commit import Cause
from services.chassis.decisions import Change, Fact
from services.chassis.presence import Presence
from services.chassis.relay import BrokerAwayError, Relay
from services.chassis.settings import settings
from tests.backends.processes import wait_until
from tests.contract import worker_toy as toy

FACT = Fact(toy.REJECTED, {"order_id": "1", "amount": 1, "reason": ""})


class Recorder:
    """The broker's place: remembers what was published, or is away."""

    def __init__(self) -> None:
        self.sent: list[relay.Outgoing] = []
        self.away = False

    def publish(self, batch) -> None:
        if self.away:
            raise BrokerAwayError("away")
        self.sent += batch

    def ids(self) -> list[str]:
        return [outgoing.envelope["id"] for outgoing in self.sent]


@pytest.fixture
def database(memory_world):
    logs.configure(memory_world.settings, "orders", "test")
    database = memory_world.database("orders")
    mongo.declare(database, (toy.THINGS,))
    return database


@pytest.fixture
def broker() -> Recorder:
    return Recorder()


@pytest.fixture
def presence() -> Presence:
    presence = Presence("orders", "test", "worker")
    presence.leads = True
    return presence


@pytest.fixture
def carrier(database, broker, presence) -> Relay:
    return Relay(database, ["things"], broker, presence)


def create(database, subject: str, facts=(FACT,)) -> None:
    commit.create(database["things"], {"_id": subject}, Cause(f"cmd:{subject}"), facts=facts)


def thing(database, subject: str = "1"):
    return database["things"].find_one({"_id": subject})


def test_what_is_promised_is_sent_in_order_logged_and_cleared(database, broker, carrier):
    create(database, "1", (FACT, FACT))
    assert carrier.sweep("things") == 2
    name = f"{database.name}.things:1"
    assert broker.ids() == [f"{name}:1", f"{name}:2"]
    assert "outbox" not in thing(database)
    assert "outbox_at" not in thing(database)
    entry = database["event_log"].find_one({"_id": f"{name}:2"})
    assert entry["envelope"]["subject"] == "1"
    assert entry["envelope"]["sequence"] == 2
    assert clock.wall() - timedelta(minutes=1) < entry["sent_at"] <= clock.wall()
    assert database["event_log"].index_information()["sent_at_1"]["expireAfterSeconds"] == mongo.LOG_KEPT_S
    assert carrier.sweep("things") == 0


def test_a_broker_that_is_away_leaves_the_promise_in_its_document(database, broker, carrier):
    create(database, "1")
    broker.away = True
    with pytest.raises(BrokerAwayError):
        carrier.sweep("things")
    assert len(thing(database)["outbox"]) == 1
    assert database["event_log"].count_documents({}) == 0
    broker.away = False
    assert carrier.sweep("things") == 1


def test_a_document_that_says_it_promised_and_promises_nothing_is_cleared_and_keeps_nobody_waiting(database, carrier):
    create(database, "1", ())
    database["things"].update_one({"_id": "1"}, {"$set": {"outbox": [], "outbox_at": clock.wall_ms() - 1000}})
    carrier.sweep("things")
    assert "outbox_at" not in thing(database)
    create(database, "2")
    assert carrier.sweep("things") == 1


def test_a_fact_added_while_others_are_sent_is_kept_for_the_next_sweep(database, broker, carrier):
    create(database, "1")

    def publish(batch) -> None:
        broker.sent += batch
        if len(broker.sent) == 1:
            commit.change(database["things"], "1", Cause("cmd:more"), lambda _: Change(facts=(FACT,)))

    carrier._publisher = type("Busy", (), {"publish": staticmethod(publish)})
    assert carrier.sweep("things") == 1
    assert [event["sequence"] for event in thing(database)["outbox"]] == [2]
    assert carrier.sweep("things") == 1
    assert "outbox" not in thing(database)


def test_a_crash_after_sending_sends_again_under_the_same_ids_and_logs_once(database, broker, carrier, monkeypatch):
    create(database, "1")
    with monkeypatch.context() as patched:
        patched.setattr(carrier, "_settle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            carrier.sweep("things")
    carrier.sweep("things")
    assert len(broker.ids()) == 2
    assert len(set(broker.ids())) == 1
    assert database["event_log"].count_documents({}) == 1


def test_more_than_a_window_is_sent_in_several_sweeps(database, carrier):
    for number in range(3):
        create(database, str(number), (FACT,) * 90)
    assert [carrier.sweep("things") for _ in range(3)] == [relay.WINDOW, 70, 0]
    assert database["event_log"].count_documents({}) == 270


class Heard(CommandListener):
    """The filters of the queries that a client sends."""

    def __init__(self) -> None:
        self.filters: list[dict] = []

    def started(self, event) -> None:
        if event.command_name == "find":
            self.filters.append(event.command["filter"])

    def succeeded(self, event) -> None:
        pass

    failed = succeeded


def test_a_long_backlog_is_read_a_window_at_a_time(memory_world, database, broker, presence):
    """A database that reads a whole range before its limit would read all of the backlog for every window of it."""
    backlog, age_ms = 5 * relay.WINDOW, 3_600_000
    for number in range(backlog):
        create(database, str(number))
        age = age_ms * (backlog - number) // backlog
        database["things"].update_one({"_id": str(number)}, {"$set": {"outbox_at": clock.wall_ms() - age}})
    heard = Heard()
    with MongoClient(memory_world.settings.mongo_uri, tz_aware=True, event_listeners=[heard]) as client:
        carrier = Relay(client[database.name], ["things"], broker, presence)
        while carrier.sweep("things"):
            pass
    assert len(set(broker.ids())) == len(broker.ids()) == backlog
    bounds = [query["outbox_at"]["$lte"] for query in heard.filters]
    now = clock.wall_ms()
    assert now - bounds[0] < age_ms / 60, "nothing is known of the backlog yet"
    assert now - bounds[1] > age_ms / 4, "about twice the window that was full"


def test_the_log_is_sent_again_from_a_moment_on_and_counted(database, broker, carrier):
    create(database, "old")
    carrier.sweep("things")
    database["event_log"].update_many({}, {"$set": {"sent_at": clock.moment(clock.wall_ms() - 60_000)}})
    create(database, "new")
    carrier.sweep("things")
    broker.sent.clear()
    for times in (1, 2):
        assert carrier.resend(clock.wall_ms() - 10_000) == 1
        assert broker.sent[-1].resent == times
    assert {outgoing.envelope["subject"] for outgoing in broker.sent} == {"new"}


def test_a_subscriber_that_is_new_gets_the_log_once_and_again_when_asked(database, broker, carrier):
    create(database, "1")
    carrier.sweep("things")
    broker.sent.clear()
    for _ in range(2):
        carrier.acquaint([("payments.count", toy.REJECTED), ("payments.other", toy.REFUNDED)])
        carrier.replay_asked()
    assert [outgoing.queue for outgoing in broker.sent] == ["payments.count"]
    parking.replay(database, "payments.count")
    assert carrier.replay_asked() == 1
    assert carrier.replay_asked() == 0
    with pytest.raises(LookupError, match=r"does not listen to .*payments.count"):
        parking.replay(database, "payments.nobody")
    assert carrier.replay_asked() == 0


def running(carrier) -> tuple[threading.Event, threading.Thread]:
    stopping = threading.Event()
    thread = threading.Thread(target=carrier.run, args=(stopping,), daemon=True)
    thread.start()
    return stopping, thread


def wait_for(condition, seconds: float = 20) -> None:
    wait_until(condition, "the relay", seconds=seconds, every=0.01)


def test_the_loop_polls_hears_the_bell_and_survives_an_outage(database, broker, presence, carrier):
    stopping, thread = running(carrier)
    bell.on_ring(carrier.ring)
    try:
        create(database, "1")
        wait_for(lambda: len(broker.sent) == 1)
        broker.away = True
        create(database, "2")
        wait_for(lambda: "broker away" in presence.row()["stuck"].get("relay", ""))
        broker.away = False
        wait_for(lambda: len(broker.sent) == 2)
        sent_at = clock.wall_ms()
        wait_for(lambda: presence.row()["checks"].get("relay", 0) > sent_at)
        assert presence.row()["stuck"] == {}
    finally:
        bell._listeners.clear()
        stopping.set()
        thread.join()


def test_who_does_not_lead_polls_nothing_but_hears_the_bell(database, broker, presence, carrier):
    presence.leads = False
    stopping, thread = running(carrier)
    try:
        create(database, "1")
        carrier.ring(f"{database.name}.others")
        carrier.ring("elsewhere.things")
        assert broker.sent == []
        carrier.ring(f"{database.name}.things")
        wait_for(lambda: len(broker.sent) == 1)
    finally:
        stopping.set()
        thread.join()


def test_the_bell_travels_between_processes_by_datagram(database, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("JISHI_BELL", f'{{"orders": "{address}"}}')
    settings.cache_clear()
    heard: list[str] = []
    ended = threading.Event()
    thread = threading.Thread(target=bell.listen, args=(address, ended.is_set), daemon=True)
    thread.start()

    def ring_until_heard() -> bool:
        bell._send(database.name, f"{database.name}.things")
        bell._listeners.append(heard.append)  # only now: with a listener of its own a process sends nothing
        return bool(heard)

    try:
        wait_for(ring_until_heard)
    finally:
        bell._listeners.clear()
        for sender in filter(None, bell._senders.values()):
            sender.close()
        bell._senders.clear()
        ended.set()
        thread.join()
    assert heard[0] == f"{database.name}.things"
