"""Calls from one service to another: whose behalf, how long, and when they are tried again."""

import threading

import grpc
import pytest
from jishi.accounts.v1 import accounts_pb2
from prometheus_client import REGISTRY

from services.chassis import rpc, tracing
from services.chassis.errors import Refusal
from services.chassis.rpc.client import derived_key, target
from services.chassis.tokens import Signer
from tests.backends.processes import free_port
from tests.unit.chassis_rpc import desk
from tests.unit.chassis_rpc.rig import Rig, started, until


class Incoming:
    """What a method of another service has in its hands when it calls the desk: just enough of an `rpc.Call`."""

    def __init__(self, context_metadata, token: str, remaining: float = 5.0) -> None:
        self.actor_token = token
        self.cause = rpc.call.Cause("cmd:abc")
        self.metadata = context_metadata
        self._remaining = remaining

    def remaining(self) -> float:
        return self._remaining


def stamp(stub, call=None, **more):
    return stub.call("StampCard", desk.message("StampCardRequest")(), desk.message("StampCardResponse"), call, **more)


@pytest.fixture
def front(rig):
    """The stub that a service named front would have."""
    signer = Signer(rig.settings, "front")
    stub = rpc.Stub(rig.address, signer.own, desk.methods_by_name, timeout_s=10)
    yield stub
    stub.close()


def test_a_service_shows_its_own_token_and_whom_it_acts_for(rig, front):
    stamped = stamp(front, Incoming({}, rig.token("buyer", "u7")))
    assert (stamped.caller, stamped.actor) == ("service:front", "buyer:u7")
    alone = stamp(front)
    assert (alone.caller, alone.actor) == ("service:front", "anyone:")


def test_a_forged_actor_is_refused(front):
    with pytest.raises(Refusal, match=r"^UNAUTHENTICATED:"):
        stamp(front, Incoming({}, "not.a.token"))


def test_the_key_of_a_call_follows_from_the_command_behind_it(front):
    call = Incoming({}, "")
    first, again, other = stamp(front, call), stamp(front, call), stamp(front, call, part="2")
    assert first.cause_id == again.cause_id != other.cause_id
    assert derived_key(call, "desk.StampCard", "") != derived_key(call, "desk.StampCard", "2")


def test_a_retried_command_at_the_other_side_is_done_once(rig, front):
    call = Incoming({}, "")
    written = [
        front.call(
            "WriteCard",
            desk.message("WriteCardRequest")(shop_id="s", text="t"),
            desk.message("WriteCardResponse"),
            call,
        )
        for _ in range(3)
    ]
    assert len({answer.card.card_id for answer in written}) == 1
    assert rig.server.node.database["cards"].count_documents({}) == 1


def test_the_trace_goes_on(front):
    with tracing.span("outside") as outside:
        stamped = stamp(front)
    assert stamped.traceparent.split("-")[1] == outside.trace_id


def test_what_is_left_of_the_callers_deadline_is_passed_on(front):
    assert 0 < stamp(front, Incoming({}, "", remaining=1.0)).remaining_ms < 1100
    with pytest.raises(Refusal, match="DEADLINE_EXCEEDED"):
        stamp(front, Incoming({}, "", remaining=0.0))


def retries(name: str) -> float:
    return REGISTRY.get_sample_value("jishi_call_retries_total", {"rpc": name}) or 0.0


def test_a_server_that_is_away_for_a_moment_is_waited_for(settings, monkeypatch):
    monkeypatch.setattr("services.chassis.rpc.client.RETRY_FOR_S", 60.0)  # a busy machine may need a long moment
    port = free_port()
    fixed = settings.model_copy(update={"listen": {"desk": f"127.0.0.1:{port}"}})
    rig, answers = Rig(fixed, None), []
    stub = rig.stub(rig.token("buyer", "u1"), address=f"127.0.0.1:{port}", timeout_s=60)
    before = retries("desk.StampCard")
    asking = threading.Thread(target=lambda: answers.append(stamp(stub)))
    asking.start()
    until(lambda: retries("desk.StampCard") > before, "the call is tried again")
    servers = started(fixed)
    asking.join()
    assert [answer.caller for answer in answers] == ["buyer:u1"]
    servers.stop(1)
    stub.close()


