"""The doors of the API that change something, and what stands behind them: for tests that go through all of them."""

from collections.abc import Iterator
from typing import Any

from services.chassis.rpc.contracts import methods_of
from services.chassis.settings import SERVICES
from services.gateway.routes import Route, Table, routes_of
from tests.faults.clients import Acknowledged
from tests.faults.conftest import MortalStack

ROUTES = routes_of(method for service in SERVICES for method in methods_of(service).values() if not method.reads)
"""The door of every write."""
VOLATILE = frozenset({"own_writes", "handled", "blocks", "sealing", "sums"})
"""Rows of deliveries run out by themselves; the journal is sealed some seconds after it is written; a repeated write lets kept lists go again."""


def route_of(line: Acknowledged) -> tuple[Route, list[str]]:
    """Through which door a request went, and the values of the path's parameters."""
    found = Table(ROUTES).find(line.path)
    assert found is not None, line.path
    return found[0][line.method], found[1]


def rpc_of(line: Acknowledged) -> str:
    """Which rpc a request is."""
    return route_of(line)[0].method.name


def ids_in(body: Any) -> Iterator[tuple[str, str]]:
    """(field, value) of every id that an answer names, however deep."""
    if isinstance(body, list):
        for one in body:
            yield from ids_in(one)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name.endswith("_id") and isinstance(value, str | int) and value:
                yield name, str(value)
            else:
                yield from ids_in(value)


def everything(stack: MortalStack) -> dict[tuple[str, str, str], dict[str, Any]]:
    """All documents of all services, by where they stand."""
    with stack.connect() as client:
        prefix = stack.options.environment.get("JISHI_DB_PREFIX", "")
        return {
            (service, name, str(row["_id"])): row
            for service in SERVICES
            for name in client[prefix + service].list_collection_names()
            if name not in VOLATILE
            for row in client[prefix + service][name].find()
        }
