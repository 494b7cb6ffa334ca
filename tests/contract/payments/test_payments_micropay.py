"""Paying with a payment code: at once, with a password, declined, reversed; and giving an open payment up."""

import io
import struct

import pytest

from services.chassis import clock, ids
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments import jobs, queries
from services.payments.commands import micropay
from services.payments.commands.closing import close_payment, reverse_payment
from services.payments.model.whose import Whose
from services.payments.queries import codes
from tests.contract.payments.house import BUYER, SHOP

MINE, TILL = Whose("buyer", BUYER), Whose("merchant", SHOP)


def shown(house, **how):
    answer = house.http.post(f"{house.settings.channel_url}/paycodes", json={"payer": BUYER, **how})
    assert answer.status_code == 201
    return answer.json()["auth_code"]


def scanned(house, checkout_id, code, key="", whose=MINE):
    asked = {"checkout_id": checkout_id, "method": "micropay", "auth_code": code}
    cause = Cause(f"cmd:{key or ids.secret()}", f"body {code}")
    made = micropay.create(house.store, house.orders, house.channel, cause, whose, asked)
    return {**queries.payment_view(made.payable, made.number), "replayed": made.replayed}


def time_is_over(house, checkout_id):
    house.store.payables.update_one({"_id": checkout_id}, {"$set": {"payments.0.reverse_at": 1, "next_at": 1}})
    jobs.inquire(house.store, house.channel, house.store.payable(checkout_id), lambda: None)
    return house.store.payable(checkout_id)


def test_a_scanned_code_pays_at_once_and_once_per_key(house):
    checkout_id, code, key = house.checkout(1000), shown(house), ids.secret()
    paid = scanned(house, checkout_id, code, key)
    assert (paid["state"], paid["replayed"]) == ("paid", False)
    assert scanned(house, checkout_id, code, key) == {**paid, "replayed": True}
    assert house.store.payable(checkout_id)["shares"][0]["escrow"] == 1000
    with pytest.raises(Refusal) as refused:
        scanned(house, house.checkout(500), code)
    assert (refused.value.violations[0].field, "AUTHCODEEXPIRE" in str(refused.value)) == ("auth_code", True)
    house.check()


@pytest.mark.parametrize("code", ["", "160000000000000000", "13000000000000000", "13000000000000000x", "1" * 19])
def test_what_is_no_code_is_refused_before_anything_happens(house, code):
    checkout_id = house.checkout(1000)
    with pytest.raises(Refusal) as refused:
        scanned(house, checkout_id, code)
    assert refused.value.violations[0].field == "auth_code"
    assert house.store.payable(checkout_id) is None


def test_a_code_that_nobody_showed_is_refused_and_the_next_one_pays(house):
    checkout_id, key = house.checkout(1000), ids.secret()
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            scanned(house, checkout_id, "130000000000000000", key)
        assert refused.value.violations[0].field == "auth_code"
    assert house.store.payable(checkout_id)["payments"][0]["state"] == "closed"
    assert scanned(house, checkout_id, shown(house))["state"] == "paid"


def test_a_declined_payment_says_so_again_and_can_never_be_paid(house):
    checkout_id, code, key = house.checkout(888_803), shown(house), ids.secret()
    for _ in range(2):
        with pytest.raises(Refusal, match="CHANNEL_REFUSED") as refused:
            scanned(house, checkout_id, code, key)
        assert refused.value.info["code"] == "NOT_ENOUGH"
    (attempt,) = house.store.payable(checkout_id)["payments"]
    assert (attempt["state"], attempt["decline"]) == ("closed", "NOT_ENOUGH")
    assert house.channel.trade(attempt["out_trade_no"])["trade_state"] == "REVOKED"


def test_above_a_thousand_yuan_the_buyer_types_a_password_and_polling_finds_it(house):
    checkout_id, code = house.checkout(100_001), shown(house)
    payment = scanned(house, checkout_id, code)
    assert payment["state"] == "open"
    row = house.store.payable(checkout_id)
    assert row["next_at"] == row["payments"][0]["poll_at"]
    jobs.inquire(house.store, house.channel, row, lambda: None)
    row = house.store.payable(checkout_id)
    assert row["next_at"] > clock.wall_ms(), "asked for again in five seconds"
    assert house.http.post(f"{house.settings.channel_url}/paycodes/{code}/confirm").json()["trade_state"] == "SUCCESS"
    jobs.inquire(house.store, house.channel, row, lambda: None)
    row = house.store.payable(checkout_id)
    assert (row["state"], "next_at" in row) == ("paid", False)


