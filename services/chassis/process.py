"""How a process of the house starts: ``python -m services.<service> server|worker|jobs``.

Imports are made where the role is known: a worker never loads grpc, a server and a jobs process never load eventlet, and in a worker
the monkey patch comes before everything else.
"""

import importlib
import sys
from collections.abc import Sequence

ROLES = ("server", "worker", "jobs")


def main(service: str, arguments: Sequence[str] | None = None) -> None:
    """Run one role of ``service``, named by the first argument, until SIGTERM."""
    role = _role(service, ROLES, sys.argv[1:] if arguments is None else arguments)
    if role == "worker":
        _patch()
        from services.chassis import subscriptions
        from services.chassis.amqp import runner
        from services.chassis.settings import settings

        own = [worker for worker in subscriptions.workers() if worker.service == service]
        runner.run(settings(), own, name=service)
    elif role == "jobs":
        _jobs([service], service)
    else:
        _servers([service], service)


def main_embedded(arguments: Sequence[str] | None = None) -> None:
    """Run one role of all services in this process: ``servers``, ``worker`` or ``jobs``."""
    role = _role("embedded", ("servers", "worker", "jobs"), sys.argv[1:] if arguments is None else arguments)
    if role == "worker":
        _patch()
        from services.chassis import subscriptions
        from services.chassis.amqp import runner
        from services.chassis.settings import settings

        runner.run(settings(), subscriptions.workers(), name="embedded")
    elif role == "jobs":
        _jobs(None, "embedded")
    else:
        from services.chassis.settings import SERVICES

        _servers(SERVICES, "embedded")


def _role(name: str, roles: Sequence[str], arguments: Sequence[str]) -> str:
    if len(arguments) != 1 or arguments[0] not in roles:
        sys.exit(f"usage: python -m services.{name} {'|'.join(roles)}")
    return arguments[0]


def _patch() -> None:
    importlib.import_module("services.chassis.amqp.patch")


def _servers(services: Sequence[str], name: str) -> None:
    from services.chassis import clock, logs, mongo, presence, rpc, tracing
    from services.chassis.settings import settings

    logs.configure(settings(), name, "server")
    tracing.configure(settings(), name, "server")
    declared = [importlib.import_module(f"services.{service}.server").SERVER for service in services]
    with mongo.connect(settings(), pool=4) as client:
        clock.follow(mongo.database(client, settings(), "jishi"), presence.process_name(), "server")
        mongo.release_abandoned(client, settings())
        rpc.serve(declared, settings())


def _jobs(services: Sequence[str] | None, name: str) -> None:
    from services.chassis import jobs
    from services.chassis.settings import settings

    jobs.main(settings(), services, name)
