"""Answers that may be a moment old: many readers of one thing share one read of the database."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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
        slot = self._slot(key)
        if clock.monotonic() - slot.read_at < self._age_s:
            return slot.value
        with slot.lock:
            began = clock.monotonic()
            if began - slot.read_at >= self._age_s:
                slot.value = load()
                slot.read_at = began
            return slot.value

    def get_many(self, keys: Iterable[Any], load: Callable[[Sequence[Any]], Mapping[Any, T]]) -> dict[Any, T]:
        """The answers for ``keys`` that there are; one ``load`` for all that must be read. What it does not find is not kept."""
        began, found = clock.monotonic(), {}
        slots = {key: self._slot(key) for key in keys}
        for key, slot in slots.items():
            value, read_at = slot.value, slot.read_at
            if value is not None and began - read_at < self._age_s:
                found[key] = value
        old = [key for key in slots if key not in found]
        for key, value in (load(old) if old else {}).items():
            slots[key].value, slots[key].read_at = value, began
            found[key] = value
        return found

    def forget(self, key: Hashable) -> None:
        """The next one who asks for ``key`` is answered by a reading that begins after this."""
        with self._lock:
            self._slots.pop(key, None)

    def _slot(self, key: Hashable) -> _Slot[T]:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            if len(self._slots) > self._most:
                self._slots.popitem(last=False)
            return slot
