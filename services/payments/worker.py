"""Which event or timer runs which reaction of payments."""

from typing import Final

from services.chassis.reacting import Worker
from services.payments.reactions import HANDLERS, TIMERS
from services.payments.store import COLLECTIONS

WORKER: Final = Worker("payments", COLLECTIONS, HANDLERS, TIMERS)
