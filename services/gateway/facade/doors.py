"""The paths of the facade, and how a request to one of them is read and answered."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from services.chassis import clock, metrics, tracing
from services.chassis.errors import Refusal
from services.chassis.rpc.aio import Backend
from services.chassis.rpc.status import from_exception
from services.chassis.settings import Settings
from services.gateway import requests
from services.gateway.facade import categories, express, groups, orders, pictures, products, shelves, tokens
from services.gateway.facade.answers import TYPE, Declined, Listing, declined, fine
from services.gateway.facade.desk import Desk
from services.gateway.facade.reader import INT32, Reader

Answer = dict[str, Any] | Listing
Call = Callable[[Desk, Reader], Awaitable[Answer]]
BOM: Final = b"\xef\xbb\xbf"
VERBS: Final = ("GET", "POST")
EVERY: Final = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
TOKEN_PATH: Final = "/cgi-bin/token"  # noqa: S105 - a path
UPLOAD_PATH: Final = "/merchant/common/upload_img"
GLUED: Final = re.compile(r"^([^=]*?)filename=(.*)$")
"""Loogn.WeiXinSDK writes the file's name right behind the token."""


async def _children(desk: Desk, call: Reader) -> Answer:
    found = await desk.ask("ListSubcategories", {"category_id": _category_id(call)})
    return {"cate_list": categories.children(found["categories"])}


async def _sku_table(desk: Desk, call: Reader) -> Answer:
    found = await desk.ask("ListCategorySkuAttributes", {"category_id": _category_id(call)})
    return {"sku_table": categories.listed(found["sku_attributes"], "value_list")}


async def _properties(desk: Desk, call: Reader) -> Answer:
    found = await desk.ask("ListCategoryProperties", {"category_id": _category_id(call)})
    return {"properties": categories.listed(found["properties"], "property_value")}


def _category_id(call: Reader) -> int:
    found = call.number("cate_id", least=1, most=INT32, required="say which category; 1 is the root")
    call.check()
    return found


CALLS: Final[Mapping[str, Call]] = {
    "/merchant/create": products.create,
    "/merchant/del": products.delete,
    "/merchant/update": products.update,
    "/merchant/get": products.get,
    "/merchant/getbystatus": products.by_status,
    "/merchant/modproductstatus": products.set_status,
    "/merchant/category/getsub": _children,
    "/merchant/category/getsku": _sku_table,
    "/merchant/category/getproperty": _properties,
    "/merchant/stock/add": products.add_stock,
    "/merchant/stock/reduce": products.reduce_stock,
    "/merchant/express/add": express.add,
    "/merchant/express/del": express.delete,
    "/merchant/express/update": express.update,
    "/merchant/express/getbyid": express.get,
    "/merchant/express/getall": express.get_all,
    "/merchant/group/add": groups.add,
    "/merchant/group/del": groups.delete,
    "/merchant/group/propertymod": groups.rename,
    "/merchant/group/productmod": groups.change,
    "/merchant/group/getall": groups.get_all,
    "/merchant/group/getbyid": groups.get,
    "/merchant/shelf/add": shelves.add,
    "/merchant/shelf/del": shelves.delete,
    "/merchant/shelf/mod": shelves.modify,
    "/merchant/shelf/getall": shelves.get_all,
    "/merchant/shelf/getbyid": shelves.get,
    "/merchant/shelf/updatestatus": shelves.set_status,
    "/merchant/shelf/setdeliverymod": orders.set_delivery,  # where wechatpy's flat method sends it
    "/merchant/order/getbyid": orders.get,
    "/merchant/order/getbyfilter": orders.by_filter,
    "/merchant/order/setdelivery": orders.set_delivery,
    "/merchant/order/close": orders.close,
}
"""Every path that takes JSON; each answers GET and POST, its parameters from the body and from the query."""
NEED_NOTHING: Final = frozenset({"/merchant/express/getall", "/merchant/group/getall", "/merchant/shelf/getall"})
"""Calls without parameters, whose body nobody reads."""
MAY_SAY_NOTHING: Final = NEED_NOTHING | {"/merchant/order/getbyfilter", TOKEN_PATH}
"""Calls that mean something without any parameter."""
OURS: Final = frozenset({"user-agent", "base-url"})
"""What a call knows of its request beside what was sent as parameters."""


