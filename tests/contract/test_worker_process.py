"""A real worker process, on memory:// and on RabbitMQ: facts travel, take effect once, and survive what happens to processes."""

import json
import signal
import socket

import httpx
import pytest

from services.chassis import clock, commit, mongo, parking, presence
from services.chassis.commit import Cause
from services.chassis.decisions import Change, Fact
from tests.backends.processes import free_port, wait_until
from tests.contract import worker_toy as toy
from tests.contract.worker_stage import Stage

BROKERS = pytest.mark.parametrize("world_kind", ["memory", pytest.param("rabbitmq", marks=pytest.mark.needs_rabbitmq)])


@pytest.fixture
def world_kind():
    return "memory"


@pytest.fixture
def stage(request, world_kind, tmp_path):
    world = request.getfixturevalue("memory_world" if world_kind == "memory" else "world")
    stage = Stage(world, tmp_path)
    yield stage
    stage.end()


@BROKERS
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


@BROKERS
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
    wait_until(
        lambda: any("payments: retries: 1 wait" in problem for problem in stage.quiet(0.5)), "that the retry is told"
    )
    stage.payments["handled"].update_one({"state": "waiting"}, {"$set": {"event.data.reason": ""}})
    stage.until_quiet()
    assert stage.refunded() == {"1": 1}


def test_timers_fire_when_the_clock_is_moved_and_one_that_fails_keeps_nobody_waiting(stage):
    stage.worker()
    stage.until_quiet()
    due = clock.moment(clock.wall_ms() + clock.read_offset(stage.shared) + 3_600_000)
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


@pytest.mark.needs_rabbitmq
@pytest.mark.parametrize("world_kind", ["rabbitmq"])
def test_two_workers_of_every_service_share_the_work_and_one_may_die(stage):
    stage.worker()
    stage.worker()
    for number in range(40):
        stage.open(str(number))
        stage.tell(str(number))
    stage.until_quiet()
    assert stage.total() == 40
    stage.processes[0].signal_group(signal.SIGKILL)
    mongo.release_abandoned(stage.world.client, stage.world.settings)
    for number in range(40, 60):
        stage.open(str(number))
        stage.tell(str(number))
    stage.until_quiet()
    assert stage.total() == 60
    assert set(stage.refunded().values()) == {1}


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


def test_a_worker_listens_for_rings_where_it_is_told_and_rubbish_does_not_hurt_it(stage):
    """In a container the address that others ring at is not one that the worker itself can listen on."""
    port = free_port()
    bells = json.dumps(dict.fromkeys(("orders", "payments"), f"not-this-host.invalid:{port}"))
    worker = stage.worker(JISHI_BELL=bells, JISHI_BELL_LISTEN=f"0.0.0.0:{port}")
    wait_until(lambda: not udp_free(port), "the worker to listen")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        names = (b"", b"\xff" * 50_000, b"nowhere.things", f"{stage.orders.name}.$cmd", f"{stage.orders.name}.things")
        for name in names:
            out.sendto(name if isinstance(name, bytes) else name.encode(), ("127.0.0.1", port))
    stage.open("1")
    stage.tell("1")
    stage.until_quiet()
    assert stage.refunded() == {"1": 1}
    assert worker.running()
    assert "Traceback" not in worker.tail(200)


def udp_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_a_trace_goes_on_through_events_and_the_worker_shows_how_it_does(stage):
    address = f"127.0.0.1:{free_port()}"
    worker = stage.worker(JISHI_METRICS_LISTEN=f'{{"worker": "{address}"}}')
    stage.open("1")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    stage.tell("1", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    stage.until_quiet()
    (told,) = stage.orders["event_log"].find()
    (answered,) = stage.payments["event_log"].find()
    assert told["envelope"]["traceparent"].split("-")[1] == trace
    assert answered["envelope"]["traceparent"].split("-")[1] == trace
    assert answered["envelope"]["causationid"] == told["_id"]

    assert httpx.get(f"http://{address}/healthz").status_code == 200
    page = httpx.get(f"http://{address}/metrics").text
    assert 'jishi_events_handled_total{handler="count",result="applied",service="payments"} 1.0' in page
    assert 'jishi_event_age_seconds_count{handler="refunded",service="orders"} 1.0' in page
    assert 'jishi_events_sent_total{service="orders"} 1.0' in page
    assert worker.running()