def test_a_server_that_stays_away_is_unavailable_in_time(settings):
    rig = Rig(settings, None)
    stub = rig.stub("", address=f"127.0.0.1:{free_port()}", timeout_s=3.0)
    with pytest.raises(Refusal, match=r"^UNAVAILABLE:"):
        stamp(stub)
    stub.close()


def test_what_the_other_side_answered_is_not_asked_again(rig):
    before = retries("desk.BreakCard")
    with pytest.raises(Refusal, match=r"^UNAVAILABLE:"):
        rig.ask("BreakCard", how="database")
    assert retries("desk.BreakCard") == before


def test_calls_are_spread_over_several_addresses_and_survive_the_loss_of_one(settings):
    first, second = started(settings), started(settings)
    addresses = ",".join(servers.servers["desk"].address for servers in (first, second))
    desks = desk.running[-2:]
    stub = Rig(settings, first).stub(Rig(settings, first).token("buyer", "u1"), address=addresses)
    stamp(stub)
    while min(one.stamped for one in desks) < 3:
        stamp(stub)
    first.stop(1)
    for _ in range(10):
        assert stamp(stub).caller == "buyer:u1"
    second.stop(1)
    stub.close()


def test_addresses_become_targets():
    assert target("127.0.0.1:1, localhost:2") == "ipv4:127.0.0.1:1,127.0.0.1:2"
    assert target("[::1]:1") == "ipv6:[::1]:1"
    assert target("orders:50051") == "dns:///orders:50051"
    with pytest.raises(ValueError, match="several addresses"):
        target("one:1,two:2")


def test_an_answer_of_another_type_is_a_mistake_of_the_caller(front):
    with pytest.raises(TypeError):
        front.call("StampCard", desk.message("StampCardRequest")(), desk.message("GetCardResponse"))


def test_a_node_knows_the_way_to_every_service(memory_world):
    away = memory_world.settings.model_copy(
        update={"rpc": {"accounts": f"127.0.0.1:{free_port()}"}, "rpc_timeout_s": 0.3}
    )
    node = rpc.Node("orders", away, memory_world.client)
    stub = node.stub("accounts")
    assert node.stub("accounts") is stub
    with pytest.raises(Refusal, match=r"^(UNAVAILABLE|DEADLINE_EXCEEDED): .*accounts.GetClock"):
        stub.call("GetClock", accounts_pb2.GetClockRequest(), accounts_pb2.GetClockResponse)
    node.close()
    by_hand = rpc.connect("accounts", away.rpc_addresses("accounts"), timeout_s=0.3)
    with pytest.raises(KeyError):
        by_hand.call("NoSuchRpc", accounts_pb2.GetClockRequest(), accounts_pb2.GetClockResponse)
    by_hand.close()


class Ended(grpc.RpcError):
    """A call that ended without an answer."""

    def __init__(self, code):
        self.code, self.details = (lambda: code), (lambda: "")
        self.trailing_metadata = self.initial_metadata = tuple


def test_a_line_that_was_down_is_what_is_told_when_the_time_runs_out_looking_for_it(settings, monkeypatch):
    rig = Rig(settings, None)
    stub = rig.stub("", address=f"127.0.0.1:{free_port()}", timeout_s=3.0)
    ends = iter((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))

    def ask(*_, **__):
        raise Ended(next(ends))

    monkeypatch.setattr(stub, "_callable", lambda _: ask)
    with pytest.raises(Refusal, match=r"^UNAVAILABLE:"):
        stamp(stub)
    assert list(ends) == []
