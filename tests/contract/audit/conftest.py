"""One standing installation with a story behind it, for tests that spoil one thing in it and put it back."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.chassis import clock, mongo
from services.chassis.settings import Settings
from services.cli.audit.report import Report
from services.cli.audit.run import audit
from services.payments.store.posting import collected
from tests.contract.audit.house import House


@pytest.fixture
def house(mongo_uri, database_is_embedded, tmp_path) -> Iterator[House]:
    """An empty installation."""
    yield from _house(mongo_uri, database_is_embedded, tmp_path)


@pytest.fixture(scope="module")
def standing(mongo_uri, database_is_embedded, tmp_path_factory) -> Iterator["Standing"]:
    """An installation with a story behind it."""
    for house in _house(mongo_uri, database_is_embedded, tmp_path_factory.mktemp("house")):
        yield Standing(house)


def _house(mongo_uri, embedded, folder) -> Iterator[House]:
    clock.reset()
    prefix = f"t{secrets.token_hex(4)}_"
    settings = Settings(mongo_uri=mongo_uri, db_prefix=prefix, embedded=embedded, sandbox=True, data_dir=folder)
    with mongo.connect(settings) as client:
        yield House(client, settings)
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)
    clock.reset()


class Standing:
    """A house in which everything has happened once."""

    def __init__(self, house: House) -> None:
        self.house = house
        for number in (1, 2):
            house.open_shop(f"s{number}", f"a{number}")
        house.open_shop("s3", "a3", "subscription")
        tea, cup = house.sell("s1", "茶", (5000, 20), (900, 20), buy_limit=9)
        (book,) = house.sell("s2", "书", (3000, 10))
        house.sell("s2", "书", (3000, 12))  # said anew: a movement in a chunk
        house.restock("s1", tea[1], 5)
        house.deposit("s1", 2000)
        (lamp,) = house.sell("s1", "灯", (800, 9))
        house.cheapen("s1", lamp, 500, 3)
        house.paid("b1", (lamp, 2))
        self.skus = [tea[1], cup[1], book[1]]
        self.two_shops, _ = house.place("b1", (tea, 2), (book, 1))
        house.pay(self.two_shops, "b1")
        house.place("b2", (tea, 1))  # never paid: closed by its timer
        self.completed = house.paid("b2", (tea, 1), (cup, 1))
        house.complete(self.completed)
        self.cancelled = house.paid("b3", (book, 2))
        house.cancel(self.cancelled)
        self.closed = self._closed_unpaid(tea)
        self.twice = self._paid_twice(cup)
        self.disputed = house.paid("b4", (tea, 1))
        self.case = house.open_case(self.disputed, 1500)
        house.accept(self.disputed, self.case)
        self.settled_case = house.open_case(self.completed, 5900)  # more than the shop has: the deposit is held too
        house.accept(self.completed, self.settled_case)
        self.open_case = house.open_case(house.paid("b5", (book, 1)), 3000)
        house.follow("a1", 30)
        house.follow("a3", 5)
        house.tag("a1", 7)
        self.job = house.send("a1")
        self.subscription_job = house.send("a3")
        house.pass_time(days=1)
        house.follow("a1", 10, "new")
        house.send("a1")
        self.awaiting, _ = house.place("b8", (cup, 1))
        house.attempt(self.awaiting, "b8")
        self.shipped = house.paid("b9", (tea, 1))
        house.ship(self.shipped["_id"], "s1")
        (dinner,) = house.sell("s1", "晚餐", (700, 5), fulfilment="voucher")
        house.redeem(house.paid("b10", (dinner, 2)), 1)
        house.give_back(house.paid("b11", (book, 2)), 1)
        house.complete(house.paid("b11", (book, 1)))
        house.to_the_bank("s2", 1000, "SUCCESS")
        house.to_the_bank("s2", 500, "FAILED")
        house.settle()
        house.pass_time(minutes=2)  # what looks after orders being placed has its turn now, not while tests look
        house.settle()
        house.seal()

    def _closed_unpaid(self, sku) -> Any:
        _, placed = self.house.place("b6", (sku, 1))
        self.house.cancel(placed[0])
        return placed[0]

    def _paid_twice(self, sku) -> str:
        checkout_id, _ = self.house.place("b7", (sku, 1))
        successes = [self.house.attempt(checkout_id, "b7", method) for method in ("native", "jsapi")]
        for success in successes:
            collected(self.house.payments, success)
        self.house.settle()
        return checkout_id

    def audit(self, **given: Any) -> Report:
        return audit(self.house.settings, **given)

    def failing(self) -> list[str]:
        """The names of the checks that find something wrong now."""
        return [checked.check for checked in self.audit().checks if checked.wrong]

    def rows(self, name: str) -> Any:
        """``service.collection``."""
        service, collection = name.split(".")
        return self.house.database(service)[collection]

    @contextmanager
    def changed(self, name: str, query: dict[str, Any], update: dict[str, Any]) -> Iterator[None]:
        """One document of ``service.collection`` is another while this lasts."""
        rows = self.rows(name)
        document = rows.find_one(query)
        assert document is not None, f"nothing to change: {name} {query}"
        assert rows.update_one({"_id": document["_id"]}, update).modified_count == 1
        try:
            yield
        finally:
            rows.replace_one({"_id": document["_id"]}, document)

    @contextmanager
    def lost(self, name: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One document is not there while this lasts."""
        rows = self.rows(name)
        document = rows.find_one(query)
        assert document is not None, f"nothing to lose: {name} {query}"
        rows.delete_one({"_id": document["_id"]})
        try:
            yield document
        finally:
            rows.insert_one(document)

    @contextmanager
    def invented(self, name: str, document: dict[str, Any]) -> Iterator[None]:
        """One document more is there while this lasts."""
        rows = self.rows(name)
        rows.insert_one(document)
        try:
            yield
        finally:
            rows.delete_one({"_id": document["_id"]})
