"""The services of the house, as one call of the facade sees them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from services.chassis import backoff, codec
from services.chassis.errors import Refusal
from services.chassis.rpc import Method, methods_of
from services.chassis.rpc.aio import Backend
from services.chassis.rpc.call import AUTHORIZATION, IDEMPOTENCY_KEY, TRACEPARENT
from services.gateway.facade.answers import Declined, Paths, declined
from services.gateway.facade.categories import Attributes

CATALOG: Final = "catalog"
ACCOUNTS: Final = "accounts"
ORDERS: Final = "orders"
PAGE: Final = 200
"""The most that a page of the house holds."""
ATTEMPTS: Final = 8
PAUSE_FIRST_MS: Final = 20
PAUSE_MOST_MS: Final = 500


class Desk:
    """Asks rpcs with the caller's token. Writes get a random key: what is asked again over a broken line counts once."""

    def __init__(self, backends: Mapping[str, Backend], authorization: str, traceparent: str, timeout_s: float) -> None:
        """``authorization``: as gRPC metadata carries it; empty for anybody."""
        self._backends, self._timeout_s = backends, timeout_s
        self._metadata: tuple[tuple[str, str], ...] = ((TRACEPARENT, traceparent),)
        if authorization:
            self._metadata = (*self._metadata, (AUTHORIZATION, authorization))
        self._categories: dict[int, Attributes] = {}

    async def ask(
        self, rpc: str, values: Mapping[str, Any], names: Paths = (), *, service: str = CATALOG
    ) -> dict[str, Any]:
        """The response as plain values. ``names``: how the old API calls the fields. Raises Declined."""
        method = methods_of(service)[rpc]
        try:
            request = codec.from_json(method.request, values)
            response, _ = await self._backends[service].ask(method, request, self._keyed(method), self._timeout_s)
        except Refusal as refusal:
            raise declined(refusal, names) from refusal
        return codec.to_plain(response)

    async def send(self, rpc: str, messages: AsyncIterator[Message], timeout_s: float) -> dict[str, Any]:
        """The same for an rpc that takes a file in pieces."""
        method = methods_of(CATALOG)[rpc]
        try:
            response, _ = await self._backends[CATALOG].send(method, messages, self._keyed(method), timeout_s)
        except Refusal as refusal:
            raise declined(refusal) from refusal
        return codec.to_plain(response)

    async def pages(
        self, rpc: str, key: str, values: Mapping[str, Any], *, service: str = CATALOG
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Every page of a list: ``key`` is its field in the response. Raises Declined, after a page was asked for again some times."""
        token, more = "", True
        while more:
            page = await self._patiently(rpc, {**values, "page_token": token}, service)
            yield page[key]
            token = page.get("next_page_token", "")
            more = bool(token)

    async def _patiently(self, rpc: str, values: Mapping[str, Any], service: str) -> dict[str, Any]:
        """A question that is asked again while the service is away for a moment. Raises Declined."""
        async for number in attempts():
            try:
                return await self.ask(rpc, values, service=service)
            except Declined as refusal:
                if refusal.reason != "UNAVAILABLE" or number == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt answers or raises")

    async def all(self, rpc: str, key: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A list that the house keeps short, whole."""
        return [row async for page in self.pages(rpc, key, values) for row in page]

    async def category(self, identity: int) -> "Attributes":
        """What a category offers; asked once a call."""
        if identity not in self._categories:
            found = (await self.ask("GetCategory", {"category_id": identity}))["category"]
            self._categories[identity] = Attributes(found)
        return self._categories[identity]

    def _keyed(self, method: Method) -> tuple[tuple[str, str], ...]:
        return self._metadata if method.reads else (*self._metadata, (IDEMPOTENCY_KEY, secrets.token_hex(16)))


async def attempts() -> AsyncIterator[int]:
    """So often a change is made anew on what somebody else changed meanwhile (from 0); who met once does not come back together."""
    for number in range(ATTEMPTS):
        if number:
            await asyncio.sleep(backoff.exponential(number, PAUSE_FIRST_MS, PAUSE_MOST_MS) / 1000)
        yield number
