"""Payables as this process opened them a moment ago: most are paid soon, and what is taken from here need not be read.

Only a hint. Whoever writes by what stands here writes on this version or not at all, and reads then; another process knows nothing of it.
"""

import threading
from collections import OrderedDict
from typing import Final

from services.chassis.mongo import Document

MOST: Final = 1000
"""Payables kept: those of the last half minute of a busy day."""


class Opened:
    """Payables by the number of their first attempt, each for one taker."""

    def __init__(self) -> None:
        """Empty."""
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, payable: Document) -> None:
        """It was written just now."""
        with self._lock:
            self._kept[payable["trade_nos"][0]] = payable
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)

    def taken(self, out_trade_no: str) -> Document | None:
        """The payable as it was opened, if it is still known and nobody took it."""
        with self._lock:
            return self._kept.pop(out_trade_no, None)
