"""The worker of orders: which event or timer runs which reaction."""

from typing import Final

from services.chassis.reacting import Worker
from services.orders.reactions import HANDLERS, TIMERS
from services.orders.store import COLLECTIONS

WORKER: Final = Worker("orders", COLLECTIONS, handlers=HANDLERS, timers=TIMERS)
