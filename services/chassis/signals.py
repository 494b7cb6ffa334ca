"""Being told to stop: SIGTERM and Ctrl-C, without the deadlock and the lost signal that wait in the plain way of hearing them."""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT)


def on_stop(act: Callable[[], object], numbers: Iterable[signal.Signals] = STOP) -> None:
    """Run ``act`` in a thread of its own each time one of ``numbers`` comes. For the main thread of a process without eventlet; once.

    A handler in Python runs in the main thread, between two lines of whatever that does. One that sets an Event for which the main
    thread is just beginning to wait asks for the lock that its own thread holds; and one whose signal comes just before the main
    thread falls asleep on a lock, or in another thread, runs only when something else wakes the main thread. Either way the process
    never ends. So a thread reads the numbers that the interpreter's own C handler writes into a pipe, wherever the signal is met.
    """
    heard = frozenset(numbers)
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)

    def listen() -> None:
        while told := os.read(ear, 1):
            if told[0] in heard:
                act()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in heard:
        signal.signal(number, _only_written_down)


def _only_written_down(_number: int, _frame: object) -> None:
    """A handler in Python must be there, or the interpreter writes nothing into the pipe."""
