"""RabbitMQ and a MongoDB replica set in containers, where Docker answers."""

import gc
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import docker
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError
from testcontainers.core.container import DockerContainer

from tests.backends import rabbitmq
from tests.backends.choice import Docker
from tests.backends.processes import StartFailedError, free_port, wait_until

RABBITMQ_IMAGE = "rabbitmq:4"
MONGODB_IMAGE = "mongo:8"


def probe_docker() -> tuple[Docker, str]:
    """Whether Docker answers, and otherwise what it said in one line."""
    with warnings.catch_warnings():
        # docker-py drops the socket of a connection that failed; collected here, it warns in no test.
        warnings.simplefilter("ignore", ResourceWarning)
        said = ask_docker()
        gc.collect()
    if not said:
        return Docker.ANSWERS, ""
    there = shutil.which("docker") or os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()
    return (Docker.REFUSES, said) if there else (Docker.ABSENT, "no docker here")


def ask_docker() -> str:
    """Empty when the daemon answers, else the reason in one line."""
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except (docker.errors.DockerException, OSError) as error:
        return str(error).splitlines()[0][:120] or type(error).__name__
    return ""


class Container:
    """A container with one port bound to the same port of 127.0.0.1 for its whole life, so that a restart keeps its address."""

    def __init__(self, image: str, inside: int, command: str, uri: str, answers: Callable[[], bool], port: int) -> None:
        self.uri = uri
        self._answers = answers
        self._container = DockerContainer(image).with_bind_ports(inside, port)
        if command:
            self._container = self._container.with_command(command)
        self._created = False

    def start(self) -> None:
        """Create it or start it again; return when it answers; raises StartFailedError."""
        try:
            if self._created:
                self._container.get_wrapped_container().start()
            else:
                self._container.start()
                self._created = True
            wait_until(self._answers, self.uri, seconds=90)
        except (docker.errors.DockerException, OSError) as error:
            raise StartFailedError(str(error)) from error

    def stop(self) -> None:
        """Remove it with its data."""
        if self._created:
            self._container.stop()

    def kill(self) -> None:
        """kill -9 of its main process; its data stay."""
        self._container.get_wrapped_container().kill()


class RabbitmqContainer(Container):
    """A RabbitMQ broker; not started."""

    def __init__(self) -> None:
        port = free_port()
        uri = f"amqp://guest:guest@127.0.0.1:{port}//"
        super().__init__(RABBITMQ_IMAGE, 5672, "", uri, lambda: rabbitmq.answers(port), port)

    def open_host(self, name: str) -> str:
        """The URI of a fresh virtual host."""
        for words in rabbitmq.opening(name):
            self._control(*words)
        return f"{self.uri.removesuffix('/')}{name}"

    def close_host(self, name: str) -> None:
        """Drop a virtual host with its queues."""
        self._control("delete_vhost", name)

    def _control(self, *words: str) -> None:
        code, said = self._container.exec(["rabbitmqctl", *words])
        if code != 0:
            raise RuntimeError(f"rabbitmqctl {words[0]}: {said.decode(errors='replace')}")


def mongodb_container() -> Container:
    """A replica set of one member; not started."""
    port = free_port()
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return Container(MONGODB_IMAGE, 27017, "--replSet rs0 --bind_ip_all", uri, lambda: takes_writes(uri), port)


def takes_writes(uri: str) -> bool:
    """Whether a majority write succeeds; a member that belongs to no set yet is told to found one."""
    with MongoClient(uri, serverSelectionTimeoutMS=1000) as client:
        try:
            if not client.admin.command("hello").get("setName"):
                founder = {"_id": "rs0", "members": [{"_id": 0, "host": "127.0.0.1:27017"}]}
                client.admin.command("replSetInitiate", founder)
            probe = client.get_database("jishi_probe", write_concern=WriteConcern("majority", wtimeout=2000))
            probe["probe"].insert_one({})
            client.drop_database("jishi_probe")
        except PyMongoError:
            return False
    return True
