"""Which event or timer runs which reaction of broadcast."""

from typing import Final

from services.broadcast.reactions import HANDLERS, TIMERS
from services.broadcast.store import COLLECTIONS
from services.chassis.reacting import Worker

WORKER: Final = Worker("broadcast", COLLECTIONS, HANDLERS, TIMERS)
