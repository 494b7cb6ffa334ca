"""Views through a real gateway before a real catalog: told in batches, at a graceful stop too, and once, whatever is away meanwhile."""

import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from services.catalog.server import SERVER
from services.chassis import rpc
from services.chassis.errors import Refusal
from services.chassis.rpc.contracts import methods_of
from services.chassis.tokens import Signer
from services.gateway import views
from services.gateway.app import Gateway
from tests.backends.processes import free_port, wait_until
from tests.unit.catalog.making import SHOP, House, product


class Town:
    """A catalog with one product, on a port that stays the same, and its gateway."""

    def __init__(self, world):
        address = f"127.0.0.1:{free_port()}"
        self.settings = world.settings.model_copy(update={"listen": {"catalog": address}})
        self.house = House(world)
        self.house.upsert(product())
        self.page = f"/v1/products/{self.house.product()['_id']}"
        self.servers = None

    def open(self):
        self.servers = rpc.start([SERVER], self.settings)
        wait_until(lambda: self.servers.ready, "the catalog to be ready")

    def close(self):
        if self.servers is not None:
            self.servers.stop(1)
            self.servers = None

    @contextmanager
    def gateway(self):
        """A gateway that is stopped gracefully at the end."""
        app = Gateway(self.settings, methods_of("catalog").values(), ["catalog"])
        port = free_port()
        config = uvicorn.Config(app, port=port, loop="uvloop", http="httptools", ws="none", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_until(lambda: server.started, "the gateway to listen")
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    def batches(self):
        """What the batches told, in order: (channel, product views, number of visitors) each."""
        return [
            [
                (row["channel"], row.get("product_views", 0), len(row.get("visitors", ())))
                for row in event["data"]["views"]
            ]
            for event in self.house.told("view_batches")
        ]

    def total(self):
        return sum(row[1] for batch in self.batches() for row in batch)


@pytest.fixture
def town(memory_world):
    found = Town(memory_world)
    found.open()
    yield found
    found.close()
    found.house.client.close()


def test_what_was_seen_is_told_at_a_graceful_stop(town, monkeypatch):
    monkeypatch.setattr(views, "EVERY_S", 600.0)
    with town.gateway() as web:
        for visitor in ("a", "a", "b"):
            assert web.get(town.page, params={"channel": "menu", "visitor": visitor}).status_code == 200
        assert town.batches() == [], "a read writes nothing"
    assert town.batches() == [[("menu", 3, 2)]]


def test_many_views_are_told_before_the_second_is_over(town, monkeypatch):
    monkeypatch.setattr(views, "EVERY_S", 600.0)
    monkeypatch.setattr(views, "FULL", 4)
    with town.gateway() as web:
        for _ in range(9):
            web.get(town.page)
        wait_until(lambda: town.total() >= 8, "the full batches to be told")
    sizes = [sum(row[1] for row in batch) for batch in town.batches()]
    assert (sum(sizes), max(sizes)) == (9, 4)


def test_views_wait_for_a_catalog_that_is_away_and_are_told_once(town, monkeypatch):
    monkeypatch.setattr(views, "EVERY_S", 600.0)
    with town.gateway() as web:
        web.get(town.page)
        town.close()
        monkeypatch.setattr(views, "FULL", 1)
        town.open()
        wait_until(lambda: web.get(town.page).status_code == 200, "the catalog to answer again")
        wait_until(lambda: town.total() >= 2, "the views to be told")
    keys = [row["created_by"] for row in town.house.store.view_batches.find({})]
    assert len(set(keys)) == len(keys)


def test_a_merchant_a_refusal_a_head_and_a_next_page_are_no_views(town, monkeypatch):
    monkeypatch.setattr(views, "EVERY_S", 600.0)
    merchant = Signer(town.settings, "accounts").mint("merchant", "a", lifetime_s=60, shop_id=SHOP).text
    buyer = Signer(town.settings, "accounts").mint("buyer", "u_1", lifetime_s=60).text
    with town.gateway() as web:
        assert web.get(town.page, headers={"Authorization": f"Bearer {merchant}"}).status_code == 200
        assert web.get(f"/v1/products/{'p' * 28}").status_code == 404
        assert web.get(town.page, headers={"Authorization": "Bearer forged"}).status_code == 401
        assert web.head(town.page).status_code == 200
        for channel in ("menu", "menu", "x" * 33, ""):
            params = {"channel": channel} if channel else {}
            assert web.get(town.page, params=params, headers={"Authorization": f"Bearer {buyer}"}).status_code == 200
    assert sorted(row for batch in town.batches() for row in batch) == [
        ("direct", 1, 1),
        ("menu", 2, 1),
        ("other", 1, 1),
    ]


def test_nobody_but_the_gateway_records_views(town):
    request = methods_of("catalog")["RecordViews"].request()
    request.begin_time.GetCurrentTime()
    request.seen.add(shop_id=SHOP, product_views=1)
    address = town.settings.listen["catalog"]
    for token in ("", Signer(town.settings, "orders").own()):
        stub = rpc.Stub(address, lambda token=token: token, lambda: methods_of("catalog"), timeout_s=10)
        with pytest.raises(Refusal) as caught:
            stub.call("RecordViews", request, methods_of("catalog")["RecordViews"].response, key="k")
        stub.close()
        assert caught.value.reason in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    assert town.batches() == []
