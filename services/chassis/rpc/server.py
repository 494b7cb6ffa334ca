"""gRPC servers: one for each service with its own threads and port, so that no service waits for a thread that waits for it."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol
from wsgiref.simple_server import WSGIServer

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis import clock, jwks, metrics, mongo, signals, tracing
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Client, Collection
from services.chassis.rpc import stages, status
from services.chassis.rpc.call import TRACEPARENT, Call
from services.chassis.rpc.client import MAX_MESSAGE
from services.chassis.rpc.contracts import Method, method
from services.chassis.rpc.node import Node
from services.chassis.settings import Settings

WAITING_PER_THREAD: Final = 32
"""Calls that may wait for each thread before more are refused as UNAVAILABLE."""
DRAIN_S: Final = 15.0
SLOW_S: Final = 2.0
"""A call that takes longer is worth a line in the log."""
OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, to be told at once
    ("grpc.max_connection_age_ms", 300_000),  # clients look the name up again and find new copies
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)
_SERVING: Final = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}
_log = get(__name__)


class Beside(Protocol):
    """Work of a server process that no call asks for."""

    def start(self) -> None:
        """Begin; does not wait for the database."""

    def stop(self) -> None:
        """End after what is at hand."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its ``server.py`` declares it: name, proto service, the class that answers, its collections.

    The class is made with a ``Node`` and has a method for each rpc, by the rpc's name: ``(call, request) -> response``. If it has one named
    ``written``, that is told each call that wrote, before it is answered.
    """

    name: str
    descriptor: ServiceDescriptor
    implementation: Callable[[Node], Any]
    collections: tuple[Collection, ...] = ()
    beside: Callable[[Node], "Beside"] | None = None
    """What runs in the process beside the rpcs."""


class OversizeError(Exception):
    """A method answered more than one message may take: a bug."""


class Server:
    """One service, listening."""

    def __init__(self, service: Service, settings: Settings, client: Client) -> None:
        """Build the server; ``start`` begins to answer. Raises RuntimeError when its address is taken."""
        self.name = service.name
        self.node = Node(service.name, settings, client, service.collections)
        self._pool = ThreadPoolExecutor(settings.rpc_threads, thread_name_prefix=service.name)
        self._server = grpc.server(
            self._pool, options=OPTIONS, maximum_concurrent_rpcs=settings.rpc_threads * WAITING_PER_THREAD
        )
        self._health = health.HealthServicer()
        self._names = ("", service.descriptor.full_name)
        self._tell(False)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((_handlers(service, self.node),))
        reflection.enable_server_reflection(
            (service.descriptor.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        host = settings.listen_address(service.name).rpartition(":")[0]
        self._beside = service.beside(self.node) if service.beside is not None else None
        self.address = f"{host}:{self._server.add_insecure_port(settings.listen_address(service.name))}"

    def start(self) -> None:
        """Begin to answer; SERVING as soon as the database does."""
        self._server.start()
        self.node.watch(self._tell)
        if self._beside is not None:
            self._beside.start()
        _log.info("listening", name=self.name, address=self.address)

    def retire(self) -> None:
        """NOT_SERVING from now on; calls are still answered."""
        self._health.enter_graceful_shutdown()

    def drain(self, grace_s: float) -> None:
        """Take no new calls and wait for those that run; after ``grace_s`` they are cut off."""
        self._server.stop(grace_s).wait()

    def close(self) -> None:
        """After ``drain``: let go of threads and connections."""
        if self._beside is not None:
            self._beside.stop()
        self.node.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, fine: bool) -> None:
        for name in self._names:
            self._health.set(name, _SERVING[fine])


class Servers:
    """All servers of this process."""

    def __init__(self, services: Iterable[Service], settings: Settings) -> None:
        """Build them on one database client."""
        declared = tuple(services)
        self._settings = settings
        self._doors: list[WSGIServer] = []
        self._client = mongo.connect(settings, pool=settings.rpc_threads * len(declared) + 8)
        self.servers = {service.name: Server(service, settings, self._client) for service in declared}

    @property
    def ready(self) -> bool:
        """Whether every service's database answers."""
        return all(server.node.ready for server in self.servers.values())

    def start(self) -> "Servers":
        """Begin to answer."""
        self._doors = [door for name in self.servers if (door := jwks.serve(self._settings, name)) is not None]
        for server in self.servers.values():
            server.start()
        return self

    def stop(self, grace_s: float = DRAIN_S) -> None:
        """Drain one after the other, those that call others before those they call (declared first), then close."""
        until = clock.monotonic() + grace_s
        for server in self.servers.values():
            server.retire()
        for server in reversed(self.servers.values()):
            server.drain(max(0.0, until - clock.monotonic()))
        for server in self.servers.values():
            server.close()
        for door in self._doors:  # to the end: others check by it the tokens of the calls that are being answered
            door.shutdown()
            door.server_close()
        self._client.close()


