"""Which backends the tests choose, for every answer Docker can give."""

import pytest

from tests.backends.choice import Broker, Database, Docker, brokers, databases, without_real_broker
from tests.backends.plugin import first_that_starts
from tests.backends.processes import StartFailedError

NO_CONTAINERS = [Docker.ABSENT, Docker.REFUSES]


@pytest.mark.parametrize("docker", list(Docker))
def test_a_given_uri_stands_alone(docker):
    given = {"AMQP_URI": "amqp://there", "MONGO_URI": "mongodb://there"}
    assert brokers(given, docker, server_installed=True) == (Broker.GIVEN,)
    assert databases(given, docker) == (Database.GIVEN,)


def test_docker_that_answers_comes_first_and_the_rest_stays_behind_it():
    assert brokers({}, Docker.ANSWERS, server_installed=True) == (Broker.CONTAINER, Broker.NODE, Broker.MEMORY)
    assert brokers({}, Docker.ANSWERS, server_installed=False) == (Broker.CONTAINER, Broker.MEMORY)
    assert databases({}, Docker.ANSWERS) == (Database.CONTAINER, Database.EMBEDDED)


@pytest.mark.parametrize("docker", NO_CONTAINERS)
def test_without_docker_an_installed_server_then_memory(docker):
    assert brokers({}, docker, server_installed=True) == (Broker.NODE, Broker.MEMORY)
    assert brokers({}, docker, server_installed=False) == (Broker.MEMORY,)
    assert databases({}, docker) == (Database.EMBEDDED,)


def test_an_empty_uri_is_none():
    assert brokers({"AMQP_URI": ""}, Docker.ABSENT, server_installed=False) == (Broker.MEMORY,)
    assert databases({"MONGO_URI": ""}, Docker.ABSENT) == (Database.EMBEDDED,)


def test_ci_insists_on_a_real_broker():
    assert without_real_broker({"CI": "true"}) == "fail"
    assert without_real_broker({}) == "skip"


class Candidate:
    uri = "test://"

    def __init__(self, *, starts):
        self.starts = starts
        self.stopped = False

    def start(self):
        if not self.starts:
            raise StartFailedError("no image")

    def stop(self):
        self.stopped = True

    def kill(self):
        raise AssertionError


def test_a_candidate_that_does_not_start_is_warned_about_and_stopped():
    refusing, answering = Candidate(starts=False), Candidate(starts=True)
    with pytest.warns(UserWarning, match="no image"):
        kind, chosen = first_that_starts({"container": lambda: refusing, "node": lambda: answering})
    assert (kind, chosen, refusing.stopped) == ("node", answering, True)


def test_the_last_candidate_fails_aloud():
    with pytest.raises(StartFailedError):
        first_that_starts({"node": lambda: Candidate(starts=False)})
