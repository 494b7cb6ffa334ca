"""What happens to a call before a service's method sees it, on a real port and database."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from services.chassis import clock, metrics, revocations, rpc
from services.chassis.errors import Refusal
from services.chassis.rpc.client import MAX_MESSAGE
from services.chassis.tokens import Signer
from tests.backends.processes import free_port
from tests.backends.secantus import SecantusServer
from tests.unit.chassis_rpc import desk
from tests.unit.chassis_rpc.rig import Rig, started, until


def refused(reason: str):
    """The call is refused for exactly this reason."""
    return pytest.raises(Refusal, match=f"^{reason}:")


def test_an_empty_tenant_is_filled_from_the_token_and_another_one_is_refused(rig):
    token = rig.token(shop_id="shop_1")
    written = rig.ask("WriteCard", token, text="hello").card
    assert written.shop_id == "shop_1"
    assert rig.ask("WriteCard", token, shop_id="shop_1", text="hello").card.shop_id == "shop_1"
    with refused("PERMISSION_DENIED"):
        rig.ask("WriteCard", token, shop_id="shop_2", text="hello")
    assert [card.card_id for card in rig.ask("ListCards", rig.token(shop_id="shop_2")).cards] == []


def test_a_merchant_without_a_shop_names_none(rig):
    with refused("PERMISSION_DENIED"):
        rig.ask("ListCards", rig.token(shop_id=""), shop_id="shop_1")


def test_only_the_kinds_of_callers_in_the_proto_are_let_in(rig):
    with refused("UNAUTHENTICATED"):
        rig.ask("WriteCard", text="x")
    with refused("PERMISSION_DENIED"):
        rig.ask("WriteCard", rig.token("buyer", "u1"), text="x")
    with refused("PERMISSION_DENIED"):
        rig.ask("WriteCard", Signer(rig.settings, "back").own(), text="x")
    assert (
        rig.ask("WriteCard", Signer(rig.settings, "front").own(), shop_id="shop_9", text="x").card.shop_id == "shop_9"
    )


def test_a_merchants_token_must_carry_the_scope(rig):
    with refused("SCOPE_MISSING") as caught:
        rig.ask("WriteCard", rig.token(scopes=["cards:read"]), text="x")
    assert caught.value.info == {"scope": "cards:write"}
    assert rig.ask("WriteCard", rig.token(scopes=["*"]), text="x").card.card_id


def test_a_token_that_is_not_good_is_refused_even_where_none_is_needed(rig):
    with refused("TOKEN_EXPIRED"):
        rig.ask("GetCard", rig.token(lifetime_s=-1), card_id="1")
    with refused("UNAUTHENTICATED"):
        rig.ask("GetCard", rig.token()[:-8] + "AAAAAAAA", card_id="1")


def test_a_revoked_token_is_refused_as_soon_as_the_server_has_read_of_it(rig, memory_world):
    minted = Signer(rig.settings, "accounts").mint("buyer", "u1", lifetime_s=3600)
    assert rig.ask("StampCard", minted.text).caller == "buyer:u1"
    memory_world.database("desk")["revoked"].insert_one({"_id": minted.jti, "subject": "u1"})

    def gone() -> bool:
        try:
            rig.ask("StampCard", minted.text)
        except Refusal as refusal:
            return refusal.reason == "UNAUTHENTICATED"
        return False

    until(gone, "the revoked token is refused")
    assert rig.ask("StampCard", rig.token("buyer", "u1")).caller == "buyer:u1"


def test_the_same_key_by_the_same_caller_is_the_same_cause_and_another_body_is_told(rig):
    token = rig.token()
    first = rig.ask("WriteCard", token, key="k1", text="a").card
    assert rig.ask("WriteCard", token, key="k1", text="a").card == first
    with refused("IDEMPOTENCY_KEY_REUSED"):
        rig.ask("WriteCard", token, key="k1", text="b")
    assert rig.ask("WriteCard", rig.token(subject="acc_2"), key="k1", text="b").card != first
    stamped = rig.ask("StampCard", rig.token("buyer", "u1"), key="k1")
    expected = hashlib.sha256(b"buyer:u1\x1fdesk.StampCard\x1fk1").hexdigest()
    assert stamped.cause_id == f"cmd:{expected}"


def test_without_a_key_every_call_is_a_command_of_its_own(rig):
    token = rig.token("buyer", "u1")
    stub = rig.stub(token)
    method = desk.methods_by_name()["StampCard"]
    with grpc.insecure_channel(rig.address) as channel:
        ask = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
        metadata = (("authorization", f"Bearer {token}"),)
        causes = {ask(method.request(), metadata=metadata).cause_id for _ in range(3)}
    stub.close()
    assert len(causes) == 3


@pytest.mark.parametrize(
    ("how", "reason", "retry"),
    [("refusal", "BROADCAST_QUOTA_EXHAUSTED", 7), ("database", "UNAVAILABLE", 1), ("value", "INVALID_ARGUMENT", None)],
)
def test_what_a_method_raises_arrives_as_the_refusal_it_means(rig, how, reason, retry):
    with refused(reason) as caught:
        rig.ask("BreakCard", how=how)
    assert caught.value.retry_after_s == retry
    if how == "refusal":
        assert caught.value.message == "no more today"
        assert caught.value.info == {"reset_at": "2026-01-06T00:00:00+08:00"}
        assert [found.field for found in caught.value.violations] == ["cards[0]"]
    if how == "value":
        assert [found.field for found in caught.value.violations] == ["lines[0].price"]


def test_a_bug_tells_its_trace_and_nothing_else(rig):
    with capture_logs() as logged, refused("INTERNAL") as caught:
        rig.ask("BreakCard", how="bug")
    assert "secret" not in str(caught.value)
    assert len(caught.value.info["trace_id"]) == 32
    told = [entry for entry in logged if entry["event"] == "a call failed"]
    assert [(entry["log_level"], type(entry["exc_info"])) for entry in told] == [("error", ZeroDivisionError)]


def test_a_request_that_is_no_message_is_refused(rig):
    method = desk.methods_by_name()["GetCard"]
    with grpc.insecure_channel(rig.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method.path)(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_sandbox_doors_are_not_there_outside_a_sandbox(settings):
    servers = started(settings)
    assert Rig(settings, servers).ask("OpenDoor").open
    servers.stop(1)
    sober = settings.model_copy(update={"sandbox": False})
    servers = started(sober)
    with refused("NOT_FOUND"):
        Rig(sober, servers).ask("OpenDoor")
    servers.stop(1)


def test_what_is_left_of_the_deadline_reaches_the_method(rig):
    stamped = rig.ask("StampCard", rig.token("buyer", "u1"), timeout_s=2.0)
    assert 0 < stamped.remaining_ms < 2100  # the wire carries deadlines in coarse steps


def test_a_caller_without_a_deadline_is_given_the_default(rig):
    method = desk.methods_by_name()["StampCard"]
    with grpc.insecure_channel(rig.address) as channel:
        ask = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
        stamped = ask(method.request(), metadata=(("authorization", f"Bearer {rig.token('buyer', 'u1')}"),))
    assert 0 < stamped.remaining_ms <= rig.settings.rpc_timeout_s * 1000


def test_a_call_that_waited_past_its_deadline_is_not_begun(settings):
    servers = started(settings.model_copy(update={"rpc_threads": 1}))
    rig, newest = Rig(settings, servers), desk.running[-1]
    token = rig.token("buyer", "u1")
    slow = threading.Thread(target=lambda: rig.ask("StampCard", token, wait_ms=1500))
    slow.start()
    until(lambda: newest.stamped == 1, "the first call holds the only thread")
    with refused("DEADLINE_EXCEEDED"):
        rig.ask("StampCard", token, timeout_s=0.3)
    slow.join()
    assert rig.ask("StampCard", token).caller == "buyer:u1"
    assert newest.stamped == 2
    servers.stop(1)


def test_a_message_above_the_limit_is_refused(rig):
    with refused("TOO_LARGE"):
        rig.ask("WriteCard", rig.token(), text="x" * (MAX_MESSAGE + 1))
    method = desk.methods_by_name()["WriteCard"]
    with grpc.insecure_channel(rig.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method.path)(b"x" * (MAX_MESSAGE + 1))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def health_of(address: str):
    with grpc.insecure_channel(address) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2).status


def test_with_the_database_away_calls_are_refused_at_once_and_all_recovers_by_itself(settings, tmp_path):
    database = SecantusServer(tmp_path / "own")
    database.start()
    servers = started(settings.model_copy(update={"mongo_uri": database.uri, "embedded": True}))
    rig = Rig(settings, servers)
    try:
        written = rig.ask("WriteCard", rig.token(), text="kept").card
        assert health_of(rig.address) == health_pb2.HealthCheckResponse.SERVING
        database.kill()
        until(lambda: not servers.ready, "the server notices")
        assert health_of(rig.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        began = time.monotonic()
        with refused("UNAVAILABLE"):
            rig.ask("GetCard", card_id=written.card_id)
        assert time.monotonic() - began < 5, "it did not wait for the database"
        database.start()
        until(lambda: servers.ready, "the server recovers")
        assert rig.ask("GetCard", card_id=written.card_id).card == written
        assert health_of(rig.address) == health_pb2.HealthCheckResponse.SERVING
    finally:
        servers.stop(1)
        database.stop()


def test_a_call_that_comes_before_the_first_look_at_the_database_is_asked_again(settings, monkeypatch):
    """The indexes are there and what was revoked is not read yet: the service starts, it does not lack its data."""
    looking, go_on, read = threading.Event(), threading.Event(), revocations.read

    def slowly(database):
        looking.set()
        go_on.wait(60)
        return read(database)

    def asked_again():
        return sum(one.value for family in metrics.CALL_RETRIES.collect() for one in family.samples)

    monkeypatch.setattr("services.chassis.rpc.node.revocations.read", slowly)
    servers = rpc.start([desk.service()], settings)
    try:
        assert looking.wait(60)
        before = asked_again()
        with ThreadPoolExecutor(1) as caller:
            call = caller.submit(Rig(settings, servers).ask, "GetCard", card_id="1")
            until(lambda: asked_again() > before or call.done(), "the call is asked again")
            go_on.set()
            with refused("NOT_FOUND"):
                call.result()
    finally:
        go_on.set()
        servers.stop(1)


def test_a_server_starts_before_its_database(settings, tmp_path):
    database = SecantusServer(tmp_path / "own")
    servers = rpc.start([desk.service()], settings.model_copy(update={"mongo_uri": database.uri, "embedded": True}))
    try:
        address = servers.servers["desk"].address
        until(lambda: health_of(address) == health_pb2.HealthCheckResponse.NOT_SERVING, "it answers")
        database.start()
        until(lambda: health_of(address) == health_pb2.HealthCheckResponse.SERVING, "it serves")
        indexes = servers.servers["desk"].node.database["cards"].index_information()
        assert any(index.get("unique") and index["key"] == [("created_by", 1)] for index in indexes.values())
    finally:
        servers.stop(1)
        database.stop()


def test_stopping_lets_running_calls_finish_and_takes_no_new_ones(settings):
    servers = started(settings)
    rig, newest = Rig(settings, servers), desk.running[-1]
    token, answers = rig.token("buyer", "u1"), []
    running = threading.Thread(target=lambda: answers.append(rig.ask("StampCard", token, wait_ms=700)))
    running.start()
    until(lambda: newest.stamped == 1, "the call runs")
    servers.stop(5)
    running.join()
    assert [answer.caller for answer in answers] == ["buyer:u1"]
    with refused("UNAVAILABLE"):
        rig.ask("StampCard", token, timeout_s=0.5)


def test_a_process_ends_in_order_on_sigterm(memory_world):
    port = free_port()
    code = (
        "from services.chassis import rpc; from services.chassis.settings import settings;"
        "from tests.unit.chassis_rpc import desk; rpc.serve([desk.service()], settings())"
    )
    environment = {**os.environ, **memory_world.environment, "JISHI_LISTEN": f'{{"desk": "127.0.0.1:{port}"}}'}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=desk.ROOT) as process:

        def serving() -> bool:
            try:
                return health_of(f"127.0.0.1:{port}") == health_pb2.HealthCheckResponse.SERVING
            except grpc.RpcError:
                return False

        until(serving, "the process serves")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_two_servers_do_not_share_a_port(rig):
    taken = rig.settings.model_copy(update={"listen": {"desk": rig.address}})
    with pytest.raises(RuntimeError):
        rpc.start([desk.service()], taken)


def test_reflection_names_the_service(rig):
    with grpc.insecure_channel(rig.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        found = next(iter(stub.ServerReflectionInfo(iter([request]))))
    names = {service.name for service in found.list_services_response.service}
    assert {"jishi.desk.v1.DeskService", "grpc.health.v1.Health"} <= names


def test_clock_of_tokens_does_not_move_with_the_sandbox(rig):
    token = rig.token("buyer", "u1", lifetime_s=60)
    clock.see(60 * 86_400_000)
    try:
        assert rig.ask("StampCard", token).caller == "buyer:u1"
    finally:
        clock.reset()
