"""A process told to stop hears it, whatever its main thread is about."""

import subprocess
import sys

TOLD_WHILE_IT_HOLDS_THE_LOCK = """
import signal, threading
from services.chassis import signals

lock, ended = threading.Lock(), threading.Event()

def stop():
    with lock:
        ended.set()

signals.on_stop(stop)
for number in (signal.SIGTERM, signal.SIGINT):
    with lock:
        signal.raise_signal(number)
    ended.wait()
    ended.clear()
print("ended")
"""

HEARD_BY_ANOTHER_THREAD = """
import signal, threading
from services.chassis import signals

ended = threading.Event()
signals.on_stop(ended.set)

def tell():
    while not ended._cond._waiters:  # the main thread sleeps on a lock, and nothing else will wake it
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=tell).start()
ended.wait()
print("ended")
"""


def test_a_signal_that_comes_while_the_main_thread_holds_what_stopping_needs_is_heard():
    ended = subprocess.run(
        [sys.executable, "-c", TOLD_WHILE_IT_HOLDS_THE_LOCK], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout == "ended\n"


def test_a_signal_that_does_not_wake_the_main_thread_is_heard():
    ended = subprocess.run(
        [sys.executable, "-c", HEARD_BY_ANOTHER_THREAD], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout == "ended\n"