def test_who_never_types_it_is_reversed_and_can_pay_no_more(house):
    checkout_id, code = house.checkout(100_001), shown(house)
    number = scanned(house, checkout_id, code)["out_trade_no"]
    row = time_is_over(house, checkout_id)
    assert (row["payments"][0]["state"], "next_at" in row) == ("closed", False)
    assert house.channel.trade(number)["trade_state"] == "REVOKED"
    late = house.http.post(f"{house.settings.channel_url}/paycodes/{code}/confirm")
    assert late.json()["code"] == "ORDERCLOSED"
    assert house.create(checkout_id)["state"] == "open", "another way is free"


def test_a_payment_that_is_reversed_although_it_was_paid_goes_back_once(house, monkeypatch):
    """The password was typed between our last question and the reversal."""
    checkout_id, code = house.checkout(100_001), shown(house)
    number = scanned(house, checkout_id, code)["out_trade_no"]
    asked = house.channel.trade

    def paid_after_the_answer(trade_no):
        told = asked(trade_no)
        house.http.post(f"{house.settings.channel_url}/paycodes/{code}/confirm")
        return told

    monkeypatch.setattr(house.channel, "trade", paid_after_the_answer)
    row = time_is_over(house, checkout_id)
    assert (row["state"], row["payments"][0]["state"]) == ("open", "returned")
    (refund,) = house.store.refunds_of({"checkout_id": checkout_id})
    assert (refund["_id"], refund["amount"]) == (f"rv-{number}", 100_001)
    house.send_refunds()
    assert house.store.refund(refund["_id"])["state"] == "succeeded"
    house.check()


@pytest.mark.parametrize("heard", [False, True])
def test_a_till_that_dies_around_the_charge_loses_nothing(house, monkeypatch, heard):
    checkout_id, code, key = house.checkout(1000), shown(house), ids.secret()
    charge = house.channel.code_pay

    def dies(*given):
        if heard:
            charge(*given)
        raise SystemExit

    monkeypatch.setattr(house.channel, "code_pay", dies)
    with pytest.raises(SystemExit):
        scanned(house, checkout_id, code, key)
    monkeypatch.undo()
    if heard:
        jobs.inquire(house.store, house.channel, house.store.payable(checkout_id), lambda: None)
        assert house.store.payable(checkout_id)["state"] == "paid"
    paid = scanned(house, checkout_id, code, key)
    assert (paid["state"], paid["replayed"]) == ("paid", True)
    house.check()


def reversed_by(house, whose, payment, key="reverse"):
    cause = Cause(f"cmd:{key}{payment['payment_id']}", "body")
    done = reverse_payment(house.store, house.channel, cause, whose, payment["payment_id"])
    return queries.payment_view(done.payable, done.number)["state"], done.replayed


def test_a_till_scans_the_buyers_code_and_is_told_whose_it_was(house):
    checkout_id, code = house.checkout(1000), shown(house)
    paid = scanned(house, checkout_id, code, whose=TILL)
    assert (paid["state"], paid["payer"], paid["till"]) == ("paid", BUYER, SHOP)
    found = house.store.payable(checkout_id)
    assert found["buyer_id"] == BUYER, "the order is its buyer's, whoever paid it"
    for seeing in (TILL, MINE):
        assert queries.payment(house.store, seeing, paid["payment_id"])[1] == paid["out_trade_no"]
    for stranger in (Whose("merchant", "another shop"), Whose("merchant"), Whose("buyer", SHOP)):
        with pytest.raises(Refusal, match="NOT_FOUND"):
            queries.payment(house.store, stranger, paid["payment_id"])
    native = house.create(house.checkout(500))
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.payment(house.store, TILL, native["payment_id"])
    house.check()


def test_a_till_reverses_what_it_does_not_know_the_outcome_of(house):
    checkout_id, code = house.checkout(100_001), shown(house)
    payment = scanned(house, checkout_id, code, whose=TILL)
    assert payment["state"] == "open"
    with pytest.raises(Refusal, match="NOT_FOUND"):
        reversed_by(house, Whose("merchant", "another shop"), payment)
    assert [reversed_by(house, TILL, payment), reversed_by(house, TILL, payment)] == [
        ("closed", False),
        ("closed", True),
    ]
    assert house.http.post(f"{house.settings.channel_url}/paycodes/{code}/confirm").json()["code"] == "ORDERCLOSED"
    assert scanned(house, checkout_id, shown(house, outcome="success"), whose=TILL)["state"] == "paid"
    house.check()


