"""What seldom happens but is right: the audit finds nothing wrong with it."""

import pytest

from services.catalog.reactions import expire
from services.chassis import clock
from services.cli.audit.run import audit
from services.payments.store.posting import collected
from tests.contract.audit.house import openid


@pytest.fixture
def shop(house):
    """A house with one shop that sells one thing."""
    house.open_shop("s1", "a1")
    (house.tea,) = house.sell("s1", "茶", (5000, 2))
    yield house
    found = audit(house.settings).violations
    assert found == []


def test_money_that_came_when_the_goods_were_gone(shop):
    checkout_id, (order,) = shop.place("b1", (shop.tea, 2))
    reservation = shop.catalog.reservations.find_one({"_id": checkout_id})
    expire(shop.database("catalog"), reservation, clock.business(), shop.cause())  # the backstop, before its time
    shop.paid("b2", (shop.tea, 1))
    shop.pay(checkout_id, "b1")
    closed = shop.orders.order(order["_id"])
    assert (closed["state"], closed["close_reason"], closed["refunded"]) == ("closed", "out_of_stock", 10000)


def test_a_presale_that_is_missed_goes_back_by_itself(shop):
    (lamp,) = shop.sell("s1", "灯", (1000, 0))
    shop.presell("s1", lamp, 5, days=20)
    missed, sent = shop.paid("b1", (lamp, 2)), shop.paid("b2", (lamp, 1))
    disputed = shop.paid("b3", (lamp, 1))
    shop.pass_time(days=20)
    assert shop.orders.order(missed["_id"])["late_shipment"]
    shop.ship(sent["_id"], "s1")
    shop.pass_time(days=2, hours=23)
    shop.open_case(disputed, 100)
    shop.pass_time(hours=2)
    closed = shop.orders.order(missed["_id"])
    assert (closed["state"], closed["close_reason"], closed["refunded"]) == ("closed", "presale_missed", 1800)
    assert shop.orders.order(sent["_id"])["state"] == "shipped"
    assert shop.orders.order(disputed["_id"])["state"] == "paid", "a case decides about it"


def test_units_come_back_once_whatever_becomes_of_their_order(shop):
    (cup,) = shop.sell("s1", "杯", (1000, 20), buy_limit=9)
    (lamp,) = shop.sell("s1", "灯", (800, 9))
    shop.cheapen("s1", lamp, 500, 6)

    def stock():
        return shop.catalog.stock.find_one({"_id": cup[1]})["available"]

    cancelled = shop.paid("b1", (cup, 3))
    shop.give_back(cancelled, 1)
    shop.give_back(cancelled, 1, restock=False)
    assert stock() == 18
    shop.cancel(cancelled)
    assert stock() == 19, "one was broken in the warehouse"
    rest = shop.paid("b2", (cup, 3))
    shop.ship(rest["_id"], "s1", 2)
    shop.give_back(rest, 1)
    assert shop.orders.order(rest["_id"])["state"] == "shipped"
    shop.give_back(rest, 1, restock=True)
    assert stock() == 18
    nothing = shop.paid("b3", (cup, 2), (lamp, 1))
    shop.give_back(nothing, 2)
    shop.cancel(nothing)
    partly = shop.paid("b4", (lamp, 3))
    shop.ship(partly["_id"], "s1", 1)
    shop.accept(partly, shop.open_case(partly, 1500))
    assert shop.orders.order(partly["_id"])["state"] == "closed"
    assert shop.catalog.stock.find_one({"_id": lamp[1]})["available"] == 8
    void = shop.paid("b5", (cup, 1))
    shop.give_back(void, 1)
    assert (shop.orders.order(void["_id"])["state"], stock()) == ("closed", 18)


def test_vouchers_that_a_ruling_gave_back(shop):
    (dinner,) = shop.sell("s1", "晚餐", (700, 5), fulfilment="voucher")
    order = shop.paid("b1", (dinner, 3))
    shop.redeem(order, 3)
    case_id = shop.open_case(order, 1000)
    shop.rule(order, case_id, 750, "merchant")
    shop.pass_time(days=20)
    assert shop.catalog.stock.find_one({"_id": dinner[1]})["available"] == 3
    shop.redeem(order, 1)
    shop.pass_time(hours=1)
    assert shop.orders.order(order["_id"])["state"] == "completed"


def test_a_late_payment_is_sent_back(shop):
    checkout_id, _ = shop.place("b1", (shop.tea, 1))
    success = shop.attempt(checkout_id, "b1")
    shop.pass_time(hours=1)
    collected(shop.payments, success)
    shop.settle()
    assert [row["cause"] for row in shop.payments.refunds.find()] == ["late"]


