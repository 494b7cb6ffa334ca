"""Calling other services: one channel a service, deadlines passed on, refusals raised again as they were."""

import hashlib
import ipaddress
import random
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from services.chassis import clock, ids, metrics, tracing
from services.chassis.errors import Refusal
from services.chassis.rpc.call import ACTING_FOR, AUTHORIZATION, IDEMPOTENCY_KEY, TRACEPARENT, Call
from services.chassis.rpc.contracts import Method, methods_of
from services.chassis.rpc.status import from_error

R = TypeVar("R", bound=Message)
MAX_MESSAGE: Final = 4 * 2**20
"""Bytes of one message either way."""
RETRY_FOR_S: Final = 5.0
"""How long a line that is down is tried again, where the deadline allows it: a killed server is back by then."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 0.5
SERVICE_CONFIG: Final = '{"loadBalancingConfig": [{"round_robin": {}}]}'
OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)


def target(addresses: str) -> str:
    """``host:port``, or several ``ip:port`` (comma separated), as a gRPC target over which calls are spread in turn.

    Raises ValueError for several names: let one DNS name have several addresses instead.
    """
    found = [address.strip().replace("localhost:", "127.0.0.1:") for address in addresses.split(",") if address.strip()]
    hosts = [address.rpartition(":")[0].strip("[]") for address in found]
    versions = {_ip_version(host) for host in hosts}
    if len(versions) == 1 and versions <= {4, 6}:
        return f"ipv{versions.pop()}:{','.join(found)}"
    if len(found) != 1:
        raise ValueError(f"{addresses!r}: several addresses must all be IPv4 or all IPv6; give one DNS name, or IPs")
    return f"dns:///{found[0]}"


def _ip_version(host: str) -> int:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def pauses(timeout_s: float) -> "Pauses":
    """The pauses between tries of a call that has ``timeout_s`` left."""
    return Pauses(min(RETRY_FOR_S, timeout_s))


class Pauses:
    """Growing, jittered pauses until the time for trying again is over."""

    def __init__(self, for_s: float) -> None:
        """Begin now."""
        self._until = clock.monotonic() + for_s
        self._next = FIRST_PAUSE_S

    def next(self) -> float | None:
        """Seconds to wait before the next try; None when it is time to give up."""
        pause = self._next * random.uniform(0.5, 1)  # noqa: S311 - spreads callers
        self._next = min(self._next * 2, LONGEST_PAUSE_S)
        return pause if clock.monotonic() + pause < self._until else None


def check_size(request: Message) -> None:
    """Raise Refusal TOO_LARGE for a message that would not be taken."""
    if request.ByteSize() > MAX_MESSAGE:
        raise Refusal(
            "TOO_LARGE",
            f"a request may take {MAX_MESSAGE} bytes; send less at once",
            info={"limit_bytes": str(MAX_MESSAGE)},
        )


def derived_key(call: Call, name: str, part: str) -> str:
    """The idempotency key of a call made because of another: the same for every retry of that one."""
    return hashlib.sha256(f"{call.cause.id}\x1f{name}\x1f{part}".encode()).hexdigest()


class Stub:
    """Calls the rpcs of one service.

    ``credentials()`` answers the token to show (the calling service's own). Every write carries an idempotency key, so both reads and
    writes are tried again when the line is down; an answer of the other side, refusal or not, is final.
    """

    def __init__(
        self,
        addresses: str,
        credentials: Callable[[], str],
        methods: Callable[[], Mapping[str, Method]],
        *,
        timeout_s: float,
    ) -> None:
        """Opens no connection yet. ``methods()``: the rpcs by name, asked for at the first call."""
        self._methods, self._credentials, self._timeout_s = methods, credentials, timeout_s
        self._target = target(addresses)
        self._channel: grpc.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        request: Message,
        response: type[R],
        call: Call | None = None,
        *,
        part: str = "",
        key: str = "",
        timeout_s: float | None = None,
    ) -> R:
        """Ask rpc ``name``. ``call``: the call on whose behalf (its deadline, actor and cause are passed on).

        ``part`` tells several calls of the same rpc by one command apart; ``key`` is the idempotency key where there is no ``call``.
        Raises the Refusal that the other side raised, UNAVAILABLE when it cannot be reached, DEADLINE_EXCEEDED.
        """
        method = self._methods()[name]
        if method.response is not response:
            raise TypeError(f"{method.name} answers with {method.response.DESCRIPTOR.full_name}")
        left = timeout_s or self._timeout_s
        until = clock.monotonic() + (left if call is None else min(left, call.remaining()))
        with tracing.span(method.name, kind="client") as span:
            metadata = self._metadata(method, call, part, key, span.traceparent)
            answer: R = self._tried(method, request, metadata, until)
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            self._channel.close()

    def _metadata(
        self, method: Method, call: Call | None, part: str, key: str, traceparent: str
    ) -> tuple[tuple[str, str], ...]:
        found = {AUTHORIZATION: f"Bearer {self._credentials()}", TRACEPARENT: traceparent}
        if not found[AUTHORIZATION].removeprefix("Bearer "):
            del found[AUTHORIZATION]
        if call is not None and call.actor_token:
            found[ACTING_FOR] = call.actor_token
        if not method.reads:
            found[IDEMPOTENCY_KEY] = key or (derived_key(call, method.name, part) if call else ids.secret())
        return tuple(found.items())

    def _tried(self, method: Method, request: Message, metadata: Any, until: float) -> Any:
        check_size(request)
        ask = self._callable(method)
        pause = pauses(until - clock.monotonic())
        away: Refusal | None = None  # the line was found down: what is said when the time runs out looking for it again
        while True:
            left = until - clock.monotonic()
            if left <= 0:
                raise away or Refusal("DEADLINE_EXCEEDED", f"no time is left to ask {method.name}")
            try:
                return ask(request, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                refusal, again = from_error(error, method.name)
                wait = pause.next() if again else None
                if wait is None:
                    raise (away if away and refusal.reason == "DEADLINE_EXCEEDED" else refusal) from None
                away = refusal
            metrics.CALL_RETRIES.labels(method.name).inc()
            threading.Event().wait(wait)

    def _callable(self, method: Method) -> Any:
        found = self._calls.get(method.path)
        if found is None:
            with self._lock:
                if self._channel is None:
                    self._channel = grpc.insecure_channel(self._target, options=OPTIONS)
                found = self._calls[method.path] = self._channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
        return found


def connect(service: str, addresses: str, token: str = "", *, timeout_s: float = 10.0) -> Stub:
    """A stub that shows ``token``: for tests, tools and a person who tries an rpc by hand."""
    return Stub(addresses, lambda: token, partial(methods_of, service), timeout_s=timeout_s)