def start(services: Iterable[Service], settings: Settings) -> Servers:
    """The servers of ``services``, listening; the caller stops them."""
    return Servers(services, settings).start()


def serve(services: Iterable[Service], settings: Settings, stop: threading.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT (or until ``stop`` is set), then drain and return."""
    ended = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        signals.on_stop(ended.set)
    servers = Servers(services, settings)
    metrics.serve(settings, "server", ready=lambda: servers.ready)
    servers.start()
    ended.wait()
    _log.info("stopping")
    servers.stop()


def _handlers(service: Service, node: Node) -> grpc.GenericRpcHandler:
    implementation = service.implementation(node)
    written = getattr(implementation, "written", None)
    found = {}
    for descriptor in service.descriptor.methods:
        declared = method(service.name, descriptor)
        run = getattr(implementation, descriptor.name)
        answer = _answering(node, declared, run if declared.reads or written is None else _telling(run, written))
        make = grpc.stream_unary_rpc_method_handler if declared.streams else grpc.unary_unary_rpc_method_handler
        found[descriptor.name] = make(answer)
    return grpc.method_handlers_generic_handler(service.descriptor.full_name, found)


def _telling(run: Callable[[Call, Any], Message], written: Callable[[Call], None]) -> Callable[[Call, Any], Message]:
    def told(call: Call, request: Any) -> Message:
        response = run(call, request)
        written(call)
        return response

    return told


def _answering(
    node: Node, declared: Method, run: Callable[[Call, Any], Message]
) -> Callable[[Any, grpc.ServicerContext], bytes]:
    """What the library calls: trace and metrics around the stages around the service's method; bytes in, bytes out."""

    def last(call: Call) -> Message:
        return run(call, call.request)

    first = stages.compose(node, declared, last)
    timeout_s, name = node.settings.rpc_timeout_s, declared.name
    seconds = metrics.RPC_SECONDS.labels(name).observe
    fine, replays = metrics.RPC_ANSWERS.labels(name, "OK").inc, metrics.RPC_REPLAYS.labels(name).inc

    def answer(request: Any, context: grpc.ServicerContext) -> bytes:
        began = clock.monotonic()
        call = Call(declared, context, request, timeout_s)
        refusal: Refusal | None = None
        with tracing.span(name, parent=call.metadata.get(TRACEPARENT, ""), kind="server") as span:
            call.traceparent = span.traceparent
            try:
                response = first(call).SerializeToString()
                if len(response) > MAX_MESSAGE:
                    raise OversizeError(f"{name} answers with {len(response)} bytes; answer with pages")
            except Exception as error:  # noqa: BLE001 - every failure is answered in the same form
                refusal = status.from_exception(error)
        took = clock.monotonic() - began
        seconds(took)
        if took > SLOW_S:
            _log.warning("slow call", rpc=name, seconds=round(took, 3), trace_id=span.trace_id)
        if refusal is not None:
            metrics.RPC_ANSWERS.labels(name, refusal.reason).inc()
            status.abort(context, refusal)
        fine()
        if call.replayed:
            replays()
        return response

    return answer
