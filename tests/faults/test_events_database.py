"""The database goes away under a worker and comes back: nothing is lost, nothing is dead-lettered, nobody has to help."""

import pytest
from pymongo.errors import PyMongoError

from services.chassis import clock, commit, mongo
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.settings import Settings
from tests.backends.plugin import World
from tests.backends.processes import wait_until
from tests.backends.secantus import SecantusServer
from tests.contract import worker_toy as toy
from tests.contract.worker_stage import Stage


@pytest.fixture
def server(tmp_path):
    """A database of this test's own, because it is killed."""
    server = SecantusServer(tmp_path / "database")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kind():
    return "memory"


@pytest.fixture
def stage(request, kind, server, tmp_path):
    uri = "memory://" if kind == "memory" else request.getfixturevalue("amqp_uri")
    environment = {
        "MONGO_URI": server.uri,
        "AMQP_URI": uri,
        "JISHI_DB_PREFIX": f"{tmp_path.name}_"[-30:],
        "JISHI_EMBEDDED": "true",
        "JISHI_SANDBOX": "true",
        "JISHI_DATA_DIR": str(tmp_path / "data"),
    }
    own = Settings(
        mongo_uri=server.uri, amqp_uri=uri, db_prefix=environment["JISHI_DB_PREFIX"], embedded=True, sandbox=True
    )
    client = mongo.connect(own, timeout_s=1)
    stage = Stage(World(environment["JISHI_DB_PREFIX"], environment, own, client), tmp_path)
    yield stage
    stage.end()
    client.close()


def told(stage, subject: str) -> bool:
    """A command whose answer may be lost with the database: repeated under the same key until it is answered."""
    try:
        stage.open(subject)
        stage.tell(subject)
    except PyMongoError:
        return False
    return True


@pytest.mark.parametrize("kind", ["memory", pytest.param("rabbitmq", marks=pytest.mark.needs_rabbitmq)])
def test_kill_9_of_the_database_in_the_middle_of_traffic(stage, server):
    stage.worker()
    stage.until_quiet()
    for number in range(10):
        stage.open(str(number))
        stage.tell(str(number))
    server.kill()
    assert not told(stage, "10")
    server.start()
    for number in range(10, 20):
        wait_until(lambda number=number: told(stage, str(number)), "the database answers")
    stage.until_quiet()
    assert stage.refunded() == {str(number): 1 for number in range(20)}
    assert stage.total() == 20
    assert stage.payments["handled"].count_documents({"state": {"$ne": "done"}}) == 0


def test_an_outbox_filled_by_hand_before_any_worker_ran_is_carried(stage):
    fact = Fact(toy.REJECTED, {"order_id": "1", "amount": 1, "reason": ""})
    for number in range(3):
        thing = {"_id": str(number), "refunded": 0}
        facts = (Fact(toy.REJECTED, {**fact.data, "order_id": str(number)}),)
        commit.create(stage.orders["things"], thing, Cause(f"cmd:{number}"), facts=facts)
        stage.open(str(number))
    assert clock.read_offset(stage.shared) != 0
    stage.worker()
    stage.until_quiet()
    assert stage.refunded() == {"0": 1, "1": 1, "2": 1}
