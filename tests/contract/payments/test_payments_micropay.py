"""Paying with a payment code: at once, with a password, declined, reversed; and giving an open payment up."""

import io
import struct

import pytest

from services.chassis import clock, ids
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments import jobs, queries
from services.payments.commands import micropay
from services.payments.commands.closing import close_payment
from services.payments.queries import codes
from tests.contract.payments.house import BUYER


def shown(house, **how):
    answer = house.http.post(f"{house.settings.channel_url}/paycodes", json={"payer": BUYER, **how})
    assert answer.status_code == 201
    return answer.json()["auth_code"]


def scanned(house, checkout_id, code, key=""):
    asked = {"checkout_id": checkout_id, "method": "micropay", "auth_code": code}
    cause = Cause(f"cmd:{key or ids.secret()}", f"body {code}")
    made = micropay.create(house.store, house.orders, house.channel, cause, BUYER, asked)
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