def test_a_reversal_gives_back_what_was_paid_and_not_heard_of(house):
    checkout_id, code = house.checkout(100_001), shown(house)
    payment = scanned(house, checkout_id, code, whose=TILL)
    house.http.post(f"{house.settings.channel_url}/paycodes/{code}/confirm")
    assert reversed_by(house, TILL, payment) == ("returned", False)
    assert reversed_by(house, TILL, payment, "again")[0] == "returned"
    (refund,) = house.store.refunds_of({"checkout_id": checkout_id})
    assert (refund["_id"], refund["amount"]) == (f"rv-{payment['out_trade_no']}", 100_001)
    house.check()


def test_a_reversal_that_the_channel_does_not_hear_is_gone_on_with(house, monkeypatch):
    checkout_id, code = house.checkout(100_001), shown(house)
    payment = scanned(house, checkout_id, code, whose=TILL)

    def away(_number):
        raise Refusal("UNAVAILABLE", "away")

    monkeypatch.setattr(house.channel, "reverse", away)
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        reversed_by(house, TILL, payment)
    monkeypatch.undo()
    row = house.store.payable(checkout_id)
    assert row["next_at"] <= clock.wall_ms(), "the jobs process looks at once"
    jobs.inquire(house.store, house.channel, row, lambda: None)
    assert reversed_by(house, TILL, payment) == ("closed", False)


def test_what_was_collected_is_not_reversed_and_only_payments_by_code_are(house):
    checkout_id = house.checkout(1000)
    paid = scanned(house, checkout_id, shown(house), whose=TILL)
    with pytest.raises(Refusal, match="ALREADY_PAID"):
        reversed_by(house, TILL, paid)
    assert house.channel.trade(paid["out_trade_no"])["trade_state"] == "SUCCESS"
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        reversed_by(house, MINE, house.create(house.checkout(500)))
    house.check()


def closed(house, payment, key="close"):
    cause = Cause(f"cmd:{key}{payment['payment_id']}", "body")
    done = close_payment(house.store, house.channel, cause, BUYER, payment["payment_id"])
    return queries.as_closed(done.payable, done.number)["state"], done.replayed


def test_a_payment_that_was_given_up_can_no_longer_be_paid(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    assert [closed(house, payment), closed(house, payment)] == [("closed", False), ("closed", True)]
    assert closed(house, payment, "again") == ("closed", False)
    assert house.pay(payment).json()["code"] == "ORDERCLOSED"
    assert house.create(checkout_id)["state"] == "open"
    with pytest.raises(Refusal, match="NOT_FOUND"):
        close_payment(house.store, house.channel, Cause("cmd:x", "body"), "somebody", payment["payment_id"])


def test_a_payment_that_was_paid_meanwhile_is_collected_instead_of_closed(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    house.pay(payment, notify={"copies": 0})
    for _ in range(2):
        with pytest.raises(Refusal, match="ALREADY_PAID"):
            closed(house, payment)
    assert house.store.payable(checkout_id)["state"] == "paid"


def test_a_buyer_who_is_paying_is_not_interrupted(house):
    payment = house.create(house.checkout(700))
    assert house.pay(payment, outcome="userpaying").status_code == 202
    with pytest.raises(Refusal, match="WRONG_STATE"):
        closed(house, payment)


def test_the_code_of_a_native_payment_is_an_image(house):
    native, jsapi = (house.create(house.checkout(700), method) for method in ("native", "jsapi"))
    found = house.store.by_trade_no(native["out_trade_no"])
    png = codes.image(found, native["out_trade_no"], "png")
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width == height > 200
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        assert image.convert("L").getpixel((0, 0)) == 255, "the quiet zone"
        assert image.convert("L").getpixel((33, 33)) == 0, "the corner of the finder pattern"
    assert b"<svg" in codes.image(found, native["out_trade_no"], "svg")
    other = house.store.by_trade_no(jsapi["out_trade_no"])
    with pytest.raises(Refusal, match="WRONG_STATE"):
        codes.image(other, jsapi["out_trade_no"], "png")
