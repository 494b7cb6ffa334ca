"""The bell: whoever commits facts rings, so that the relay looks at once instead of at its next poll.

Only a hint: the relay polls anyway, and a lost ring costs at most half a second. In a worker the ring is a function call; other
processes send one datagram to the worker of the same service (setting ``JISHI_BELL``: service → host:port), or nothing.
"""

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection

from services.chassis.settings import settings

_log = logging.getLogger(__name__)
_listeners: list[Callable[[str], None]] = []
_senders: dict[str, tuple[socket.socket, tuple[str, int]] | None] = {}
MAX_RING = 512


def ring(rows: Collection[Any]) -> None:
    """Documents of ``rows`` have just been given events."""
    name = f"{rows.database.name}.{rows.name}"
    for listener in _listeners:
        listener(name)
    if not _listeners:
        _send(rows.database.name, name)


def on_ring(listener: Callable[[str], None]) -> None:
    """Call ``listener("database.collection")`` for each ring in this process; no datagram is sent from here then."""
    _listeners.append(listener)


def listen(address: str, stopping: Callable[[], bool]) -> None:
    """Turn datagrams to ``address`` (host:port) into rings until ``stopping()``; returns at once when another process has the port."""
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears:
        try:
            ears.bind((host, int(port)))
        except OSError:
            _log.info("the bell %s is heard by another process; this one polls", address)
            return
        ears.settimeout(1.0)
        while not stopping():
            try:
                name = ears.recv(MAX_RING).decode(errors="replace")
            except TimeoutError:
                continue
            for listener in _listeners:
                listener(name)


def _send(database: str, name: str) -> None:
    if database not in _senders:
        _senders[database] = _sender(database)
    sender = _senders[database]
    if sender is not None:
        with contextlib.suppress(OSError):  # nobody listens, or the buffer is full: the relay polls
            sender[0].sendto(name.encode(), sender[1])


def _sender(database: str) -> tuple[socket.socket, tuple[str, int]] | None:
    address = settings().bell.get(database.removeprefix(settings().db_prefix))
    if not address:
        return None
    host, port = address.rsplit(":", 1)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setblocking(False)
    return out, (host, int(port))
