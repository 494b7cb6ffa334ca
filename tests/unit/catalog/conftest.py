"""A catalog of its own for each test."""

import pytest

from services.chassis import clock, policy
from tests.unit.catalog.making import House

CHUNK = 20
"""Products a chunk in these tests: several chunks without hundreds of products."""


@pytest.fixture
def house(memory_world, monkeypatch):
    value = policy.Policy.value

    def small(self, name, when):
        return CHUNK if name == "import_chunk_products" else value(self, name, when)

    monkeypatch.setattr(policy.Policy, "value", small)
    found = House(memory_world)
    yield found
    found.client.close()
    clock.reset()
