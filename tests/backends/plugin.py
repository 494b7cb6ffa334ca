"""pytest fixtures: the broker, the database, and a world of its own for each test."""

import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from pymongo import MongoClient

from services.chassis import mongo
from services.chassis.settings import MEMORY_BROKER, Settings, settings
from tests.backends import containers, rabbitmq, secantus
from tests.backends.choice import Broker, Database, Docker, brokers, databases, without_real_broker
from tests.backends.processes import Backend, BrokerBackend, StartFailedError
from tests.backends.sharing import InGroups, group_of, longest_first

NO_BROKER = "needs RabbitMQ; here is only memory://"


@dataclass
class External:
    """A backend that is not ours to stop: one that was given, or memory://."""

    uri: str

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """Left running."""

    def kill(self) -> None:
        """A test that would kill it cannot run."""
        pytest.skip(f"{self.uri.rsplit('@', maxsplit=1)[-1]} is not ours to kill")

    def open_host(self, name: str) -> str:  # noqa: ARG002 - the interface of a broker
        """memory:// is one process's own anyway. A given broker is one for all worlds: give an empty virtual host, run serially."""
        return self.uri

    def close_host(self, name: str) -> None:
        """Nothing was opened."""


@dataclass(frozen=True)
class World:
    """One test's own databases (a prefix of their names) and data folder on the session's backends."""

    prefix: str
    environment: Mapping[str, str]
    """What a process of this world is started with, over `os.environ`."""
    settings: Settings
    client: mongo.Client

    def database(self, service: str) -> mongo.Database:
        """The database of a service in this world."""
        return mongo.database(self.client, self.settings, service)


@cache
def docker_state() -> tuple[Docker, str]:
    """Docker is asked once a process."""
    return containers.probe_docker()


def first_that_starts(candidates: Mapping[Any, Callable[[], Backend]]) -> tuple[Any, Backend]:
    """Start the candidates in order until one answers; each that does not is warned about, the last one's failure is raised."""
    *others, last = candidates
    for kind in others:
        try:
            return kind, started(candidates[kind])
        except StartFailedError as error:
            warnings.warn(f"{kind} does not start, trying the next: {error}", stacklevel=1)
    return last, started(candidates[last])


def started(make: Callable[[], Backend]) -> Backend:
    """Make and start; what was half started is stopped."""
    backend = make()
    try:
        backend.start()
    except BaseException:
        backend.stop()
        raise
    return backend


@pytest.fixture(scope="session")
def _chosen_broker(tmp_path_factory) -> Iterator[tuple[Broker, Backend]]:
    makers = {
        Broker.GIVEN: lambda: External(os.environ["AMQP_URI"]),
        Broker.CONTAINER: containers.RabbitmqContainer,
        Broker.NODE: lambda: rabbitmq.RabbitmqNode(tmp_path_factory.mktemp("rabbitmq")),
        Broker.MEMORY: lambda: External(MEMORY_BROKER),
    }
    kinds = brokers(os.environ, docker_state()[0], server_installed=rabbitmq.installed())
    kind, backend = first_that_starts({kind: makers[kind] for kind in kinds})
    yield kind, backend
    backend.stop()


@pytest.fixture(scope="session")
def _chosen_database(tmp_path_factory) -> Iterator[tuple[Database, Backend]]:
    makers = {
        Database.GIVEN: lambda: External(os.environ["MONGO_URI"]),
        Database.CONTAINER: containers.mongodb_container,
        Database.EMBEDDED: lambda: secantus.SecantusServer(tmp_path_factory.mktemp("secantus")),
    }
    kind, backend = first_that_starts({kind: makers[kind] for kind in databases(os.environ, docker_state()[0])})
    yield kind, backend
    backend.stop()


@pytest.fixture(scope="session")
def broker(_chosen_broker) -> BrokerBackend:
    """The broker of the tests: `.uri`, `.kill()`, `.start()`, `.stop()`; `open_host(name)` for a virtual host."""
    return _chosen_broker[1]


@pytest.fixture(scope="session")
def amqp_uri(broker) -> str:
    """Where the broker is; memory:// when there is none."""
    return broker.uri


