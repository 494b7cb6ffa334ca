"""A real worker process, on memory:// and on RabbitMQ: facts travel, take effect once, and survive what happens to processes."""

import signal
import sys
from pathlib import Path

import pytest

from services.chassis import clock, commit, mongo, presence
from services.chassis.commit import Cause
from services.chassis.decisions import Change, Fact
from tests.backends.processes import ServerProcess, wait_until
from tests.contract import worker_toy as toy

SERVICES = [worker.service for worker in toy.WORKERS]
SCRIPT = Path(toy.__file__)


class Stage:
    """A world with the toy services' databases, and worker processes for them."""

    def __init__(self, world, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.orders, self.payments = world.database("orders"), world.database("payments")
        self.shared = world.database("jishi")
        clock.open_sandbox(self.shared)
        for worker in toy.WORKERS:
            mongo.declare(world.database(worker.service), worker.collections)
        self.processes: list[ServerProcess] = []

    def worker(self, *services: str) -> ServerProcess:
        import os

        name = f"worker{len(self.processes)}"
        environment = {**os.environ, **self.world.environment}
        process = ServerProcess([sys.executable, str(SCRIPT), *services], environment, self.folder / f"{name}.log")
        process.start()
        self.processes.append(process)
        return process

    def open(self, subject: str) -> None:
        commit.create(self.payments["sums"], {"_id": subject, "sum": 0, "seen": []}, Cause(f"cmd:{subject}"))

    def tell(self, subject: str, *, amount: int = 1, reason: str = "", **more) -> None:
        data = {"order_id": subject, "amount": amount, "reason": reason}
        fact = Fact(toy.REJECTED, data)
        commit.create(
            self.orders["things"], {"_id": subject, "refunded": 0}, Cause(f"cmd:{subject}"), facts=(fact,), **more
        )

    def quiet(self, seconds: float = 30, offset: int | None = None) -> list[str]:
        return presence.wait_quiet(self.shared, presence.expected(SERVICES), seconds, offset)

    def until_quiet(self, seconds: float = 30) -> None:
        assert self.quiet(seconds) == [], "\n".join(process.tail(60) for process in self.processes)

    def refunded(self) -> dict[str, int]:
        return {thing["_id"]: thing["refunded"] for thing in self.orders["things"].find()}

    def total(self) -> int:
        row = self.payments["totals"].find_one({"_id": "all"})
        return row["sum"] if row else 0

    def end(self) -> None:
        for process in self.processes:
            process.signal_group(signal.SIGKILL)


@pytest.fixture(params=["memory", "rabbitmq"])
def world_kind(request):
    return request.param


@pytest.fixture
def stage(request, world_kind, tmp_path):
    if world_kind == "memory":
        world = request.getfixturevalue("memory_world")
    else:
        request.getfixturevalue("_needs_real_broker")
        world = request.getfixturevalue("world")
    stage = Stage(world, tmp_path)
    yield stage
    stage.end()


def test_facts_travel_and_take_effect_once_even_when_sent_again(stage):
    stage.worker()
    for number in range(20):
        stage.open(str(number))
        stage.tell(str(number), amount=3)
    stage.until_quiet()
    assert stage.refunded() == {str(number): 3 for number in range(20)}
    assert stage.total() == 60
    assert stage.orders["event_log"].count_documents({}) == 20
    assert stage.orders["things"].count_documents({"outbox_at": {"$gt": 0}}) == 0

    send_all_again(stage)
    stage.until_quiet()
    assert stage.refunded() == {str(number): 3 for number in range(20)}
    assert stage.total() == 60
    assert stage.orders["event_log"].count_documents({}) == 20


def send_all_again(stage) -> None:
    """Put every logged event back into its outbox, as a relay that crashed before clearing leaves it."""
    for entry in stage.orders["event_log"].find():
        envelope = entry["envelope"]
        back = {"$set": {"outbox": [envelope], "outbox_at": clock.wall_ms()}}
        stage.orders["things"].update_one({"_id": envelope["subject"]}, back)


def test_kill_9_in_the_middle_of_a_handler_loses_nothing(stage, tmp_path):
    worker = stage.worker()
    mark = tmp_path / "killed"
    for number in range(6):
        stage.open(str(number))
        stage.tell(str(number), reason=f"once:{mark}" if number == 3 else "")
    wait_until(lambda: not worker.running(), "the worker is killed by its handler")
    assert mark.exists()
    stage.worker()
    stage.until_quiet()
    assert stage.refunded() == {str(number): 1 for number in range(6)}
    assert stage.total() == 6
    assert stage.payments["handled"].count_documents({"state": {"$ne": "done"}}) == 0


def test_sigterm_finishes_and_leaves(stage):
    worker = stage.worker()
    stage.open("1")
    stage.tell("1")
    stage.until_quiet()
    worker.signal_group(signal.SIGTERM)
    assert "stopped" in worker.tail(3)
    assert stage.shared["quiet"].count_documents({}) == 0
    stage.tell("2")
    stage.open("2")
    stage.worker()
    stage.until_quiet()
    assert stage.refunded() == {"1": 1, "2": 1}


def test_what_cannot_be_finished_is_told_instead_of_quiet(stage):
    stage.worker()
    stage.open("1")
    stage.tell("1", reason="boom")
    assert any("payments: retries: 1 wait" in problem for problem in stage.quiet(3))
    stage.payments["handled"].update_one({"state": "waiting"}, {"$set": {"event.data.reason": ""}})
    stage.until_quiet(60)
    assert stage.refunded() == {"1": 1}


def test_timers_fire_when_the_clock_is_moved_and_one_that_fails_keeps_nobody_waiting(stage):
    stage.worker()
    stage.until_quiet()
    due = clock.moment(clock.business_ms() + 3_600_000)
    for subject, reason in (("bad", "boom"), ("good", "")):
        thing = {"_id": subject, "reason": reason}
        commit.create(stage.orders["things"], thing, Cause(f"cmd:{subject}"), due=due)
    stage.until_quiet()
    assert "fired" not in stage.orders["things"].find_one({"_id": "good"})
    offset = clock.read_offset(stage.shared) + 3_600_000
    stage.shared["clock"].update_one({"_id": "sandbox"}, {"$set": {"offset_ms": offset}})
    assert presence.wait_seen(stage.shared, offset, 10) == []
    assert any("orders: timers: 1 fail" in problem for problem in stage.quiet(4, offset))
    stage.orders["things"].update_one({"_id": "bad"}, {"$set": {"reason": ""}, "$inc": {"version": 1}})
    assert stage.quiet(30, offset) == []
    assert [thing["fired"] for thing in stage.orders["things"].find()] == [1, 1]


def test_a_new_handler_gets_the_whole_log_and_a_replay_can_be_asked_for(stage):
    from services.chassis import parking

    worker = stage.worker()
    for number in range(5):
        stage.open(str(number))
        stage.tell(str(number))
    stage.until_quiet()
    worker.signal_group(signal.SIGTERM)
    stage.payments["entries"].delete_many({})
    stage.payments["handled"].delete_many({})
    stage.orders["subscribers"].delete_one({"_id": "payments.book"})
    worker = stage.worker()
    stage.until_quiet()
    assert stage.payments["entries"].count_documents({}) == 5

    stage.payments["entries"].delete_many({})
    stage.payments["handled"].delete_many({})
    parking.replay(stage.orders, "payments.book")
    wait_until(lambda: stage.payments["entries"].count_documents({}) == 5, "the replay")
    assert {thing["refunded"] for thing in stage.orders["things"].find()} == {1}


def test_two_workers_of_every_service_share_the_work(request, tmp_path):
    request.getfixturevalue("_needs_real_broker")
    stage = Stage(request.getfixturevalue("world"), tmp_path)
    stage.worker()
    stage.worker()
    try:
        for number in range(40):
            stage.open(str(number))
            stage.tell(str(number))
        stage.until_quiet()
        assert stage.total() == 40
        leader = stage.processes[0]
        leader.signal_group(signal.SIGKILL)
        for number in range(40, 60):
            stage.open(str(number))
            stage.tell(str(number))
        stage.until_quiet()
        assert stage.total() == 60
        assert set(stage.refunded().values()) == {1}
    finally:
        stage.end()


@pytest.fixture
def _needs_real_broker(_chosen_broker):
    from tests.backends.choice import Broker, without_real_broker

    if _chosen_broker[0] is Broker.MEMORY:
        import os

        from tests.backends.plugin import NO_BROKER

        {"skip": pytest.skip, "fail": pytest.fail}[without_real_broker(os.environ)](NO_BROKER)


def test_commands_change_what_events_promised(stage):
    """A document that gets further events while its first ones are on their way loses none."""
    stage.worker()
    stage.open("1")
    stage.tell("1")
    fact = Fact(toy.REJECTED, {"order_id": "1", "amount": 1, "reason": ""})
    for number in range(30):
        commit.change(stage.orders["things"], "1", Cause(f"cmd:more{number}"), lambda _: Change(facts=(fact,)))
    stage.until_quiet()
    assert stage.total() == 31
    assert stage.refunded() == {"1": 31}
    assert "outbox" not in stage.orders["things"].find_one({"_id": "1"})
