"""A catalog of its own for each test."""

import pytest

from services.chassis import clock
from tests.unit.catalog.making import House


@pytest.fixture
def house(memory_world):
    found = House(memory_world)
    yield found
    found.client.close()
    clock.reset()