def test_a_price_that_payments_hears_of_when_it_was_paid(shop):
    shop.open_shop("s2", "a2")
    (book,) = shop.sell("s2", "书", (3000, 5))
    checkout_id, (tea, other) = shop.place("b1", (shop.tea, 1), (book, 1))
    success = shop.attempt(checkout_id, "b1")
    in_flight = shop.attempt(checkout_id, "b1", "jsapi")
    shop.change_price(tea, 4500)
    collected(shop.payments, success)
    shop.settle()
    assert [shop.orders.order(one["_id"])["state"] for one in (tea, other)] == ["awaiting_payment", "paid"]
    collected(shop.payments, in_flight)
    shop.complete(other)
    again = shop.attempt(checkout_id, "b1")
    assert again.amount == 4500
    collected(shop.payments, again)
    shop.settle()
    assert shop.orders.order(tea["_id"])["state"] == "paid"
    shop.cancel(tea)
    back = [(row["cause"], row["amount"]) for row in shop.payments.refunds.find().sort("amount", 1)]
    assert back == [("cancelled", 4500), ("rejected", 5000), ("repriced", 8000)]


def test_a_price_that_was_changed_and_is_never_paid(shop):
    checkout_id, (tea,) = shop.place("b1", (shop.tea, 1))
    success = shop.attempt(checkout_id, "b1")
    shop.change_price(tea, 4500)
    collected(shop.payments, success)
    shop.settle()
    shop.pass_time(hours=1)
    assert shop.orders.order(tea["_id"])["close_reason"] == "timeout"
    assert shop.payments.payable(checkout_id)["state"] == "closed"


def test_a_share_whose_order_was_closed_before_the_payment(shop):
    shop.open_shop("s2", "a2")
    (book,) = shop.sell("s2", "书", (3000, 5))
    checkout_id, orders = shop.place("b1", (shop.tea, 1), (book, 1))
    success = shop.attempt(checkout_id, "b1")
    shop.cancel(orders[0])
    collected(shop.payments, success)
    shop.settle()
    assert [row["cause"] for row in shop.payments.refunds.find()] == ["rejected"]
    assert {order["state"] for order in shop.orders.orders_of(checkout_id)} == {"closed", "paid"}


def test_a_ruling_that_the_platform_pays_leaves_the_escrow_to_the_shop(shop):
    order = shop.paid("b1", (shop.tea, 1))
    case_id = shop.open_case(order, 2000)
    shop.rule(order, case_id, 1500, "platform")
    assert audit(shop.settings).violations == []
    shop.complete(order)


def test_a_shop_that_cannot_pay_owes_it_and_the_next_sale_pays(shop):
    order = shop.paid("b1", (shop.tea, 1))
    shop.complete(order)
    case_id = shop.open_case(order, 5000)  # the shop has less: its commission is gone
    shop.accept(order, case_id)
    assert shop.payments.shop("s1")["receivable"] > 0
    assert audit(shop.settings).violations == []
    shop.complete(shop.paid("b2", (shop.tea, 1)))
    assert shop.payments.shop("s1")["receivable"] == 0


def test_a_case_that_was_withdrawn_after_settlement_and_one_that_met_it(shop):
    order = shop.paid("b1", (shop.tea, 1))
    shop.complete(order)
    shop.withdraw(order, shop.open_case(order, 1000))
    other = shop.paid("b2", (shop.tea, 1))
    shop.ship(other["_id"], "s1")
    case_id = shop.open_case(other, 5000)
    shop.rule(other, case_id, 700, "merchant")
    assert not shop.orders.order(other["_id"])["in_dispute"]


def test_followers_who_left_between_admission_and_delivery_are_errors(shop):
    from services.broadcast.commands import following, sending

    shop.follow("a1", 20)
    asked = {"to_all": True, "tag_id": 0, "content": {"text": "你好"}, "clientmsgid": ""}
    job = sending.send(shop.broadcast, shop.cause(), "a1", asked).document
    following.bulk_unfollow(shop.broadcast, shop.cause(), "a1", [openid(1), openid(2)], mute=False)
    following.bulk_unfollow(shop.broadcast, shop.cause(), "a1", [openid(3), openid(4)], mute=True)
    following.bulk_unmute(shop.broadcast, shop.cause(), "a1", [openid(4), openid(5)])
    shop.settle()
    sent = shop.broadcast.jobs.find_one({"_id": job["_id"]})
    assert (sent["state"], sent["sent_count"], sent["error_count"]) == ("sent", 18, 2)


def test_months_that_are_over(shop):
    shop.follow("a1", 20)
    for _ in range(4):
        shop.send("a1")
        shop.pass_time(days=33)
    (shard,) = shop.broadcast.shards.find()
    assert len(shard["received"]) == 2, "only the current and the last month are kept"


def test_an_idempotent_repetition_adds_nothing(shop):
    (again,) = shop.sell("s1", "茶", (5000, 2))
    assert again == shop.tea
    shop.restock("s1", shop.tea[1], -1)
    shop.settle()
    assert shop.catalog.stock.find_one({"_id": shop.tea[1]})["on_hand"] == 1
