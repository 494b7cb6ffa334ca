"""Who listens to what: the one table, generated from the ``WORKER`` declarations of all services.

The broker's topology, the relays, the audit and the tests all read it. Importing a service's ``worker`` module loads no broker library.
"""

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from services.chassis import events, revocations
from services.chassis.reacting import Handler, Job, Worker
from services.chassis.settings import SERVICES


@dataclass(frozen=True, slots=True)
class Subscription:
    """One event type and one handler of one service."""

    service: str
    handler: Handler

    @property
    def name(self) -> str:
        """``<service>.<handler>``: its queue, and the beginning of its ``handled`` rows."""
        return f"{self.service}.{self.handler.name}"

    @property
    def publisher(self) -> str:
        """The service that tells this event."""
        return self.handler.event_type.split(".")[1]


@cache
def workers() -> tuple[Worker, ...]:
    """The ``WORKER`` of every service that has one, each with the handlers that the chassis adds."""
    return tuple(complete(importlib.import_module(name).WORKER) for name in _modules("worker"))


@cache
def jobs() -> dict[str, tuple[Job, ...]]:
    """Service → its ``JOBS``, for every service that has some."""
    return {name.split(".")[1]: tuple(importlib.import_module(name).JOBS) for name in _modules("jobs")}


def complete(worker: Worker) -> Worker:
    """``worker`` with what every service listens to: revoked tokens."""
    return replace(worker, handlers=(*worker.handlers, revocations.HANDLER))


def table(of: Iterable[Worker]) -> tuple[Subscription, ...]:
    """All subscriptions of these (complete) workers. Raises ValueError for two of one name, or a type that no proto declares."""
    found: dict[str, Subscription] = {}
    for worker in of:
        for handler in worker.handlers:
            subscription = Subscription(worker.service, handler)
            if subscription.name in found:
                raise ValueError(f"two handlers are called {subscription.name}")
            if handler.event_type not in events.payloads():
                raise ValueError(f"{subscription.name} listens to {handler.event_type}, which no proto declares")
            found[subscription.name] = subscription
    return tuple(found.values())


def _modules(room: str) -> list[str]:
    names = (f"services.{service}.{room}" for service in SERVICES)
    return [name for name in names if _exists(name)]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the service itself is not part of this installation
        return False