class Facade:
    """Joins the doors of the old API to the gateway's own."""

    def __init__(self, settings: Settings, backends: Mapping[str, Backend]) -> None:
        """``backends``: filled when the gateway starts."""
        self._settings, self._backends = settings, backends

    def join(self, web: FastAPI) -> None:
        """Add the routes; whatever else lies below the two folders is answered in the same form."""
        for path, call in CALLS.items():
            web.add_api_route(path, self._door(path, call), methods=list(VERBS))
        web.add_api_route(TOKEN_PATH, self._door(TOKEN_PATH, tokens.token), methods=list(VERBS))
        web.add_api_route(UPLOAD_PATH, self._door(UPLOAD_PATH, None), methods=list(VERBS))
        for folder in ("/merchant/{rest:path}", "/cgi-bin/{rest:path}"):
            web.add_api_route(folder, _nothing_here, methods=list(EVERY))

    def _door(self, path: str, call: Call | None) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            began, scope = clock.monotonic(), request.scope
            with tracing.span(path, parent=requests.header(scope, b"traceparent"), kind="server") as span:
                response, fault = await self._answered(path, call, request, span.traceparent)
                response.headers["traceparent"] = span.traceparent
            metrics.HTTP_SECONDS.labels(path).observe(clock.monotonic() - began)
            metrics.HTTP_ANSWERS.labels(path, fault).inc()
            return response

        return answer

    async def _answered(self, path: str, call: Call | None, request: Request, trace: str) -> tuple[Response, str]:
        """The answer, and what the metrics call it: its errcode."""
        try:
            found = await self._asked(path, call, request, trace)
        except Declined as refusal:
            return _envelope(refusal.body), str(refusal.errcode)
        except Exception as error:  # noqa: BLE001 - every failure is answered in the same form
            failure = declined(from_exception(error))
            return _envelope(failure.body), str(failure.errcode)
        if isinstance(found, Listing):
            return StreamingResponse(found.pieces(), media_type=TYPE), "0"
        return _envelope(orjson.dumps(found) if path == TOKEN_PATH else fine(found)), "0"

    async def _asked(self, path: str, call: Call | None, request: Request, trace: str) -> Answer:
        query = {name: text for name, text in requests.query_of(request.scope) if name not in OURS}
        glued = GLUED.match(query.get(requests.TOKEN_PARAMETER, ""))
        if glued:
            query[requests.TOKEN_PARAMETER], query["filename"] = glued[1], glued[2]
        shown = "" if path == TOKEN_PATH else _authorization(request, query)
        desk = Desk(self._backends, shown, trace, self._settings.rpc_timeout_s)
        if call is None:
            body = await requests.body_of(request.scope, request.receive, pictures.limit())
            kind = requests.header(request.scope, b"content-type")
            return await pictures.upload(desk, query.get("filename", ""), kind, body)
        sent = (
            b"" if path in NEED_NOTHING else await requests.body_of(request.scope, request.receive, requests.BODY_LIMIT)
        )
        values = _values(sent)
        query.pop(requests.TOKEN_PARAMETER, None)
        if not (sent.strip() or query or path in MAY_SAY_NOTHING):
            raise Declined("EMPTY_BODY", "send the parameters as JSON in the body")
        agent = requests.header(request.scope, b"user-agent")
        known = {"user-agent": agent, "base-url": self._settings.base_url.rstrip("/")}
        return await call(desk, Reader({**query, **values, **known}))


def _values(sent: bytes) -> dict[str, Any]:
    """The body's JSON, whatever its type is called; a byte order mark before it does not matter."""
    text = sent.removeprefix(BOM).strip()
    if not text:
        return {}
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Declined("UNREADABLE_BODY", f"the body is not JSON in UTF-8: {error}") from error
    if not isinstance(values, dict):
        raise Declined("UNREADABLE_BODY", "the body must be a JSON object")
    return values


def _authorization(request: Request, query: Mapping[str, str]) -> str:
    shown = requests.authorization(request.scope, list(query.items()))
    if not shown:
        raise Declined("NO_TOKEN", f"access_token: get one from {TOKEN_PATH} and send it in the query")
    if not (shown.isascii() and shown.isprintable()):
        raise Declined("UNAUTHENTICATED", "access_token: is not one of ours")
    return shown


def _envelope(body: bytes) -> Response:
    return Response(body, headers={"content-type": TYPE, "cache-control": "no-store"})


async def _nothing_here(request: Request) -> Response:
    path = request.url.path
    if path in CALLS or path in (TOKEN_PATH, UPLOAD_PATH):
        refusal = declined(Refusal("METHOD_NOT_ALLOWED", f"{path} answers GET and POST"))
    else:
        refusal = Declined("NO_SUCH_PATH", f"nothing is at {path}; docs/facade.md lists the paths")
    return _envelope(refusal.body)
