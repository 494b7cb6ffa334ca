"""Voucher orders on a real database: codes that count once, taking them back, and how such an order ends."""

import base64
from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.codes import Codes
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders import commands
from services.orders.commands import lifecycle, refunding
from services.orders.commands import vouchers as scanning
from services.orders.model import order as order_model
from services.orders.model.states import Known
from services.orders.queries import vouchers as queries
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House

BUYER = Known("buyer", making.BUYER)
MERCHANT = Known("merchant", "acc_1", "shop_1")
STRANGER = Known("merchant", "acc_2", "shop_2")


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    found.codes = Codes(memory_world.settings, "orders", "JV1")
    yield found
    found.close()


def voucher(quantity=2, sku="s1", shop="shop_1"):
    return {**making.reserved(sku=sku, quantity=quantity, freight=0, shop=shop), "fulfilment": "voucher"}


def paid(house, *lines):
    """The id of a paid order of vouchers, and their codes."""
    placed = house.place(catalog=Catalog(*(lines or [voucher()])))
    order_id = placed.checkout["shares"][0]["order_id"]
    assert queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"] == []
    house.pay(placed)
    return order_id, [each["code"] for each in queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"]]


def redeem(house, code, key, actor=MERCHANT, by="1号台"):
    return scanning.redeem(house.store, house.codes, Cause(f"cmd:{key}"), actor, code, by)


def give_one_back(house, order_id):
    """The merchant grants a refund of one unit of the first line, as the order remembers it."""
    row = {"refund_id": "m1", "line": 1, "quantity": 1, "amount": 1999, "reason": "", "state": "pending"}

    def grant(found, step):
        return order_model.changed(found, order_model.entry("refund_granted", step), {}, push={"line_refunds": [row]})

    lifecycle.change_order(house.store, Cause("cmd:g"), MERCHANT, order_id, grant)


def refusal(attempt):
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value


def test_a_code_counts_once_and_only_in_its_shop(house):
    order_id, (first, second) = paid(house)
    assert refusal(lambda: redeem(house, first, "x", STRANGER)).reason == "NOT_FOUND"
    outcome = redeem(house, first, "r1")
    assert (outcome.answer["voucher"], outcome.answer["left"], outcome.answer["name"]) == (1, 1, "商品p1")
    again = redeem(house, first, "r1")
    assert (again.replayed, again.answer) == (True, outcome.answer)
    twice = refusal(lambda: redeem(house, first, "r2", by="2号台"))
    assert (twice.reason, twice.info["redeemed_by"]) == ("ALREADY_REDEEMED", "1号台")
    assert twice.info["redeemed_at"] == outcome.answer["redeemed_at"].isoformat()
    assert refusal(lambda: commands.cancel(house.store, Cause("cmd:c"), BUYER, order_id, "")).reason == "WRONG_STATE"
    redeem(house, second, "r3")
    assert house.later(minutes=29) == 0
    assert house.later(minutes=2) == 1
    order = house.store.order(order_id)
    assert (order["state"], house.told(order)) == ("completed", ["paid", "completed"])


def test_of_two_scans_at_once_one_wins(house):
    _, (code, _) = paid(house)
    answers = []

    def scan(key):
        try:
            answers.append(redeem(house, code, key).answer["voucher"])
        except Refusal as refused:
            answers.append(refused.reason)

    house.at_once(*[lambda key=key: scan(f"r{key}") for key in range(4)])
    assert sorted(answers, key=str) == [1, *["ALREADY_REDEEMED"] * 3]


def test_a_redemption_is_taken_back_within_half_an_hour(house):
    order_id, (first, _) = paid(house)

    def reverse(key):
        return scanning.reverse(house.store, house.codes, Cause(f"cmd:{key}"), MERCHANT, first)

    assert refusal(lambda: reverse("v0")).reason == "WRONG_STATE"
    redeem(house, first, "r1")
    assert reverse("v1").answer == {"order_id": order_id, "voucher": 1}
    redeem(house, first, "r2")
    house.later(minutes=31)
    assert refusal(lambda: reverse("v2")).reason == "CONDITION_UNMET"
    assert [line["action"] for line in house.store.order(order_id)["timeline"]][2:] == [
        "redeemed",
        "redemption_reversed",
        "redeemed",
    ]


def test_codes_that_are_forged_cut_or_of_nothing(house):
    order_id, (code, _) = paid(house)
    prefix, text, thumb, signature = code.split(".")
    body = base64.urlsafe_b64decode(f"{signature}==")
    damaged = base64.urlsafe_b64encode(bytes([body[0] ^ 1, *body[1:]])).decode().rstrip("=")
    for forged in (
        "",
        "hello",
        code[:-1],
        ".".join((prefix, f"{order_id}-2", thumb, signature)),
        f"JV2.{text}.{thumb}.{signature}",
        ".".join((prefix, text, "x" * 22, signature)),
        f"{prefix}.{text}.{thumb}.{damaged}",
    ):
        assert refusal(lambda scanned=forged: redeem(house, scanned, "f")).violations[0].field == "code"
    for nothing in (f"{order_id}-3", f"{order_id}-0", "1000000000000000001-1"):
        signed = house.codes.sign(nothing)
        assert refusal(lambda scanned=signed: redeem(house, scanned, "n")).reason == "NOT_FOUND"


def test_only_the_buyer_sees_codes_and_only_of_what_is_valid(house):
    order_id, (first, second) = paid(house)
    redeem(house, first, "r1")
    told = queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"]
    assert [(each["state"], each["code"]) for each in told] == [("redeemed", ""), ("valid", second)]
    shop = queries.vouchers(house.store, house.codes, MERCHANT, order_id)["vouchers"]
    assert [(each["state"], each["code"]) for each in shop] == [("redeemed", ""), ("valid", "")]
    shown = queries.voucher(house.store, house.codes, BUYER, order_id, 2)
    image = base64.b64decode(shown["qr_image"].partition("base64,")[2])
    assert image.startswith(b"\x89PNG")
    assert queries.voucher(house.store, house.codes, BUYER, order_id, 1)["qr_image"] == ""
    assert refusal(lambda: queries.voucher(house.store, house.codes, BUYER, order_id, 3)).reason == "NOT_FOUND"
    assert refusal(lambda: queries.vouchers(house.store, house.codes, STRANGER, order_id)).reason == "NOT_FOUND"


def test_a_refund_voids_what_was_not_redeemed(house):
    order_id, (code, _) = paid(house)
    order = house.store.order(order_id)
    data = {"refund_id": "r1", "order_id": order_id, "checkout_id": order["checkout_id"], "amount": order["paid"]}
    house.hear("jishi.payments.refund.succeeded.v1", {**data, "cause": "dispute", "case_id": "c1"})
    assert refusal(lambda: redeem(house, code, "r")).reason == "WRONG_STATE"
    told = queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"]
    assert {each["state"] for each in told} == {"void"}


def test_a_voucher_that_the_merchant_gave_back_is_void_and_nobody_waits_for_it(house):
    order_id, codes = paid(house, voucher(3))
    redeem(house, codes[2], "r1")
    give_one_back(house, order_id)
    told = queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"]
    assert [each["state"] for each in told] == ["valid", "void", "redeemed"]
    assert refusal(lambda: redeem(house, codes[1], "r2")).info["state"] == "refunded"
    assert redeem(house, codes[0], "r3").answer["left"] == 0
    assert house.later(minutes=31) == 1
    assert house.store.order(order_id)["state"] == "completed"


def ruled(house, order_id, amount, number=1):
    """A dispute gave so much back."""
    data = {"refund_id": f"r{number}", "order_id": order_id, "checkout_id": house.store.order(order_id)["checkout_id"]}
    told = {**data, "amount": amount, "cause": "dispute", "case_id": f"c{number}"}
    house.hear("jishi.payments.refund.succeeded.v1", told, number)


def states_of(house, order_id):
    return [each["state"] for each in queries.vouchers(house.store, house.codes, BUYER, order_id)["vouchers"]]


def test_a_ruling_voids_as_many_vouchers_as_its_money_covers_those_not_redeemed_first(house):
    order_id, codes = paid(house, voucher(3))
    redeem(house, codes[2], "r1")
    ruled(house, order_id, 1998)
    assert states_of(house, order_id) == ["valid", "valid", "redeemed"], "not a whole one"
    ruled(house, order_id, 1999 + 1, number=2)
    assert states_of(house, order_id) == ["void", "void", "redeemed"]
    assert refusal(lambda: redeem(house, codes[0], "r2")).info["state"] == "refunded"
    order = house.store.order(order_id)
    told = [event["data"] for event in house.events(order) if event["type"].endswith("goods_returned.v1")]
    assert [(one["return_id"], one["lines"][0]["quantity"]) for one in told] == [("r2", 2)]
    assert house.later(minutes=31) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_a_ruling_on_what_was_redeemed_voids_nothing_until_that_is_taken_back(house):
    order_id, codes = paid(house, voucher(1))
    redeem(house, codes[0], "r1")
    ruled(house, order_id, 1000)
    assert states_of(house, order_id) == ["redeemed"]
    assert refusal(lambda: redeem(house, codes[0], "r2")).reason == "ALREADY_REDEEMED"


def test_a_refund_of_the_last_that_counts_lets_the_order_complete(house):
    order_id, codes = paid(house)
    redeem(house, codes[0], "r1")
    house.later(days=2)
    give_one_back(house, order_id)
    assert house.later(seconds=1) == 1
    assert house.store.order(order_id)["state"] == "completed"


def test_nothing_redeemed_in_a_year_goes_back_and_no_ship_by_is_missed(house):
    order_id, (code, _) = paid(house)
    assert house.later(days=30) == 0
    assert not house.store.order(order_id)["late_shipment"]
    house.later(days=336)
    order = house.store.order(order_id)
    assert (order["state"], order["close_reason"], house.told(order)) == ("closed", "lapsed", ["paid", "closed"])
    assert house.events(order)[1]["data"]["amount"] == str(order["paid"])
    assert refusal(lambda: redeem(house, code, "r")).reason == "WRONG_STATE"


def test_an_open_dispute_stops_redeeming_and_lapsing(house):
    order_id, (code, _) = paid(house)
    case = {"case_id": "c1", "order_id": order_id, "checkout_id": house.store.order(order_id)["checkout_id"]}
    house.hear("jishi.disputes.case.opened.v1", {**case, "kind": "refund_only"})
    assert refusal(lambda: redeem(house, code, "r")).reason == "WRONG_STATE"
    assert house.later(days=400) == 0
    house.hear("jishi.disputes.case.closed.v1", {**case, "outcome": "withdrawn"})
    assert house.later(seconds=1) == 1
    assert house.store.order(order_id)["state"] == "closed"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([voucher(), making.reserved(sku="s2")], "lines[1].product_id"),
        ([voucher(60), voucher(41, sku="s2")], "lines[1].quantity"),
    ],
)
def test_what_cannot_be_one_order_gives_its_stock_back(house, lines, field):
    found = refusal(lambda: house.place(catalog=Catalog(*lines)))
    assert (found.reason, found.violations[0].field) == ("CONDITION_UNMET", field)
    assert [house.told(found) for found in house.checkouts()] == [["closed"]]


