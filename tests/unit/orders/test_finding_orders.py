"""Finding orders on a real database: each filter, pages that neither skip nor repeat, walks that look no further than they must."""

from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import commands, queries
from services.orders.model.states import Known
from services.orders.store import finding
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House

MERCHANT = Known("merchant", "acc_1", "shop_1")
ADMIN = Known("admin", "stf_1")
OPENID = "oacc_of_shop_1"


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def order_id(placed):
    return placed.checkout["shares"][0]["order_id"]


def listed(house, actor=MERCHANT, **asked):
    """The ids of all pages."""
    seen, token = [], ""
    while True:
        whole = {"shop_id": "", "buyer_id": "", "page_size": 2, "page_token": token, **asked}
        found, token = queries.orders(house.store, actor, whole)
        seen += [each["order_id"] for each in found]
        if not token:
            return seen


def line(**changed):
    return {**making.reserved(), "external_id": "cup-1", **changed}


@pytest.fixture
def three(house):
    """An order that waits, one that is paid and one in dispute; each of another product, sku and telephone."""
    found = []
    for number in range(3):
        lines = line(product_id=f"p{number}", merchant_sku=f"M-{number}", external_id=f"cup-{number}")
        address = {**making.ADDRESS, "mobile": f"138 0013-800{number}"}
        found.append(order_id(house.place(f"k{number}", Catalog(lines), address=address)))
        if number:
            house.pay(house.place(f"k{number}", Catalog(lines), address=address), f"pay_p{number}", number)
    case = {"case_id": "case_1", "order_id": found[2], "checkout_id": "c", "kind": "refund_only"}
    house.hear("jishi.disputes.case.opened.v1", case, 9)
    return found


FILTERS = [
    ({}, [2, 1, 0]),
    ({"order_id": 1}, [1]),
    ({"states": ["paid"]}, [2, 1]),
    ({"states": ["paid", "awaiting_payment"]}, [2, 1, 0]),
    ({"state": "awaiting_payment", "states": ["closed"]}, [0]),
    ({"states": ["paid"], "in_dispute": False}, [1]),
    ({"in_dispute": True}, [2]),
    ({"in_dispute": True, "states": ["shipped"]}, []),
    ({"product_id": "p1"}, [1]),
    ({"product_id": "p1", "states": ["awaiting_payment"]}, []),
    ({"merchant_sku": "M-2"}, [2]),
    ({"external_id": "cup-0"}, [0]),
    ({"phone_tail": "8001"}, [1]),
    ({"phone_tail": "8001", "product_id": "p2"}, []),
    ({"openid": OPENID, "phone_tail": "8002"}, [2]),
    ({"openid": OPENID}, [2, 1, 0]),
    ({"openid": "o-nobody"}, []),
    ({"out_trade_no": "p1"}, [1]),
    ({"transaction_id": "42"}, [2, 1]),
    ({"transaction_id": "42", "out_trade_no": "p2"}, [2]),
]
"""What is asked, and which of the three it finds; of one order by its number."""


def test_each_filter_finds_what_it_names(house, three):
    for asked, found in FILTERS:
        said = {"order_id": three[1]} if "order_id" in asked else asked
        wanted = sorted(three[number] for number in found)
        assert sorted(listed(house, **said)) == wanted, asked
        assert sorted(listed(house, ADMIN, shop_id="shop_1", **said)) == wanted, asked
        assert listed(house, Known("merchant", "acc_2", "shop_2"), **said) == [], asked
        if not {"openid", "phone_tail", "merchant_sku", "external_id"} & set(said):
            assert sorted(listed(house, Known("buyer", making.BUYER), **said)) == wanted, asked
            assert listed(house, Known("buyer", "usr_2"), **said) == [], asked


def test_times_of_placing_payment_and_change_bound_a_list(house, three):
    now, hour = clock.business(), timedelta(hours=1)
    for name, all_of in (("created", three), ("updated", three), ("paid", three[1:])):
        assert sorted(listed(house, **{f"{name}_from": now - hour, f"{name}_to": now + hour})) == sorted(all_of)
        assert listed(house, **{f"{name}_from": now + hour}) == []
        assert listed(house, **{f"{name}_to": now - hour}) == []
    assert listed(house, paid_from=now - hour, product_id="p1") == [three[1]]
    assert listed(house, updated_from=now - hour, states=["awaiting_payment"]) == [three[0]]


