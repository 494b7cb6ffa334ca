"""HTTP in, gRPC out: one HTTP call is one rpc. The hot path of the house, so what can be known before is known before."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

import orjson
from google.protobuf.message import Message

from services.chassis import clock, codec, metrics, tracing
from services.chassis.errors import Refusal, invalid
from services.chassis.rpc.aio import Backend
from services.chassis.rpc.call import AUTHORIZATION, IDEMPOTENCY_KEY, TRACEPARENT
from services.chassis.rpc.contracts import DOWNLOAD, IMMUTABLE
from services.chassis.rpc.status import from_exception
from services.gateway import downloads, requests, uploads
from services.gateway.problems import Headers, problem
from services.gateway.requests import Receive, Scope, Send
from services.gateway.routes import Route
from services.gateway.views import Views

Answer = tuple[int, Headers, bytes]
UPLOAD_TIMEOUT_S: Final = 300.0
SANDBOX_TIMEOUT_S: Final = 120.0
"""Sandbox doors wait until the whole stack is quiet."""
JSON_TYPE: Final = (b"content-type", b"application/json")
PRIVATE: Final = (b"cache-control", b"no-store")
FOREVER: Final = (b"cache-control", b"public, max-age=31536000, immutable")
INERT: Final = ((b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"default-src 'none'; sandbox"))
"""What strangers uploaded is shown as what it is said to be, and runs nothing."""
REVALIDATE: Final = (b"cache-control", b"no-cache")
VARY: Final = (b"vary", b"authorization")
REPLAYED: Final = (b"idempotency-replayed", b"true")
_JSON_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class Door:
    """Answers one route."""

    def __init__(
        self, route: Route, backends: Mapping[str, Backend], timeout_s: float, views: Views | None = None
    ) -> None:
        """Know everything about the route that no request changes. ``views`` hear of what is looked at."""
        self._route, self._method, self._backends = route, route.method, backends
        rule = route.method.rule
        self._status = rule.success_status or 200
        self._timeout_s = SANDBOX_TIMEOUT_S if rule.sandbox else timeout_s
        forms = {
            "": self._plain,
            "raw": self._raw,
            "upload": self._upload,
            DOWNLOAD: self._plain,
            IMMUTABLE: self._immutable,
        }
        self._answer = forms[rule.body]
        self._is_file = rule.body == DOWNLOAD
        self._cacheable = route.verb == "GET" and route.method.public and not rule.no_store
        self._views, self._view = views, rule.view
        self._has_body = route.verb != "GET"
        label = f"{route.verb} {route.template}"
        self._label = label
        self._seconds = metrics.HTTP_SECONDS.labels(label).observe
        self._fine = metrics.HTTP_ANSWERS.labels(label, str(self._status)).inc

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        """Answer one request whose path gave the parameters ``path``."""
        began = clock.monotonic()
        with tracing.span(self._label, parent=requests.header(scope, b"traceparent"), kind="server") as span:
            file: downloads.Download | None = None
            try:
                if self._is_file:
                    file = await self._download(scope, path, span.traceparent)
                    status, headers, body = self._status, file.headers, b""
                else:
                    status, headers, body = await self._answer(scope, receive, path, span.traceparent)
            except Exception as error:  # noqa: BLE001 - every failure is answered in the same form
                status, headers, body = problem(from_exception(error), span.trace_id)
            headers.append((b"traceparent", span.traceparent.encode()))
            if file is None:
                await respond(send, status, headers, body)
            else:
                await file.send(status, scope["method"], receive, send)
        self._seconds(clock.monotonic() - began)
        if status == self._status:
            self._fine()
        else:
            metrics.HTTP_ANSWERS.labels(self._label, str(status)).inc()

    async def _plain(self, scope: Scope, receive: Receive, path: list[str], traceparent: str) -> Answer:
        query = requests.query_of(scope)
        values: dict[str, Any] = {}
        if self._has_body:
            body = await requests.body_of(scope, receive, requests.BODY_LIMIT)
            values = requests.body_values(requests.header(scope, b"content-type"), body)
        requests.add_parameters(self._route, values, query, path)
        request = requests.message_of(self._route, values)
        metadata = self._metadata(scope, requests.authorization(scope, query), traceparent)
        response, replayed = await self._backend.ask(self._method, request, metadata, self._timeout_s)
        if self._view and self._views is not None and scope["method"] == "GET":
            self._views.note(self._view, request, response, requests.authorization(scope, query))
        return self._json(scope, response, replayed)

    async def _raw(self, scope: Scope, receive: Receive, path: list[str], traceparent: str) -> Answer:
        """A stranger's notification: handed over as it came, answered with what the service says."""
        query = requests.query_of(scope)
        values = requests.raw_values(scope, await requests.body_of(scope, receive, requests.RAW_LIMIT))
        requests.add_parameters(self._route, values, query, path)
        shown = requests.authorization(scope, query)
        own = shown if shown.lower().startswith("bearer ") else ""
        metadata = self._metadata(scope, own, traceparent)
        request = requests.message_of(self._route, values)
        answer: Any = (await self._backend.ask(self._method, request, metadata, self._timeout_s))[0]
        return (
            answer.status or 200,
            [(b"content-type", answer.content_type.encode() or b"application/json")],
            answer.body,
        )

    async def _immutable(self, scope: Scope, _receive: Receive, path: list[str], traceparent: str) -> Answer:
        """Bytes that a path answers for ever. Whoever names their tag is told so without asking the service; ``*`` names none."""
        query = requests.query_of(scope)
        values: dict[str, Any] = {}
        requests.add_parameters(self._route, values, query, path)
        request = requests.message_of(self._route, values)
        asked = request.SerializeToString(deterministic=True)
        tag = b'"' + hashlib.blake2b(asked, digest_size=12).hexdigest().encode() + b'"'
        if requests.has_already(scope, tag.decode(), anything=False):
            return 304, [(b"etag", tag), FOREVER], b""
        metadata = self._metadata(scope, requests.authorization(scope, query), traceparent)
        answer: Any = (await self._backend.ask(self._method, request, metadata, self._timeout_s))[0]
        kind = (b"content-type", answer.content_type.encode() or b"application/octet-stream")
        return self._status, [kind, FOREVER, (b"etag", tag), *INERT], answer.data

    async def _upload(self, scope: Scope, receive: Receive, path: list[str], traceparent: str) -> Answer:
        metadata = self._metadata(scope, requests.authorization(scope, requests.query_of(scope)), traceparent)
        form = await uploads.form_of(self._route, scope, receive)
        try:
            messages = uploads.messages_of(self._route, scope, path, form)
            response, replayed = await self._backend.send(self._method, messages, metadata, UPLOAD_TIMEOUT_S)
        finally:
            await form.close()
        return self._json(scope, response, replayed)

    async def _download(self, scope: Scope, path: list[str], traceparent: str) -> downloads.Download:
        """A file, of which the first piece is here."""
        query = requests.query_of(scope)
        values: dict[str, Any] = {}
        requests.add_parameters(self._route, values, query, path)
        if downloads.PLACE in values:
            raise invalid(downloads.PLACE, "a file comes as a whole; leave it out")
        metadata = self._metadata(scope, requests.authorization(scope, query), traceparent)
        request: Any = requests.message_of(self._route, values)

        async def piece_at(place: str) -> Any:
            request.page_token = place
            return (await self._backend.ask(self._method, request, metadata, self._timeout_s))[0]

        return downloads.Download(await piece_at(""), piece_at)

    @property
    def _backend(self) -> Backend:
        return self._backends[self._method.service]

    def _metadata(self, scope: Scope, authorization: str, traceparent: str) -> tuple[tuple[str, str], ...]:
        found = [(TRACEPARENT, traceparent)]
        if authorization:
            if not (authorization.isascii() and authorization.isprintable()):
                raise Refusal("UNAUTHENTICATED", "the access token is not one of ours")
            found.append((AUTHORIZATION, authorization))
        if not self._method.reads:
            found.append((IDEMPOTENCY_KEY, requests.idempotency_key(scope) or secrets.token_hex(16)))
        return tuple(found)

    def _json(self, scope: Scope, response: Message, replayed: bool) -> Answer:
        body = orjson.dumps(codec.to_plain(response), default=_base64, option=_JSON_OPTIONS)
        if self._cacheable:
            tag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
            if requests.has_already(scope, tag.decode()):
                return 304, [(b"etag", tag), REVALIDATE, VARY], b""
            return self._status, [JSON_TYPE, REVALIDATE, VARY, (b"etag", tag)], body
        headers = [JSON_TYPE, PRIVATE]
        if replayed:
            headers.append(REPLAYED)
        return self._status, headers, body


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send one whole answer."""
    if status not in (204, 304):
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if status != 204 else b""})


def _base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
