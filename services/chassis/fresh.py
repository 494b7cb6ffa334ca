"""Answers that may be a moment old: many readers of one thing share one read of the database."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.chassis import clock

T = TypeVar("T")


@dataclass(slots=True)
class _Slot(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: T | None = None
    read_at: float = float("-inf")


class Fresh(Generic[T]):
    """Keeps at most ``most`` answers, each for ``age_s`` seconds from the moment its reading began."""

    def __init__(self, age_s: float, most: int = 2000) -> None:
        """Empty."""
        self._age_s, self._most = age_s, most
        self._slots: OrderedDict[Hashable, _Slot[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """The answer for ``key``; ``load`` is asked by one caller at a time, and what it raises is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            if len(self._slots) > self._most:
                self._slots.popitem(last=False)
        if clock.monotonic() - slot.read_at < self._age_s:
            return slot.value
        with slot.lock:
            began = clock.monotonic()
            if began - slot.read_at >= self._age_s:
                slot.value = load()
                slot.read_at = began
            return slot.value
