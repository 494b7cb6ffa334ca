"""Files: a multipart form with one ``file``, spooled to disk while it comes, then sent on in pieces.

Spooling lets the form's fields stand before or after the file, and keeps a slow client from holding one of the service's threads.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from services.chassis.errors import Refusal, invalid
from services.gateway.requests import Receive, Scope, add_parameters, header, message_of, query_of, too_large
from services.gateway.routes import Route

FILE_LIMIT: Final = 100 * 2**20
FORM_ALLOWANCE: Final = 64 * 2**10
"""Bytes for boundaries and fields around the file."""
CHUNK: Final = 512 * 2**10
FIELDS: Final = 50
FILE: Final = "file"
NAME: Final = "filename"
PIECE: Final = "chunk"


def limit_of(route: Route) -> int:
    """Bytes a file of this route may have."""
    return route.method.rule.file_limit or FILE_LIMIT


async def form_of(route: Route, scope: Scope, receive: Receive) -> FormData:
    """The form, its file on disk. Raises Refusal UNSUPPORTED_MEDIA, TOO_LARGE (counted while it comes), UNREADABLE_BODY."""
    limit = limit_of(route)
    if not header(scope, b"content-type").lower().startswith("multipart/form-data"):
        message = f"send multipart/form-data with the file in the part {FILE!r} (curl: -F {FILE}=@products.csv)"
        raise Refusal("UNSUPPORTED_MEDIA", message)
    announced = header(scope, b"content-length")
    if announced.isdecimal() and int(announced) > limit + FORM_ALLOWANCE:
        raise too_large(limit)
    parser = MultiPartParser(Headers(scope=scope), _pieces(receive, limit), max_files=1, max_fields=FIELDS)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Refusal("UNREADABLE_BODY", f"the form cannot be read: {error.message}") from error
    except KeyError as error:
        raise Refusal("UNREADABLE_BODY", "the form's Content-Type names no boundary") from error


async def _pieces(receive: Receive, limit: int) -> AsyncGenerator[bytes, None]:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal("UNREADABLE_BODY", "the body ended too early")
        body: bytes = message.get("body", b"")
        size += len(body)
        if size > limit + FORM_ALLOWANCE:
            raise too_large(limit)
        more = message.get("more_body", False)
        yield body
    yield b""


def messages_of(route: Route, scope: Scope, path: list[str], form: FormData) -> AsyncIterator[Any]:
    """First a message with the form's fields, then pieces of the file. Raises Refusal INVALID_ARGUMENT before the first is sent."""
    file = form.get(FILE)
    if not isinstance(file, UploadFile):
        raise invalid(FILE, f"send the file as the part of this name (curl: -F {FILE}=@products.csv)")
    if (file.size or 0) > limit_of(route):
        raise too_large(limit_of(route))
    values: dict[str, Any] = {name: value for name, value in form.multi_items() if name != FILE}
    if NAME in route.method.request.DESCRIPTOR.fields_by_name and file.filename:
        values.setdefault(NAME, file.filename)
    add_parameters(route, values, query_of(scope), path)
    if PIECE in values:
        raise invalid(PIECE, f"the file comes in the part {FILE!r}")
    first = message_of(route, values)

    async def stream() -> AsyncIterator[Any]:
        yield first
        while piece := await file.read(CHUNK):
            yield route.method.request(**{PIECE: piece})

    return stream()
