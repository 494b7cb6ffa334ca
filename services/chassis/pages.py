"""Small HTTP pages that a process shows beside its work: metrics, public keys."""

import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client.exposition import ThreadingWSGIServer

Page = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application."""


class _Quiet(WSGIRequestHandler):
    """Scrapes are not worth a log line."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def show(listen: str, name: str, page: Page) -> WSGIServer:
    """Answer requests at ``listen`` (host:port) by ``page`` in background threads, until the server is shut down.

    Raises OSError when the address is taken.
    """
    host, _, port = listen.rpartition(":")
    server = make_server(host, int(port), page, ThreadingWSGIServer, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name=name, daemon=True).start()
    return server
