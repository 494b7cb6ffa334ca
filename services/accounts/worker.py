"""The worker of accounts: it only carries the facts that its commands promise."""

from services.accounts.store import COLLECTIONS
from services.chassis.reacting import Worker

WORKER = Worker("accounts", COLLECTIONS)
