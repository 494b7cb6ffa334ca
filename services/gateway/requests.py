"""HTTP requests → request messages: path, query, JSON or form body; files and foreign notifications as they come."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from services.chassis import codec
from services.chassis.errors import Refusal, invalid
from services.gateway.routes import Route

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_LIMIT: Final = 4 * 2**20
"""Bytes of a JSON or form body: what one message between services may take."""
RAW_LIMIT: Final = 2**20
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105 - the name of a query parameter
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
KEY_LONGEST: Final = 255


def query_of(scope: Scope) -> list[tuple[str, str]]:
    """The query parameters in order."""
    raw: bytes = scope["query_string"]
    return parse_qsl(raw.decode("latin-1"), keep_blank_values=True) if raw else []


def header(scope: Scope, name: bytes) -> str:
    """A request header's value, "" without it. ``name`` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def has_already(scope: Scope, tag: str, *, anything: bool = True) -> bool:
    """Whether ``If-None-Match`` names the strong ``tag``, alone or in a list, maybe as the weak one that a proxy made of it (RFC 9110).

    ``anything``: ``*`` counts too; only for who knows that there is something.
    """
    known = {tag, "*"} if anything else {tag}
    asked = header(scope, b"if-none-match")
    return bool(asked) and any(each.strip().removeprefix("W/") in known for each in asked.split(","))


async def body_of(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Refusal TOO_LARGE as soon as it is known to pass ``limit`` bytes."""
    announced = header(scope, b"content-length")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        pieces, size = [body], len(body)
        while message.get("more_body") and size <= limit:
            message = await receive()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
        body = b"".join(pieces)
    if message["type"] == "http.disconnect":
        raise Refusal("UNREADABLE_BODY", "the body ended too early")
    if len(body) > limit:
        raise too_large(limit)
    return body


def too_large(limit: int) -> Refusal:
    """The body passes ``limit`` bytes."""
    return Refusal("TOO_LARGE", f"the body may take {limit} bytes", info={"limit_bytes": str(limit)})


def body_values(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields in a body. What begins with a brace is JSON whatever it is called. Raises UNREADABLE_BODY, UNSUPPORTED_MEDIA."""
    if not body:
        return {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON or not kind or kind.endswith("+json") or body.lstrip()[:1] == b"{":
        try:
            values = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refusal("UNREADABLE_BODY", f"the body is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise Refusal("UNREADABLE_BODY", "the body must be a JSON object")
        return values
    if kind == FORM:
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000, errors="strict"))
        except ValueError as error:
            raise Refusal("UNREADABLE_BODY", f"the form cannot be read: {error}") from error
    raise Refusal("UNSUPPORTED_MEDIA", f"send {JSON} or {FORM}, not {kind}")


def add_parameters(route: Route, values: dict[str, Any], query: list[tuple[str, str]], path: list[str]) -> None:
    """Put query and path parameters beside the body's ``values``. One that is a list in the message may come several times in the query.

    Raises Refusal INVALID_ARGUMENT for a name that comes from two places.
    """
    fields = route.method.request.DESCRIPTOR.fields_by_name
    asked: dict[str, Any] = {}
    for name, text in query:
        if name == TOKEN_PARAMETER and name not in fields:
            continue
        if name in fields and fields[name].is_repeated:
            asked.setdefault(name, []).append(text)
        else:
            _put(asked, name, text)
    for name, text in (*asked.items(), *zip(route.parameters, path, strict=True)):
        _put(values, name, text)


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    if name in values:
        raise invalid(name, "given more than once")
    values[name] = value


def message_of(route: Route, values: Mapping[str, Any]) -> Any:
    """The request message. Raises Refusal INVALID_ARGUMENT naming every wrong or unknown field."""
    return codec.from_json(route.method.request, values)


def raw_values(scope: Scope, body: bytes) -> dict[str, Any]:
    """A foreign notification: its headers (lower-case names, repeated ones joined) and its body, untouched."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return {"headers": headers, "body": body}


def idempotency_key(scope: Scope) -> str:
    """The ``Idempotency-Key`` header, "" without it. Raises Refusal INVALID_ARGUMENT for one that cannot be carried."""
    key = header(scope, b"idempotency-key").strip()
    if len(key) > KEY_LONGEST or not (key.isascii() and key.isprintable()):
        raise invalid("Idempotency-Key", f"at most {KEY_LONGEST} printable ASCII characters")
    return key


def authorization(scope: Scope, query: list[tuple[str, str]]) -> str:
    """What to show as ``authorization``: the header, or ``access_token`` of the query; "" without either."""
    text = header(scope, b"authorization")
    if text:
        return text
    return next((f"Bearer {value}" for name, value in query if name == TOKEN_PARAMETER and value), "")
