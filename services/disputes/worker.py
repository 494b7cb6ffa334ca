"""Which event or deadline runs which reaction of disputes."""

from typing import Final

from services.chassis.reacting import Worker
from services.disputes.reactions import HANDLERS, TIMERS
from services.disputes.store import COLLECTIONS

WORKER: Final = Worker("disputes", COLLECTIONS, HANDLERS, TIMERS)
