"""The backends keep their promise: what was acknowledged before kill -9 is there after the restart."""

import amqp
import pytest
from pymongo import MongoClient

from services.chassis import mongo
from tests.backends.processes import wait_until
from tests.backends.rabbitmq import RabbitmqNode
from tests.backends.secantus import SecantusServer


@pytest.mark.needs_rabbitmq
def test_a_confirmed_message_outlives_kill_9_of_the_broker(broker):
    quorum = {"x-queue-type": "quorum"}
    with amqp.Connection(address(broker.uri), confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare("survivor", durable=True, auto_delete=False, arguments=quorum)
        channel.basic_publish_confirm(amqp.Message("kept", delivery_mode=2), routing_key="survivor")
    if isinstance(broker, RabbitmqNode):
        wait_until(lambda: broker.has_saved("survivor"), "the queue in the node's registry")
    broker.kill()
    broker.start()
    with amqp.Connection(address(broker.uri)) as connection:
        channel = connection.channel()
        message = channel.basic_get("survivor", no_ack=True)
        channel.queue_delete("survivor")
    assert message is not None
    assert message.body == "kept"


def address(uri):
    return uri.split("@")[1].split("/")[0]


def test_an_acknowledged_write_outlives_kill_9_of_the_embedded_database(tmp_path):
    server = SecantusServer(tmp_path)
    server.start()
    try:
        with MongoClient(server.uri) as client:
            client["d"]["c"].insert_one({"_id": 1})
        server.kill()
        server.start()
        with MongoClient(server.uri) as client:
            assert client["d"]["c"].find_one({"_id": 1}) == {"_id": 1}
    finally:
        server.stop()


def test_worlds_share_no_database(world):
    world.database("orders")["c"].insert_one({"_id": 1})
    assert world.settings.db_prefix == world.prefix
    with mongo.connect(world.settings) as client:
        assert f"{world.prefix}orders" in client.list_database_names()


@pytest.mark.needs_rabbitmq
def test_each_world_has_a_virtual_host_of_its_own(broker):
    uris = [broker.open_host(name) for name in ("one", "two")]
    hosts = [uri.rsplit("/", 1)[1] for uri in uris]
    with amqp.Connection(address(broker.uri), virtual_host=hosts[0]) as connection:
        connection.channel().queue_declare("q", auto_delete=False)
    with amqp.Connection(address(broker.uri), virtual_host=hosts[1]) as connection, pytest.raises(amqp.NotFound):
        connection.channel().queue_declare("q", passive=True)
    for name in ("one", "two"):
        broker.close_host(name)
