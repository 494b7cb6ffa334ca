"""Payments alone in its world, with a channel process of its own session."""

import pytest

from services.chassis import clock
from tests.contract.channel.conftest import Channel as ChannelProcess
from tests.contract.payments.house import Door, House


@pytest.fixture(scope="session")
def channel_process(mongo_uri, database_is_embedded, tmp_path_factory):
    """One channel for all tests; each uses numbers of its own."""
    process = ChannelProcess(tmp_path_factory.mktemp("payments_channel"), mongo_uri, embedded=database_is_embedded)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def house(memory_world, channel_process):
    """Payments alone in its world, at one channel with others."""
    clock.reset()
    house = House(memory_world, channel_process, Door())
    yield house
    house.close()
    clock.reset()
