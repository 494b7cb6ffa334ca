"""The cashier in JSON: what the buyer is shown, and what a buyer does there."""

from datetime import datetime

from services.payments import commands
from services.payments.model.whose import Whose
from tests.contract.payments.house import BUYER


def test_the_buyer_sees_whom_what_and_until_when_and_may_be_declined_first(house):
    house.shop()
    checkout_id = house.checkout(1000, 500)
    payment = house.create(checkout_id)
    shown = house.http.get(payment["code_url"]).json()
    assert (shown["goods"], shown["amount"]["total"], shown["trade_state"]) == (["茶铺"], 1500, "NOTPAY")
    pay_by = house.store.payable(checkout_id)["pay_by"]
    assert abs(datetime.fromisoformat(shown["pay_by"]) - pay_by).total_seconds() < 1
    declined = house.http.post(payment["cashier_url"] + "/decline")
    assert (declined.status_code, declined.json()["code"]) == (402, "BANK_ERROR")
    assert house.http.get(payment["cashier_url"]).json()["trade_state"] == "PAYERROR"
    assert house.pay(payment).status_code == 200
    house.until(checkout_id, "paid")
    assert house.http.post(payment["cashier_url"] + "/expire").json()["code"] == "ORDERPAID"


def test_a_buyer_who_walks_away_can_open_another_payment(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    for _ in range(2):
        assert house.http.post(payment["cashier_url"] + "/expire").json()["trade_state"] == "CLOSED"
    assert house.pay(payment).json()["code"] == "ORDERCLOSED"
    asked = commands.query_payment(house.store, house.channel, Whose("buyer", BUYER), payment["payment_id"])
    assert asked.payable["state"] == "open"
    assert house.pay(house.create(checkout_id)).status_code == 200
    house.until(checkout_id, "paid")