def test_changes_come_oldest_first_and_what_changes_meanwhile_comes_again(house, three):
    since = house.store.order(three[0])["updated_at"]
    assert listed(house, updated_from=since) == three
    asked = {"shop_id": "", "buyer_id": "", "updated_from": since, "updated_to": since + timedelta(days=9)}
    found, token = queries.orders(house.store, MERCHANT, {**asked, "page_size": 2, "page_token": ""})
    commands.cancel(house.store, Cause("cmd:end"), MERCHANT, three[0], "缺货")
    rest, token = queries.orders(house.store, MERCHANT, {**asked, "page_size": 9, "page_token": token})
    assert [each["order_id"] for each in (*found, *rest)] == [*three, three[0]]


def test_orders_that_changed_in_one_moment_are_all_shown_once(house, three):
    moment = clock.business()
    house.store.orders.update_many({}, {"$set": {"updated_at": moment}})
    assert listed(house, updated_from=moment, page_size=1) == sorted(three)


def test_a_dispute_that_is_over_is_out_of_the_list(house, three):
    over = {"case_id": "case_1", "order_id": three[2], "checkout_id": "c", "outcome": "withdrawn", "refunded": 0}
    house.hear("jishi.disputes.case.closed.v1", over, 10)
    assert listed(house, in_dispute=True) == []
    assert house.store.order(three[2])["keys"][-2:] == ["trade:p2", "transaction:42"]


@pytest.mark.parametrize(
    ("actor", "asked", "field"),
    [
        (MERCHANT, {"phone_tail": "800"}, "phone_tail"),
        (MERCHANT, {"phone_tail": "八零零一"}, "phone_tail"),
        (MERCHANT, {"created_from": making.NOW, "created_to": making.NOW - timedelta(1)}, "created_to"),
        (MERCHANT, {"product_id": "x" * 201}, "product_id"),
        (MERCHANT, {"order_id": "1", "states": ["paid"]}, "order_id"),
        (Known("buyer", making.BUYER), {"phone_tail": "8001"}, "phone_tail"),
        (ADMIN, {"states": ["paid"]}, "shop_id"),
        (ADMIN, {"buyer_id": "usr_1", "merchant_sku": "M-1"}, "merchant_sku"),
    ],
)
def test_a_filter_that_cannot_be_is_named(house, actor, asked, field):
    with pytest.raises(Refusal) as caught:
        listed(house, actor, **asked)
    assert [each.field for each in caught.value.violations] == [field]


def test_whoever_knows_the_number_of_a_payment_on_the_platform_finds_its_orders(house, three):
    assert listed(house, ADMIN, out_trade_no="p2") == [three[2]]


# --------------------------------------------------------------------------------------------------------------------- walks


def rows(*positions):
    """A look into rows at these positions, and what was asked of it."""
    asked = []

    def look(low, high, most):
        asked.append((low, high))
        return [{"at": at} for at in sorted(positions, reverse=True) if low <= at < high][:most]

    return look, asked


def test_a_walk_back_looks_at_eight_times_as_much_until_its_page_is_full():
    look, asked = rows(9_990, 9_000, 100)
    walked = finding.backward(look, 0, 20_000, 2, ends=10_000, span=100)
    assert ([row["at"] for row in walked.rows], walked.edge) == ([9_990, 9_000], 2_700)
    assert asked == [(9_900, 20_000), (9_100, 9_900), (2_700, 9_100)]


def test_a_walk_back_ends_where_the_list_does():
    look, asked = rows(5, 4)
    walked = finding.backward(look, 3, 10, 9, ends=10, span=1)
    assert ([row["at"] for row in walked.rows], walked.edge) == ([5, 4], 3)
    assert asked[-1][0] == 3


def test_a_walk_that_took_long_stops_and_says_how_far_it_came(monkeypatch):
    monkeypatch.setattr(finding, "LONG_ENOUGH_S", -1.0)
    look, asked = rows(5)
    assert finding.backward(look, 0, 10_000, 9, ends=10_000, span=100) == finding.Walked([], 9_900, 800)
    assert len(asked) == 1
    assert finding.forward(look, 6, 10_000, 9, span=100) == finding.Walked([], 106, 800)


def test_lists_that_stop_early_go_on_where_they_stopped(house, three, monkeypatch):
    monkeypatch.setattr(finding, "LONG_ENOUGH_S", -1.0)
    assert listed(house) == three[::-1]
    assert listed(house, updated_from=house.store.order(three[0])["updated_at"]) == three
