"""A house of disputes on its own database, in a sandbox that begins on 2026-01-05 10:00 CST."""

import pytest

from services.chassis import clock, logs, mongo
from services.disputes.store import COLLECTIONS
from tests.contract.disputes.house import House


@pytest.fixture
def house(memory_world):
    logs.configure(memory_world.settings, "disputes", "test")
    database = memory_world.database("disputes")
    mongo.declare(database, COLLECTIONS)
    clock.reset()
    clock.see(clock.ms(clock.SANDBOX_START) - clock.wall_ms())
    made = House(database)
    made.orders.put()
    yield made
    clock.reset()
