"""Calls from an asyncio process (the gateway): one channel a service, the same retries and refusals as between services."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from services.chassis import clock, metrics
from services.chassis.rpc.call import REPLAYED
from services.chassis.rpc.client import OPTIONS, check_size, pauses, target
from services.chassis.rpc.contracts import Method
from services.chassis.rpc.status import from_error

Metadata = tuple[tuple[str, str], ...]
HEALTH: Final = "/grpc.health.v1.Health/Check"


class Backend:
    """One service, as the gateway reaches it."""

    def __init__(self, addresses: str) -> None:
        """Opens its channel; made inside the running event loop."""
        self._channel = grpc.aio.insecure_channel(target(addresses), options=OPTIONS)
        self._calls: dict[str, Any] = {}
        self._health = self._channel.unary_unary(
            HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def ask(self, method: Method, request: Message, metadata: Metadata, timeout_s: float) -> tuple[Message, bool]:
        """The response, and whether it answers a command done before. A line that is down is tried again.

        Writes must carry an idempotency key in ``metadata``. Raises the Refusal of the other side, UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        check_size(request)
        ask = self._calls.get(method.path) or self._unary(method)
        until = clock.monotonic() + timeout_s
        pause = None
        while True:
            call = ask(request, timeout=until - clock.monotonic(), metadata=metadata)
            try:
                response = await call
                return response, not method.reads and _replayed(await call.trailing_metadata())
            except grpc.RpcError as error:
                refusal, again = from_error(error, method.name)
                pause = pause or pauses(until - clock.monotonic())
                wait = pause.next() if again else None
                if wait is None:
                    raise refusal from None
            metrics.CALL_RETRIES.labels(method.name).inc()
            await asyncio.sleep(wait)

    async def send(
        self, method: Method, requests: AsyncIterator[Message], metadata: Metadata, timeout_s: float
    ) -> tuple[Message, bool]:
        """The same for a stream of requests, which is not tried again: it can be read only once."""
        call = self._stream(method)(requests, timeout=timeout_s, metadata=metadata)
        try:
            response = await call
            return response, _replayed(await call.trailing_metadata())
        except grpc.RpcError as error:
            raise from_error(error, method.name)[0] from None

    async def serving(self, timeout_s: float) -> bool:
        """Whether the service says that it is SERVING."""
        try:
            answer = await self._health(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()

    def _unary(self, method: Method) -> Any:
        found = self._calls[method.path] = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return found

    def _stream(self, method: Method) -> Any:
        return self._channel.stream_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )


def _replayed(metadata: Any) -> bool:
    return any(key == REPLAYED for key, _ in metadata or ())
