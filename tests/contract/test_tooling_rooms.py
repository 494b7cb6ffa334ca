"""The import contracts find what they are for: each is shown an arrow it must refuse and one it must let pass."""

import tomllib
from pathlib import Path

import pytest
from grimp import ImportGraph

from tests.contract.rooms import Door, Reporting, Room, Strangers

CONFIGURATION = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
TYPES = {"room": Room, "strangers": Strangers, "door": Door}


def contract(name: str) -> Reporting:
    """The contract of pyproject.toml with this name."""
    options = dict(next(entry for entry in CONFIGURATION["contracts"] if entry["name"].startswith(name)))
    kind = TYPES[options.pop("type")]
    return kind(name=options.pop("name"), session_options={"root_packages": ["services"]}, contract_options=options)


@pytest.mark.parametrize(
    ("name", "importer", "imported", "kept"),
    [
        ("model", "services.orders.model", "datetime", True),
        ("model", "services.orders.model", "services.chassis.money", True),
        ("model", "services.orders.model.states", "services.orders.model.amounts", True),
        ("model", "services.orders.model", "services.chassis.clock", False),
        ("model", "services.orders.model", "pymongo", False),
        ("model", "services.orders.model", "services.orders.store", False),
        ("model", "services.orders.models", "pymongo", True),
        ("store", "services.orders.store", "services.chassis.mongo", True),
        ("store", "services.orders.store", "services.chassis.amqp.relay", False),
        ("commands", "services.orders.commands.place", "services.orders.store", True),
        ("commands", "services.orders.commands", "services.orders.reactions", False),
        ("reactions", "services.orders.reactions", "services.orders.commands", False),
        ("jobs", "services.catalog.jobs", "services.catalog.commands", False),
        ("server", "services.orders.server", "services.chassis.rpc.serving", True),
        ("server", "services.orders.server", "services.chassis.amqp", False),
        ("server", "services.orders.server", "services.orders.reactions", False),
        ("worker", "services.orders.worker", "services.chassis.amqp", True),
        ("worker", "services.orders.worker", "services.orders.commands", False),
        ("no service", "services.orders.server", "services.catalog.model", False),
        ("no service", "services.chassis.audit", "services.catalog.model", False),
        ("no service", "services.cli.audit", "services.catalog.model", True),
        ("grpc", "services.chassis.rpc.client", "grpc", True),
        ("grpc", "services.gateway.app", "grpc", False),
        ("nameko", "services.orders.worker", "eventlet", False),
        ("nameko", "services.chassis.amqp.relay", "kombu", True),
    ],
)
def test_arrow(name, importer, imported, kept):
    graph = ImportGraph()
    for module in (importer, imported):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported, line_number=1, line_contents="import")
    assert contract(name).check(graph, verbose=False).kept is kept
