"""The gateway: the rpcs' HTTP doors in front, a FastAPI application behind them for everything that is no rpc."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from services.chassis import tracing
from services.chassis.errors import Refusal
from services.chassis.rpc import Method, methods_of
from services.chassis.rpc.aio import Backend
from services.chassis.rpc.status import from_exception
from services.chassis.settings import SERVICES, Settings
from services.chassis.tokens import Signer
from services.gateway.facade import Facade
from services.gateway.openapi import document
from services.gateway.problems import problem
from services.gateway.requests import Receive, Scope, Send
from services.gateway.routes import Table, routes_of
from services.gateway.transcoding import Door, respond
from services.gateway.views import RECORDER, Views

GATEWAY: Final = "gateway"
"""Whose key signs what the gateway itself asks for."""
HEALTH_TIMEOUT_S: Final = 2.0
_BY_STATUS: Final = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


class Gateway:
    """The ASGI application. Rpcs are answered before FastAPI's routing and middleware, which would cost more than they do."""

    def __init__(self, settings: Settings, methods: Collection[Method], services: Iterable[str] = SERVICES) -> None:
        """``services`` are those that ``/healthz`` asks. Raises ValueError where two rpcs want the same door."""
        self._settings, self._services = settings, tuple(services)
        self.backends: dict[str, Backend] = {}
        self._routes = routes_of(methods)
        self._table = Table(self._routes)
        timeout_s = settings.rpc_timeout_s
        self._views = _views_of(settings, methods, self.backends)
        self._doors = {route: Door(route, self.backends, timeout_s, self._views) for route in self._routes}
        self._openapi = b""
        self.web = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=self._lifespan)
        """Pages and other APIs join here."""
        self.web.add_api_route("/healthz", self._healthz, methods=["GET"])
        self.web.add_api_route("/openapi.json", self._describe, methods=["GET"])
        self.web.add_exception_handler(HTTPException, _http_error)
        self.web.add_exception_handler(Refusal, _refused)
        self.web.add_exception_handler(Exception, _refused)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the rpc whose door this is; else by FastAPI."""
        if scope["type"] != "http":
            await self.web(scope, receive, send)
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        found = self._table.find(raw.partition(b"?")[0].decode("latin-1"))
        if found is None:
            await self.web(scope, receive, send)
            return
        routes, path = found
        verb = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = routes.get(verb)
        if route is None:
            await _wrong_verb(send, sorted(routes))
            return
        await self._doors[route](scope, receive, send, path)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        wanted = {*self._services, *(route.method.service for route in self._routes)}
        self.backends.update({name: Backend(self._settings.rpc_addresses(name)) for name in sorted(wanted)})
        if self._views is not None:
            self._views.start()
        yield
        if self._views is not None:
            await self._views.stop()
        await asyncio.gather(*(backend.close() for backend in self.backends.values()))

    async def _healthz(self) -> Response:
        """200 when every service is SERVING, else 503 naming those that are not."""
        asked = [self.backends[name].serving(HEALTH_TIMEOUT_S) for name in self._services]
        found = dict(zip(self._services, await asyncio.gather(*asked), strict=True))
        missing = [name for name, fine in found.items() if not fine]
        said: dict[str, Any] = {"status": "unavailable" if missing else "ok", "not_serving": missing}
        return Response(orjson.dumps(said), status_code=503 if missing else 200, media_type="application/json")

    async def _describe(self) -> Response:
        """The OpenAPI 3.1 document, made at the first request."""
        if not self._openapi:
            self._openapi = orjson.dumps(document(self._routes, self._settings.base_url))
        return Response(self._openapi, media_type="application/json")


def create(settings: Settings) -> Gateway:
    """The gateway of every rpc that the generated protos declare, and of the facade of the 2014 shop API."""
    gateway = Gateway(settings, [method for service in SERVICES for method in methods_of(service).values()])
    Facade(settings, gateway.backends).join(gateway.web)
    return gateway


def _views_of(settings: Settings, methods: Iterable[Method], backends: Mapping[str, Backend]) -> Views | None:
    """What counts views, where a service takes them; told with a token that the gateway signs as itself."""
    recorder = next((method for method in methods if method.name == RECORDER), None)
    return Views(recorder, backends, Signer(settings, GATEWAY).own) if recorder is not None else None


async def _wrong_verb(send: Send, allowed: list[str]) -> None:
    with tracing.span("wrong verb", kind="server") as span:
        refusal = Refusal("METHOD_NOT_ALLOWED", f"this path answers {', '.join(allowed)}")
        status, headers, body = problem(refusal, span.trace_id)
    await respond(send, status, [*headers, (b"allow", ", ".join(allowed).encode())], body)


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths, wrong verbs."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    reason = _BY_STATUS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    text = (
        f"nothing is at {request.url.path}; GET /openapi.json lists what there is"
        if status == 404
        else f"{request.method} {request.url.path}: {error}"
    )
    return _answer(Refusal(reason, text))


async def _refused(_request: Request, error: Exception) -> Response:
    return _answer(from_exception(error))


def _answer(refusal: Refusal) -> Response:
    with tracing.span("refused", kind="server") as span:
        status, headers, body = problem(refusal, span.trace_id)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