@pytest.fixture(scope="session")
def database_server(_chosen_database) -> Backend:
    """The database of the tests: `.uri`, `.kill()`, `.start()`, `.stop()`."""
    return _chosen_database[1]


@pytest.fixture(scope="session")
def mongo_uri(database_server) -> str:
    """Where the database is."""
    return database_server.uri


@pytest.fixture(scope="session")
def database_is_embedded(_chosen_database) -> bool:
    """Whether the database is SecantusDB (no replica set: `JISHI_EMBEDDED`)."""
    return _chosen_database[0] is Database.EMBEDDED


@pytest.fixture
def memory_world(mongo_uri, database_is_embedded, tmp_path, monkeypatch) -> Iterator[World]:
    """A world on memory://, for tests that start no broker: own database prefix, own data folder, sandbox clock."""
    yield from _world(mongo_uri, MEMORY_BROKER, database_is_embedded, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def module_memory_world(mongo_uri, database_is_embedded, tmp_path_factory) -> Iterator[World]:
    """The same for all tests of a module that only read."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("world")
        yield from _world(mongo_uri, MEMORY_BROKER, database_is_embedded, folder, monkeypatch)


@pytest.fixture
def world(mongo_uri, broker, database_is_embedded, tmp_path, monkeypatch) -> Iterator[World]:
    """A world on the chosen broker: own database prefix, virtual host, data folder and sandbox clock. All of it is dropped after."""
    host = f"t{secrets.token_hex(4)}"
    uri = broker.open_host(host)
    yield from _world(mongo_uri, uri, database_is_embedded, tmp_path, monkeypatch)
    broker.close_host(host)


def _world(mongo_uri, amqp_uri, embedded, tmp_path, monkeypatch) -> Iterator[World]:
    prefix = f"t{secrets.token_hex(4)}_"
    environment = {
        "MONGO_URI": mongo_uri,
        "AMQP_URI": amqp_uri,
        "JISHI_DB_PREFIX": prefix,
        "JISHI_EMBEDDED": str(embedded).lower(),
        "JISHI_SANDBOX": "true",
        "JISHI_DATA_DIR": str(tmp_path / "data"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    own = settings()
    client = mongo.connect(own)
    yield World(prefix, environment, own, client)
    client.close()
    settings.cache_clear()
    with MongoClient[dict[str, Any]](mongo_uri) as cleaner:
        mongo.release_abandoned(cleaner, own)  # of processes the test killed
        for name in cleaner.list_database_names():
            if name.startswith(prefix):
                cleaner.drop_database(name)


@pytest.fixture(autouse=True)
def _real_broker(request) -> None:
    """`@pytest.mark.needs_rabbitmq`: skipped loudly on memory://, a failure where `CI` is set."""
    if "broker" in request.fixturenames and not group_of(request.node.nodeid):
        pytest.fail(
            "whoever uses the broker has a place in tests/backends/sharing.py: each process would start one for it"
        )
    if request.node.get_closest_marker("needs_rabbitmq") is None:
        return
    kind, _ = request.getfixturevalue("_chosen_broker")
    if kind is Broker.MEMORY:
        {"skip": pytest.skip, "fail": pytest.fail}[without_real_broker(os.environ)](NO_BROKER)


def pytest_collection_modifyitems(config, items) -> None:
    """Where several processes share the suite, what takes longest begins first."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


def pytest_xdist_make_scheduler(config, log) -> InGroups:
    """Who shares something dear stays together."""
    return InGroups(config, log)


def pytest_report_header(config) -> list[str]:
    """Which backends will be tried."""
    if hasattr(config, "workerinput"):
        return []
    docker, said = docker_state()
    broker_names = " → ".join(brokers(os.environ, docker, server_installed=rabbitmq.installed()))
    database_names = " → ".join(databases(os.environ, docker))
    return [f"docker: {docker.value} {said}".rstrip(), f"broker: {broker_names}", f"database: {database_names}"]


def pytest_terminal_summary(terminalreporter) -> None:
    """Say loudly what was not run for want of a broker."""
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if NO_BROKER in str(report.longrepr)]
    if skipped:
        line = f"NOT RUN: {len(skipped)} test(s) need RabbitMQ and found only memory:// (install rabbitmq-server, or set AMQP_URI)"
        terminalreporter.write_line(line, red=True, bold=True)
