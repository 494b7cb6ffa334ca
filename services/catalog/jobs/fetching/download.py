"""The bytes at an address: within a time, up to a size, over a few redirects, each looked at like the first.

Asynchronous, because only so an end can be put to everything that a server may drag out: its name, its headers, its body.
"""

import asyncio
import functools
import ssl
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import httpx

from services.catalog.jobs.fetching.addresses import Place, UnfetchableError, place_of

PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which asking again later makes sense."""
CONNECT_S: Final = 5.0
_HEADERS: Final = {
    "User-Agent": "Jishi-Images/1",
    "Accept": "image/png, image/jpeg, image/webp",
    "Accept-Encoding": "identity",
}
_ONE_USE: Final = httpx.Limits(max_keepalive_connections=0)
"""A connection is proven for one name; another name at the same number gets its own."""
_NAMES: Final = ThreadPoolExecutor(8, thread_name_prefix="names")
"""Resolving a name blocks, and cannot be broken off: one that takes too long is left here and nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an address may take of us; the values are policy."""

    seconds: float
    redirects: int
    bytes: int


async def download(address: str, limits: Limits, allowed: Collection[str]) -> bytes:
    """What is at ``address``. Raises UnfetchableError."""
    try:
        async with asyncio.timeout(limits.seconds):
            return await _followed(address, limits, allowed)
    except TimeoutError as error:
        message = f"it took more than {limits.seconds} s"
        raise UnfetchableError("TOO_SLOW", message, passing=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # what a broken server can wake
        message = f"the server did not answer, or broke off ({type(error).__name__})"
        raise UnfetchableError("NO_ANSWER", message, passing=True) from error


async def _followed(address: str, limits: Limits, allowed: Collection[str]) -> bytes:
    loop = asyncio.get_running_loop()
    client = httpx.AsyncClient(trust_env=False, follow_redirects=False, verify=_authorities(), limits=_ONE_USE)
    async with client:
        for _ in range(limits.redirects + 1):
            place = await loop.run_in_executor(_NAMES, place_of, address, allowed)
            found = await _asked(client, place, limits)
            if isinstance(found, bytes):
                return found
            address = str(httpx.URL(address).join(found))
    raise UnfetchableError("TOO_MANY_REDIRECTS", f"it leads on more than {limits.redirects} times")


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Whose certificates are believed; reading them takes longer than many a picture."""
    return httpx.create_ssl_context(trust_env=False)


async def _asked(client: httpx.AsyncClient, place: Place, limits: Limits) -> bytes | str:
    """The bytes, or where it leads on to."""
    asked = client.build_request(
        "GET",
        place.url,
        headers={**_HEADERS, "Host": place.authority},
        extensions={"sni_hostname": place.host},
        timeout=httpx.Timeout(limits.seconds, connect=min(limits.seconds, CONNECT_S)),
    )
    response = await client.send(asked, stream=True)
    try:
        return response.headers["location"] if response.has_redirect_location else await _read(response, limits.bytes)
    finally:
        await response.aclose()


async def _read(response: httpx.Response, most: int) -> bytes:
    if response.status_code != httpx.codes.OK:
        passing = response.status_code in PASSING
        raise UnfetchableError("REFUSED_THERE", f"the server answered {response.status_code}", passing=passing)
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > most:
            raise UnfetchableError("TOO_LARGE", f"more than {most} bytes")
    return bytes(content)