def test_vouchers_of_one_shop_and_goods_of_another_are_two_orders(house):
    placed = house.place(catalog=Catalog(voucher(), making.reserved(sku="s2", shop="shop_2")))
    house.pay(placed)
    assert house.order(placed)["vouchers_until"] - house.order(placed)["paid_at"] == timedelta(days=360)
    assert "ship_by" in house.order(placed, 1)
    ship = Cause("cmd:s")
    order_id = placed.checkout["shares"][0]["order_id"]
    parcel = {"need_delivery": False}
    assert refusal(lambda: commands.ship(house.store, ship, MERCHANT, order_id, parcel)).reason == "CONDITION_UNMET"


def refund_one(house, order_id):
    """One unit of the first line goes back, by the merchant's own command."""
    asked = {"order_id": order_id, "line": 1, "quantity": 1, "reason": ""}
    refunding.refund_line(house.store, Cause("cmd:f", "b"), MERCHANT, asked)


def test_the_voucher_that_was_refunded_stays_void_when_another_redemption_is_taken_back(house):
    order_id, codes = paid(house)
    redeem(house, codes[1], "r1")
    refund_one(house, order_id)
    assert states_of(house, order_id) == ["void", "redeemed"]
    scanning.reverse(house.store, house.codes, Cause("cmd:v"), MERCHANT, codes[1])
    assert states_of(house, order_id) == ["void", "valid"]
    assert refusal(lambda: redeem(house, codes[0], "r2")).info["state"] == "refunded"
    assert redeem(house, codes[1], "r3").answer["left"] == 0


