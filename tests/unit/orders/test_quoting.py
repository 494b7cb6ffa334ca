"""Quotes: what an order would cost, and orders that keep to what their buyer saw."""

import pytest

from services.chassis.errors import Refusal
from services.orders.model import quoting
from services.orders.queries import quoting as queries
from tests.unit.orders import making
from tests.unit.orders.house import Accounts, Catalog, House, two_shops


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


class Prices(Catalog):
    """A catalog that also quotes; keeps what it was asked."""

    def quote(self, asked):
        self.asked = asked
        offers = [{"carrier_class": "express", "fee": 500, "chosen": True}]
        return self.lines, {line["shop_id"]: offers for line in self.lines}


def quote(prices, **changed):
    return queries.quote(prices, Accounts(), making.BUYER, {"lines": making.asked()["lines"], **changed})


def test_a_quote_is_what_the_order_will_cost_and_who_sells(house):
    told = quote(Prices(*two_shops().lines))
    assert [told[name] for name in quoting.SUMS] == [2 * 1999 + 2 * 700 + 1000, 2 * 1999 + 2 * 700, 0, 1000]
    assert [order["seller"]["identity"]["contact"] for order in told["orders"]] == ["020", "020"]
    assert [line["amount"] for line in told["orders"][0]["lines"]] == [3998]
    assert told["orders"][1]["carriers"] == [{"carrier_class": "express", "fee": 500, "chosen": True}]
    placed = house.place("k1", two_shops(), expected_total=told["amount"])
    assert placed.checkout["amount"] == told["amount"]


def test_an_order_that_would_cost_something_else_is_not_placed_and_holds_nothing(house):
    catalog = Catalog()
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            house.place("k1", catalog, expected_total=1)
        assert (caught.value.reason, caught.value.violations[0].field) == ("PRICE_CHANGED", "expected_total")
        assert caught.value.info == {"expected_total": "1", "total": "4698"}
    assert house.store.orders.count_documents({}) == 0
    (ended,) = house.checkouts()
    assert house.told(ended) == ["closed"], "what was reserved comes back"
    assert house.place("k2", expected_total=4698).checkout["amount"] == 4698


def test_the_place_of_the_address_and_the_chosen_carriers_go_to_catalog():
    chosen = [{"shop_id": "shop_1", "carrier_class": "ems"}]
    prices = Prices(making.reserved())
    quote(prices, address=making.ADDRESS, carriers=chosen)
    place = {"province": "广东省", "city": "广州市"}
    assert (prices.asked["destination"], prices.asked["carriers"]) == (place, chosen)
    quote(prices, destination=place)
    assert prices.asked["destination"] == place
    quote(prices, destination={"province": "甘肃省", "city": "天水市"})
    assert prices.asked["destination"] == {"province": "甘肃省", "city": ""}, "as placing charges it"
    quote(prices)
    assert "destination" not in prices.asked
    for name in ("address", "destination"):
        with pytest.raises(Refusal) as caught:
            quote(prices, **{name: {**making.ADDRESS, "province": "仙境"}})
        assert caught.value.violations[0].field == f"{name}.province"
    with pytest.raises(Refusal) as caught:
        quote(prices, carriers=[{"shop_id": "shop_1", "carrier_class": "drone"}])
    assert caught.value.violations[0].field == "carriers[0].carrier_class"


def test_a_basket_that_cannot_be_ordered_is_not_quoted_either():
    for lines, field in (([], "lines"), ([{"product_id": "", "sku_id": "", "quantity": 1}], "lines[0].product_id")):
        with pytest.raises(Refusal) as caught:
            quote(Prices(), lines=lines)
        assert caught.value.violations[0].field == field
    with pytest.raises(Refusal) as caught:
        queries.quote(Prices(), Accounts("suspended"), making.BUYER, making.asked())
    assert caught.value.reason == "NOT_FOR_SALE"
