"""The bell: whoever commits facts rings, so that the relay looks at once instead of at its next poll.

Only a hint: the relay polls anyway, and a lost ring costs at most half a second. In a worker the ring is a function call; other
processes send one datagram to a worker of the same service (setting ``JISHI_BELL``: service → host:port), or nothing. It holds the name
of a collection and nothing else: whoever forges one can only make a relay look sooner; what is no collection of its own it ignores.
"""

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from pymongo.collection import Collection

from services.chassis import clock
from services.chassis.settings import settings

_log = logging.getLogger(__name__)
_listeners: list[Callable[[str], None]] = []
_senders: "dict[str, Sender | None]" = {}
MAX_RING: Final = 512
"""Bytes of a datagram that are read; the rest of a longer one is dropped, and with it the name that it may have held."""
RESOLVED_FOR_S: Final = 10.0
"""How long the address of a host name is believed: a container that was started anew has another one."""


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
    """Turn datagrams to ``address`` (host:port) into rings until ``stopping()``; returns at once when it cannot be listened on
    (another worker on this machine has the port, or the host is not this one).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears:
        try:
            ears.bind(_host_and_port(address))
        except OSError as error:
            _log.info("the bell %s cannot be heard here (%s); this process polls", address, error)
            return
        ears.settimeout(1.0)
        while not stopping():
            try:
                name = ears.recv(MAX_RING).decode(errors="replace")
            except TimeoutError:
                continue
            except OSError as error:  # the network went away for a moment
                _log.warning("the bell %s is disturbed: %s", address, error)
                time.sleep(1.0)
                continue
            for listener in _listeners:
                listener(name)


class Sender:
    """Rings at one host:port without ever waiting: not for the network, and not for the name of the host."""

    def __init__(self, address: str) -> None:
        """An IP address is known at once, a host name is looked up beside; rings before that are lost."""
        self._host, self._port = _host_and_port(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        is_ip = _is_ip(self._host)
        self._found = self._host if is_ip else ""
        self._known_until = float("inf") if is_ip else 0.0
        self._looking = threading.Lock()

    def send(self, name: str) -> None:
        """One datagram; nothing when nobody listens, the buffer is full or the host is not known (yet)."""
        if clock.monotonic() >= self._known_until and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_up, name="bell", daemon=True).start()
        if self._found:
            with contextlib.suppress(OSError):
                self._socket.sendto(name.encode(), (self._found, self._port))

    def close(self) -> None:
        """Ring no more."""
        self._socket.close()

    def _look_up(self) -> None:
        """Of several addresses (copies of the worker) the first: one worker that hears is enough."""
        try:
            found = socket.getaddrinfo(self._host, self._port, socket.AF_INET, socket.SOCK_DGRAM)
            self._found = str(found[0][4][0])
        except OSError as error:  # what was known stays
            _log.info("the bell's host %s is not known: %s", self._host, error)
        finally:
            self._known_until = clock.monotonic() + RESOLVED_FOR_S
            self._looking.release()


def _send(database: str, name: str) -> None:
    if database not in _senders:
        address = settings().bell.get(database.removeprefix(settings().db_prefix))
        _senders[database] = Sender(address) if address else None
    sender = _senders[database]
    if sender is not None:
        sender.send(name)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _is_ip(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False
