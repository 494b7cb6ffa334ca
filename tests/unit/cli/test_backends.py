"""What is no address of a database or a broker is told before anything is started."""

import pytest

from services.cli.stack.backends import check_backends
from services.cli.stack.folder import StackError


@pytest.mark.parametrize("mongo_uri", ["", "mongodb://127.0.0.1:27017/?replicaSet=rs0", "mongodb://u:p@a:1,b:2/"])
@pytest.mark.parametrize("amqp_uri", ["", "memory://", "amqp://guest:guest@127.0.0.1:5672//", "amqps://host/v"])
def test_addresses_and_none_are_taken(mongo_uri, amqp_uri):
    check_backends(mongo_uri, amqp_uri)


@pytest.mark.parametrize("uri", ["foo", "http://host:27017", "mongodb://", "mongodb://host:99999/"])
def test_what_is_no_database_is_told_in_one_line(uri):
    with pytest.raises(StackError, match=r"^MONGO_URI is no address of a database, such as [^\n]*$"):
        check_backends(uri, "")


@pytest.mark.parametrize("uri", ["foo", "http://host", "amqp://", "amqp://host:port/", "redis://host"])
def test_what_is_no_broker_is_told_in_one_line(uri):
    with pytest.raises(StackError, match=r"^AMQP_URI is no address of a broker"):
        check_backends("", uri)
