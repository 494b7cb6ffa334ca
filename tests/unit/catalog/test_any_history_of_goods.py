"""Whatever buyers, merchants and the clock do with a SKU, its stock, its sale windows and the limits of buyers agree after every step."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.catalog.commands import windows as commands
from services.catalog.model import stock
from services.chassis import clock
from services.chassis.errors import Refusal
from tests.examples import examples
from tests.unit.catalog.making import SHOP, product, sku

pytestmark = pytest.mark.timeout(300)
STEP = st.one_of(
    st.tuples(st.just("reserve"), st.sampled_from(["b1", "b2"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["pay", "close", "return"]), st.integers(0, 5)),
    st.tuples(st.just("open"), st.sampled_from(["flash", "presale"]), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("more"), st.integers(1, 5)),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("restock"), st.sampled_from([-2, 3])),
    st.tuples(st.just("wait"), st.sampled_from([5, 40, 65])),
)


class Goods:
    """One product with one SKU, and what was done with it."""

    def __init__(self, house, name):
        self.house, self.name = house, name
        house.upsert(product(name, skus=[sku("红", quantity=5)], buy_limit=6))
        self.line = house.line(1, name)
        self.checkouts, self.windows = [], []

    def reserve(self, buyer, quantity):
        checkout = f"{self.name}-c{len(self.checkouts)}"
        row = self.house.reserve({**self.line, "quantity": quantity}, checkout=checkout, buyer=buyer).document
        self.checkouts.append((checkout, quantity))
        line = row["lines"][0]
        assert line["price"] == (line["window"]["revision"] and 600 if "window" in line else 1000)
        assert ("ship_by" in line) == (not stock.summed([line]))

    def pay(self, number):
        self._tell(number, self.house.paid)

    def close(self, number):
        self._tell(number, self.house.closed)

    def _tell(self, number, tell, **more):
        if self.checkouts:
            checkout, quantity = self.checkouts[number % len(self.checkouts)]
            tell({**self.line, "quantity": quantity}, checkout=checkout, order=checkout, **more)

    def open(self, kind, quantity, limit):
        now = clock.business()
        said = {
            "kind": kind,
            "starts_at": None,
            "ends_at": now + timedelta(minutes=50),
            "buyer_limit": limit,
            "ship_by": now + timedelta(days=9) if kind == "presale" else None,
            "items": [{"sku_id": self.line["sku_id"], "price": 600, "quantity": quantity}],
        }
        product_id = self.line["product_id"]
        self.windows.append(commands.open_window(self.house.store, self.house.cause(), SHOP, product_id, said).document)

    def more(self, quantity):
        if self.windows:
            row = self.house.store.windows.find_one({"_id": self.windows[-1]["_id"]})
            said = {**row, "items": [{**row["items"][0], "quantity": quantity}]}
            etag = str(row["version"])
            commands.update_window(self.house.store, self.house.cause(), SHOP, row["_id"], etag, said)

    def cancel(self):
        if self.windows:
            commands.cancel_window(self.house.store, self.house.cause(), SHOP, self.windows[-1]["_id"])

    def restock(self, delta):
        self.house.restock((self.line["sku_id"], delta, ""))

    def wait(self, minutes):
        self.house.later(minutes=minutes)

    def act(self, name, *how):
        if name == "return":
            self._tell(*how, self.house.closed, was_paid=True)
        else:
            getattr(self, name)(*how)


def agree(house):
    """Stock and windows add up, and so do the counts of buyers."""
    wanted = {}
    for row in house.store.reservations.find({}):
        kept = [shop for shop, part in row["parts"].items() if part in (stock.HELD, stock.SOLD)]
        for key, quantity in stock.limited(stock.lines_of(row, kept)).items():
            counted = stock.purchase_id(key, row["buyer_id"])
            wanted[counted] = wanted.get(counted, 0) + quantity
    found = {row["_id"]: row["quantity"] for row in house.store.purchases.find({}) if row["quantity"]}
    assert found == wanted
    assert house.sound()


def test_stock_windows_and_limits_agree_after_every_step(house):
    numbers = itertools.count()

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.lists(STEP, min_size=4, max_size=14))
    def history(steps):
        for name in (
            "reservations",
            "purchases",
            "stock",
            "movements",
            "chunks",
            "window_units",
            "windows",
            "products",
            "names",
        ):
            house.database[name].delete_many({})
        goods = Goods(house, f"p{next(numbers)}")
        for step in steps:
            try:
                goods.act(*step)
            except Refusal:
                continue
            agree(house)
        house.intake.sweep()
        agree(house)

    history()
