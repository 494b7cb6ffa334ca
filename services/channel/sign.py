"""The merchant's door: every request under it is verified, every answer signed (微信支付 APIv3 签名)."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pymongo.errors import PyMongoError

from services.channel.keys import KeyRing
from services.channel.model.values import Refused
from services.chassis import channel_signing as signing
from services.chassis import clock

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def told(refused: Refused) -> Response:
    """A refusal as ``{code, message}``."""
    return JSONResponse({"code": refused.code, "message": refused.message}, refused.http_status)


def wrong_parameters(error: RequestValidationError) -> Refused:
    """The fields that are wrong, as one PARAM_ERROR."""
    words = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
    return Refused("PARAM_ERROR", "；".join(words))


class TellingRoute(APIRoute):
    """A route whose refusals are answers of the channel's own shape."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Refused as refused:
                return told(refused)
            except RequestValidationError as error:
                return told(wrong_parameters(error))
            except PyMongoError:
                log.exception("channel: the database does not answer")
                return told(Refused("SYSTEM_ERROR", "系统异常，请用相同参数重新调用"))

        return handler


class SignedRoute(TellingRoute):
    """A route that only the merchant may use, and whose answers the merchant can believe."""

    def get_route_handler(self) -> Handler:
        """Verify, handle, sign."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            keys: KeyRing = request.app.state.keys
            try:
                _verify(request, await request.body(), keys)
            except signing.SignatureRefusedError as error:
                return told(Refused("SIGN_ERROR", str(error)))
            answer = await inner(request)
            now_s = clock.wall_ms() // 1000
            answer.headers.update(
                signing.answer_headers(keys.platform_key, keys.platform_serial, bytes(answer.body), now_s=now_s)
            )
            return answer

        return handler


def _verify(request: Request, body: bytes, keys: KeyRing) -> None:
    """Raise SignatureRefusedError unless the merchant signed this request."""
    authorization = signing.parse_authorization(request.headers.get("authorization", ""))
    if (authorization.mchid, authorization.serial_no) != (keys.mchid, keys.merchant_serial):
        raise signing.SignatureRefusedError("no such merchant or serial number")
    target = request.scope["raw_path"].decode()
    if request.url.query:
        target += f"?{request.url.query}"
    now_s = clock.wall_ms() // 1000
    signing.check_request(keys.merchant_key, authorization, request.method, target, body, now_s=now_s)
