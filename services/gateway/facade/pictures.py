"""``/merchant/common/upload_img``: a picture, as raw bytes or in a form, whatever its client calls it (微信商铺API手册 V1.15 §7.1)."""

from collections.abc import AsyncIterator
from typing import Any, Final

from jishi.catalog.v1 import images_pb2
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from services.chassis.rpc import methods_of
from services.gateway.facade.answers import Declined
from services.gateway.facade.desk import CATALOG, Desk

FORM_ALLOWANCE: Final = 64 * 2**10
"""Bytes for what a form has around its file."""
PIECE: Final = 512 * 2**10
TIMEOUT_S: Final = 60.0


def limit() -> int:
    """Bytes that the body may take."""
    return int(methods_of(CATALOG)["UploadImage"].rule.file_limit) + FORM_ALLOWANCE


async def upload(desk: Desk, name: str, content_type: str, body: bytes) -> dict[str, Any]:
    """{image_url}, and the same as ``url``, which wechatpy's flat upload_image reads. Raises Declined."""
    data = body
    if content_type.lower().startswith("multipart/form-data"):
        found, data = await _of_form(content_type, body)
        name = name or found
    if not data:
        raise Declined("EMPTY_FILE", "the body is empty; send the bytes of a PNG, JPEG or WebP picture")
    image = (await desk.send("UploadImage", _pieces(name, data), TIMEOUT_S))["image"]
    return {"image_url": image["url"], "url": image["url"]}


async def _pieces(name: str, data: bytes) -> AsyncIterator[images_pb2.UploadImageRequest]:
    short = name.replace("\\", "/").rpartition("/")[2]
    yield images_pb2.UploadImageRequest(filename=short)
    for start in range(0, len(data), PIECE):
        yield images_pb2.UploadImageRequest(chunk=data[start : start + PIECE])


async def _of_form(content_type: str, body: bytes) -> tuple[str, bytes]:
    """The name and bytes of the first file in a form, whatever its part is called."""

    async def stream() -> AsyncIterator[bytes]:
        yield body
        yield b""

    parser = MultiPartParser(Headers({"content-type": content_type}), stream(), max_files=1, max_fields=50)  # type: ignore[arg-type]  # it only iterates
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Declined(
            "UNREADABLE_BODY", f"the form cannot be read: {getattr(error, 'message', 'no boundary')}"
        ) from error
    try:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                return value.filename or "", await value.read()
    finally:
        await form.close()
    return "", b""
