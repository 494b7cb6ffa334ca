"""The ledger on a database of the test's own."""

import pytest

from services.chassis import clock
from tests.unit.payments.ledger_house import Ledger


@pytest.fixture
def books(memory_world):
    """An empty ledger with two shops."""
    clock.reset()
    yield Ledger(memory_world)
    clock.reset()
