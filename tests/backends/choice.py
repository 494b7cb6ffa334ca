"""Which broker and which database the tests run on: pure functions of what this machine offers.

Each answers with the candidates in order; the first that really starts is taken (a Docker that answers may still be
unable to pull an image, or give a replica set that takes no write).
"""

from collections.abc import Mapping
from enum import Enum, StrEnum


class Docker(Enum):
    """What became of asking Docker."""

    ANSWERS = "answers"
    ABSENT = "absent"
    REFUSES = "refuses"


class Broker(StrEnum):
    """A broker for the tests."""

    GIVEN = "AMQP_URI"
    CONTAINER = "RabbitMQ in a container"
    NODE = "private rabbitmq-server node"
    MEMORY = "memory://"


class Database(StrEnum):
    """A database for the tests."""

    GIVEN = "MONGO_URI"
    CONTAINER = "MongoDB replica set in a container"
    EMBEDDED = "SecantusDB"


def brokers(environment: Mapping[str, str], docker: Docker, *, server_installed: bool) -> tuple[Broker, ...]:
    """The brokers to try, best first. A given one stands alone: failing to reach it is a failure, no reason to look on."""
    if environment.get("AMQP_URI"):
        return (Broker.GIVEN,)
    container = (Broker.CONTAINER,) if docker is Docker.ANSWERS else ()
    node = (Broker.NODE,) if server_installed else ()
    return (*container, *node, Broker.MEMORY)


def databases(environment: Mapping[str, str], docker: Docker) -> tuple[Database, ...]:
    """The databases to try, best first; a given one stands alone."""
    if environment.get("MONGO_URI"):
        return (Database.GIVEN,)
    container = (Database.CONTAINER,) if docker is Docker.ANSWERS else ()
    return (*container, Database.EMBEDDED)


def without_real_broker(environment: Mapping[str, str]) -> str:
    """What a test that needs RabbitMQ does on memory://: "skip" on a developer's machine, "fail" where `CI` is set."""
    return "fail" if environment.get("CI") else "skip"
