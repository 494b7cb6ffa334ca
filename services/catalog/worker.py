"""The worker of the catalog: which event or timer runs which reaction."""

from typing import Final

from services.catalog.reactions import HANDLERS, TIMERS
from services.catalog.store import COLLECTIONS
from services.chassis.reacting import Worker

WORKER: Final = Worker("catalog", COLLECTIONS, handlers=HANDLERS, timers=TIMERS)