def test_a_ruling_keeps_the_vouchers_void_that_it_voided(house):
    order_id, codes = paid(house)
    redeem(house, codes[1], "r1")
    ruled(house, order_id, 1999)
    scanning.reverse(house.store, house.codes, Cause("cmd:v"), MERCHANT, codes[1])
    assert states_of(house, order_id) == ["void", "valid"]


def test_a_redemption_just_before_the_end_can_be_taken_back_for_as_long_as_was_told(house):
    order_id, codes = paid(house)
    until = house.store.order(order_id)["vouchers_until"]
    house.later(seconds=(until - clock.business()).total_seconds() - 600)
    told = redeem(house, codes[0], "r1").answer["reversible_until"]
    assert told > until
    assert house.later(minutes=15) == 0, "the rest has lapsed, and the order waits"
    assert refusal(lambda: redeem(house, codes[1], "r2")).info["state"] == "lapsed"
    scanning.reverse(house.store, house.codes, Cause("cmd:v"), MERCHANT, codes[0])
    assert house.later(seconds=1) == 1
    order = house.store.order(order_id)
    assert (order["state"], order["close_reason"]) == ("closed", "lapsed")


def test_what_lapsed_beside_a_late_redemption_completes_when_that_can_no_longer_be_taken_back(house):
    order_id, codes = paid(house)
    house.later(seconds=(house.store.order(order_id)["vouchers_until"] - clock.business()).total_seconds() - 600)
    redeem(house, codes[0], "r1")
    assert house.later(minutes=31) == 1
    assert house.store.order(order_id)["state"] == "completed"
