"""What a checkout may hold, what it costs, and what is frozen in its orders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Refusal
from services.orders.model import amounts, checkout, delivery
from tests.unit.orders import making

LINES = st.lists(
    st.builds(
        making.reserved,
        sku=st.text("abc", min_size=1, max_size=3),
        shop=st.sampled_from(["shop_1", "shop_2", "shop_3"]),
        price=st.integers(1, 100_000),
        quantity=st.integers(1, 20),
        freight=st.integers(0, 3000),
    ),
    min_size=1,
    max_size=8,
)


@given(LINES, st.lists(st.integers(0, 5000), max_size=3))
def test_fen_always_add_up(lines, wanted):
    goods = sum(line["price"] * line["quantity"] for line in lines)
    left, discounts = goods, []
    for number, amount in enumerate(wanted):
        taken = min(amount, left)
        left -= taken
        discounts.append({"kind": "coupon", "ref": str(number), "amount": taken, "payer": "platform"})
    orders = making.children(*lines, discounts=discounts)
    assert sum(order["goods_amount"] for order in orders) == goods
    assert sum(order["discount"] for order in orders) == goods - left
    assert sum(order["freight"] for order in orders) == sum(line["freight_fee"] for line in lines)
    for order in orders:
        assert order["amount"] == order["goods_amount"] - order["discount"] + order["freight"]
        assert sum(line["amount"] for line in order["lines"]) == order["goods_amount"] - order["discount"]
        assert sum(part["amount"] for part in order["discounts"]) == order["discount"]
        assert all(line["amount"] >= 0 for line in order["lines"])
    for number, discount in enumerate(discounts):
        parts = [part["amount"] for order in orders for part in order["discounts"] if part["ref"] == str(number)]
        assert sum(parts) == discount["amount"]
    placed = checkout.placed(orders)
    assert placed["amount"] == sum(order["amount"] for order in orders)
    assert [share["order_id"] for share in placed["shares"]] == [order["_id"] for order in orders]


def test_a_discount_beyond_the_goods_is_a_mistake():
    with pytest.raises(ValueError, match="exceed"):
        amounts.spread([{"kind": "x", "ref": "", "amount": 11, "payer": "merchant"}], [4, 6])


def test_one_order_a_shop_in_the_order_of_the_lines_with_what_the_buyer_saw():
    lines = [
        making.reserved(shop="shop_2"),
        making.reserved(sku="s2", shop="shop_1"),
        making.reserved(sku="s3", shop="shop_2"),
    ]
    first, second = making.children(*lines)
    assert (first["shop_id"], second["shop_id"]) == ("shop_2", "shop_1")
    assert [line["sku_id"] for line in first["lines"]] == ["s1", "s3"]
    assert first["seller"]["identity"]["name"] == "某某商贸有限公司"
    assert first["openid"] == "o-acc_of_shop_2"
    assert first["lines"][0]["product_version"] == 3
    assert first["address"] == making.ADDRESS
    assert first["commission_bp"] == 200


def test_lines_of_one_sku_are_added_up():
    found = checkout.opened(
        "c", "u", making.asked(("p", "s", 2), ("q", "s", 1), ("p", "s", 3)), making.TERMS, making.NOW
    )
    assert [(line["product_id"], line["quantity"]) for line in found["lines"]] == [("p", 5), ("q", 1)]


def refusal_of(**changed):
    with pytest.raises(Refusal) as caught:
        checkout.opened("c", "u", making.asked(**changed), making.TERMS, making.NOW)
    return caught.value


def lines_of(count, quantity=1):
    return [{"product_id": f"p{n}", "sku_id": "", "quantity": quantity} for n in range(count)]


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"lines": []}, ["lines"]),
        ({"lines": lines_of(51)}, ["lines"]),
        ({"lines": lines_of(2, quantity=0)}, ["lines[0].quantity", "lines[1].quantity"]),
        ({"lines": [{"product_id": "", "sku_id": "", "quantity": 1000}]}, ["lines[0].product_id", "lines[0].quantity"]),
        ({"lines": lines_of(1, quantity=600) * 2}, ["lines"]),
        ({"address": None}, ["address"]),
        ({"address": {**making.ADDRESS, "mobile": "call me", "city": " "}}, ["address.city", "address.mobile"]),
        ({"address": {**making.ADDRESS, "address": "x" * 201}}, ["address.address"]),
        ({"notes": "x" * 501}, ["notes"]),
    ],
)
def test_every_wrong_field_is_named(changed, fields):
    refusal = refusal_of(**changed)
    assert refusal.reason == "INVALID_ARGUMENT"
    assert [violation.field for violation in refusal.violations] == fields


def test_fifty_lines_of_999_and_an_address_without_zone_are_fine():
    address = {**making.ADDRESS, "zone": ""}
    checkout.opened("c", "u", making.asked(lines=lines_of(50, 999), address=address), making.TERMS, making.NOW)


def test_a_shop_that_is_not_open_or_two_currencies_cannot_be_sold():
    assert checkout.unsellable(making.frozen()) is None
    assert (
        checkout.unsellable(making.frozen(making.reserved(), states={"shop_1": "suspended"})).reason == "NOT_FOR_SALE"
    )
    mixed = making.frozen(making.reserved(), making.reserved(sku="s2", shop="shop_2", currency="USD"))
    assert checkout.unsellable(mixed).reason == "CONDITION_UNMET"
    unknown = checkout.Frozen([making.reserved()], {}, {})
    assert checkout.unsellable(unknown).info["state"] == "unknown"


@pytest.mark.parametrize("company", list(delivery.CARRIERS))
def test_the_ten_carriers(company):
    asked = {"delivery_company": company, "delivery_track_no": "1900659372473", "is_others": False}
    assert delivery.parcel(asked) == {
        "need_delivery": True,
        "company": company,
        "company_name": delivery.CARRIERS[company],
        "track_no": "1900659372473",
    }
    assert len(delivery.CARRIERS) == 10


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"delivery_company": "059yunda", "delivery_track_no": "12345"}, "delivery_company"),
        ({"delivery_company": "", "delivery_track_no": "12345", "is_others": True}, "delivery_company"),
        ({"delivery_company": "003shunfeng", "delivery_track_no": ""}, "delivery_track_no"),
        ({"delivery_company": "003shunfeng", "delivery_track_no": "no spaces"}, "delivery_track_no"),
    ],
)
def test_a_parcel_needs_a_known_carrier_and_a_number(asked, field):
    with pytest.raises(Refusal) as caught:
        delivery.parcel({"is_others": False, **asked})
    assert caught.value.violations[0].field == field


def test_other_carriers_and_nothing_to_send():
    other = {"delivery_company": "德邦", "delivery_track_no": "DB-1234", "is_others": True}
    assert delivery.parcel(other)["company_name"] == "德邦"
    nothing = {"need_delivery": False, "delivery_company": "", "delivery_track_no": "", "is_others": False}
    assert delivery.parcel(nothing)["need_delivery"] is False
