"""What a payment costs the database, counted by a command listener."""

from collections import Counter

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from services.channel.commands import Commands
from services.channel.keys import open_keys
from services.channel.model.values import Order
from services.channel.notifier import Notifier
from services.channel.settings import Rules
from services.channel.store import Store
from services.chassis import clock
from services.chassis.channel_signing import read_credential
from tests.contract.channel.conftest import Shop


class Count(CommandListener):
    def __init__(self):
        self.names = Counter()

    def started(self, event):
        self.names[event.command_name] += 1

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture
def counted(memory_world):
    count = Count()
    options = {"event_listeners": [count], "tz_aware": True}
    with MongoClient(memory_world.environment["MONGO_URI"], **options) as client:
        yield count, Store(client[f"{memory_world.prefix}channel"])


def test_a_payment_is_one_insert_two_updates_and_a_share_of_one_query(counted, tmp_path):
    count, store = counted
    store.declare()
    ring = open_keys(tmp_path, "1900000109", "http://channel")
    shop = Shop(lambda: read_credential(tmp_path / "merchant"))
    rules = Rules(1.0)
    commands, notifier = Commands(store, rules, lambda: None), Notifier(store, rules, ring)
    count.names.clear()
    for number in ("T-000001", "T-000002", "T-000003"):
        order = Order(number, "wx1", ring.mchid, "NATIVE", "茶", f"{shop.url}/{number}", 1000, "CNY", "digest")
        commands.pay(commands.place(order).prepay_id, "oBuyer", None, None, None)
    for due in store.due(clock.wall_ms(), [], 64):
        notifier.serve(due)
    shop.server.shutdown()
    shop.server.server_close()
    assert [len(shop.arrived[f"/T-00000{number}"]) for number in (1, 2, 3)] == [1, 1, 1]
    assert count.names == {"insert": 3, "update": 6, "find": 1}
    assert store.due(clock.wall_ms(), [], 64) == []
