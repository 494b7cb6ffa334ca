"""A house of broadcast on its own database, in a sandbox that begins on 2026-01-05 10:00 CST."""

import pytest

from services.broadcast.store import COLLECTIONS
from services.chassis import clock, logs, mongo
from tests.contract.broadcast.house import House


@pytest.fixture
def house(memory_world):
    logs.configure(memory_world.settings, "broadcast", "test")
    database = memory_world.database("broadcast")
    mongo.declare(database, COLLECTIONS)
    clock.reset()
    made = House(database)
    made.at("2026-01-05T10:00")
    yield made
    clock.reset()
