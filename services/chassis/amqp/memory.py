"""kombu's ``memory://`` transport without polling: consumers sleep until a message is put or acked.

kombu's own asks all queues again every ``polling_interval``, which costs either latency or an idle core.
"""

import time
from queue import Empty
from threading import Condition
from typing import Any

from kombu.transport import memory

_changed = Condition()


class Channel(memory.Channel):
    """Tells sleeping consumers about every message put, acked or given back (an ack makes room in the prefetch window)."""

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        _tell()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Ack, and wake."""
        super().basic_ack(delivery_tag, multiple)
        _tell()

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject, and wake."""
        super().basic_reject(delivery_tag, requeue)
        _tell()


class Transport(memory.Transport):
    """The transport of this process's queues; they are shared by all its connections."""

    Channel = Channel

    def drain_events(self, _connection: Any, timeout: float | None = None) -> None:
        """Deliver one message. Raises TimeoutError when none comes within ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with _changed:
                try:
                    self.cycle.get(self._deliver, timeout=timeout)
                    return
                except Empty:
                    left = None if until is None else until - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError from None
                    _changed.wait(left)


def _tell() -> None:
    with _changed:
        _changed.notify_all()
