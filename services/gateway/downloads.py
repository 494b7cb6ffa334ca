"""Files out: an rpc asked page after page, each piece sent on before the next is asked for, so that no file is held anywhere."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from services.gateway.problems import Headers
from services.gateway.requests import Receive, Send

PLACE: Final = "page_token"
_LONGEST: Final = 200


class Download:
    """One file on its way: the first piece, and how to get the others."""

    def __init__(self, first: Any, piece_at: Callable[[str], Awaitable[Any]]) -> None:
        """``first`` and what ``piece_at(token)`` answers: data, next_page_token, content_type, file_name."""
        self._first, self._piece_at = first, piece_at
        name = "".join(letter for letter in first.file_name if letter.isascii() and letter not in '"\\\r\n')[:_LONGEST]
        self.headers: Headers = [
            (b"content-type", first.content_type.encode() or b"application/octet-stream"),
            (b"content-disposition", f'attachment; filename="{name or "file"}"'.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]

    async def send(self, status: int, verb: str, receive: Receive, send: Send) -> None:
        """Send it. A piece that cannot be had any more breaks the line off, so that nobody takes a half for the whole."""
        await send({"type": "http.response.start", "status": status, "headers": self.headers})
        gone = asyncio.ensure_future(_gone(receive))
        piece = self._first
        try:
            while verb != "HEAD" and not gone.done():
                more = piece.next_page_token
                await send({"type": "http.response.body", "body": piece.data, "more_body": bool(more)})
                if not more:
                    return
                piece = await self._piece_at(more)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    """Wait until nobody listens any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
