"""One running stack for all journeys of a session; every test makes its own shops and buyers in it."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from services.cli import world
from services.cli.api import Api
from services.cli.stack import Options, Stack
from services.cli.world import Merchant
from tests.backends.pictures import PictureServer


@dataclass(frozen=True)
class Shop:
    """An open shop: the API as its merchant, and who it is."""

    api: Api
    merchant: Merchant

    @property
    def shop_id(self) -> str:
        return self.merchant.shop_id

    @property
    def account_id(self) -> str:
        return self.merchant.account_id


@dataclass(frozen=True)
class Person:
    """A buyer: the API as they see it, and who they are."""

    api: Api
    user_id: str
    openids: dict[str, str]


@pytest.fixture(scope="session")
def pictures() -> Iterator[PictureServer]:
    """A stranger's picture server, from which the stack may fetch though it is on this machine."""
    server = PictureServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def stack(mongo_uri, broker, database_is_embedded, pictures, tmp_path_factory) -> Iterator[Stack]:
    """The stack on the session's backends, with a database prefix and a virtual host of its own."""
    name = f"j{secrets.token_hex(4)}"
    amqp_uri = broker.open_host(name)
    options = Options(
        tmp_path_factory.mktemp("stack"),
        copies=2,
        mongo_uri=mongo_uri,
        amqp_uri=amqp_uri,
        environment={"JISHI_DB_PREFIX": f"{name}_", "JISHI_FETCH_FROM": json.dumps([pictures.authority])},
    )
    running = Stack(options)
    running.start()
    yield running
    running.stop()
    broker.close_host(name)
    if not database_is_embedded:  # the embedded one goes with its folder; dropping there takes a minute
        with running.connect() as client:
            for database in client.list_database_names():
                if database.startswith(f"{name}_"):
                    client.drop_database(database)


@pytest.fixture(scope="session")
def api(stack) -> Iterator[Api]:
    """The API as anybody."""
    anybody = Api(stack.url)
    yield anybody
    anybody.close()


@pytest.fixture(scope="session")
def admin(stack, api) -> Api:
    """The API as the first admin."""
    return api.as_caller(world.first_admin(api, stack.bootstrap_secret))


@pytest.fixture(scope="session")
def arbitrator(admin) -> Api:
    """The API as an arbitrator."""
    return admin.as_caller(world.staff(admin, "arbitrator", "arbitrator"))


@pytest.fixture(scope="session")
def auditor(admin) -> Api:
    """The API as an auditor."""
    return admin.as_caller(world.staff(admin, "auditor", "auditor"))


@pytest.fixture
def open_shop(admin) -> Callable[..., Shop]:
    """``open_shop(name)``: a further open shop on an account of its own."""

    def make(name: str = "小店") -> Shop:
        merchant = world.open_shop(admin, name)
        return Shop(admin.as_caller(merchant.token), merchant)

    return make


@pytest.fixture
def shop(open_shop) -> Shop:
    """The test's own open shop."""
    return open_shop()


@pytest.fixture
def new_buyer(api) -> Callable[..., Person]:
    """``new_buyer(name, *account_ids)``: a further buyer who knows their openids at the accounts."""

    def make(name: str = "小明", *account_ids: str) -> Person:
        made = world.buyer(api, name, *account_ids)
        return Person(api.as_caller(made.token), made.user_id, made.openids)

    return make


@pytest.fixture
def buyer(new_buyer) -> Person:
    """The test's own buyer."""
    return new_buyer()
