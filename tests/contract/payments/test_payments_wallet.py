"""The buyer's wallet: topped up through the channel, spent on checkouts, refunded into, never below zero."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis import clock, commit, ids
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments import queries
from services.payments.commands import wallet
from services.payments.jobs import topups
from services.payments.queries import wallet as wallets
from services.payments.store.wallets import balance
from tests.backends.processes import wait_until
from tests.contract.payments.house import BUYER


def topup(house, amount, key="", method="native"):
    cause = Cause(f"cmd:{key or ids.secret()}", f"body {amount}")
    return wallet.create_topup(house.store, house.channel, cause, BUYER, amount, method)


def filled(house, amount):
    row, _ = topup(house, amount)
    assert house.pay(row).status_code == 200
    wait_until(lambda: house.store.topups.find_one({"_id": row["_id"]})["state"] == "paid", "the top-up")
    return row


def spent(house, checkout_id, key=""):
    asked = {"checkout_id": checkout_id, "method": "wallet"}
    cause = Cause(f"cmd:{key or ids.secret()}", f"body {checkout_id}")
    made = wallet.create(house.store, house.orders, house.channel, cause, BUYER, asked)
    return {**queries.payment_view(made.payable, made.number), "replayed": made.replayed}


def events_of(house, checkout_id):
    carried = house.outbox(house.store.payable(checkout_id))
    letters = [event for letter in house.database["event_log"].find({}) for event in letter.get("outbox", ())]
    return [event for event in (*carried, *letters) if event["subject"] == checkout_id]


def test_a_topup_is_credited_once_however_often_it_is_told(house):
    begun = {"_id": BUYER, "currency": "CNY", "balance": 0}  # as a red packet begins it
    commit.create(house.store.wallets, begun, Cause("cmd:claim"), natural=True)
    row, replayed = topup(house, 5000, "k")
    again, replay = topup(house, 5000, "k")
    assert (replayed, replay, again) == (False, True, row)
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        topup(house, 6000, "k")
    assert house.pay(row, notify={"copies": 3}).status_code == 200
    wait_until(lambda: len(house.door.arrived) >= 3, "three notifications")
    wallet.query_topup(house.store, house.channel, BUYER, row["_id"])
    assert balance(house.store, BUYER) == 5000
    assert house.store.entries.count_documents({"kind": "topup"}) == 1
    with pytest.raises(Refusal, match="NOT_FOUND"):
        wallet.query_topup(house.store, house.channel, "somebody", row["_id"])
    for amount, field in ((0, "amount"), (10**9, "amount")):
        with pytest.raises(Refusal) as refused:
            topup(house, amount)
        assert refused.value.violations[0].field == field
    house.check()


def test_a_topup_that_was_never_told_is_found_and_one_never_paid_is_closed(house):
    (lost, _), (unpaid, _) = topup(house, 700), topup(house, 800)
    house.pay(lost, notify={"copies": 0})
    topups.ask(house.store, house.channel, house.store.topups.find_one({"_id": lost["_id"]}))
    assert balance(house.store, BUYER) == 700
    topups.ask(house.store, house.channel, house.store.topups.find_one({"_id": unpaid["_id"]}))
    row = house.store.topups.find_one({"_id": unpaid["_id"]})
    assert (row["state"], row["next_at"]) == ("open", row["ends_at"])
    house.store.topups.update_one({"_id": unpaid["_id"]}, {"$set": {"ends_at": 1}})
    topups.ask(house.store, house.channel, house.store.topups.find_one({"_id": unpaid["_id"]}))
    row = house.store.topups.find_one({"_id": unpaid["_id"]})
    assert (row["state"], "next_at" in row) == ("closed", False)
    assert house.pay(unpaid).json()["code"] == "ORDERCLOSED"


@pytest.mark.parametrize("tried_before", [False, True])
def test_a_checkout_is_paid_out_of_the_wallet_in_one_write(house, tried_before):
    filled(house, 2000)
    checkout_id, key = house.checkout(1000, 500), ids.secret()
    if tried_before:
        house.create(checkout_id)
    paid = spent(house, checkout_id, key)
    assert (paid["state"], paid["method"], len(paid["transaction_id"])) == ("paid", "wallet", 28)
    assert spent(house, checkout_id, key) == {**paid, "replayed": True}
    row = house.store.payable(checkout_id)
    assert (row["state"], [share["escrow"] for share in row["shares"]]) == ("paid", [1000, 500])
    assert balance(house.store, BUYER) == 500
    (event,) = events_of(house, checkout_id)
    assert event["type"] == "jishi.payments.payment.succeeded.v1"
    with pytest.raises(Refusal, match="ALREADY_PAID"):
        spent(house, checkout_id)
    assert [one["amount"] for one in wallets.movements(house.store, BUYER, None, 0)[0]] == [2000, -1500]
    house.check()


def test_what_is_refunded_of_it_goes_back_into_the_wallet_at_once(house):
    filled(house, 2000)
    checkout_id = house.checkout(1000, 500)
    spent(house, checkout_id)
    first, _ = house.order_ids(checkout_id)
    house.hear("jishi.orders.order.closed.v1", checkout_id, order_id=first, was_paid=True, amount=1000)
    (refund,) = house.store.refunds_of({"checkout_id": checkout_id})
    assert (refund["state"], refund["amount"], "next_at" in refund) == ("succeeded", 1000, False)
    assert [event["type"] for event in house.outbox(refund)] == ["jishi.payments.refund.succeeded.v1"]
    assert balance(house.store, BUYER) == 1500
    house.check()


def test_a_wallet_is_never_spent_below_zero_by_many_at_once(house):
    filled(house, 1000)
    checkouts = [house.checkout(300) for _ in range(6)]

    def pay(checkout_id):
        try:
            return spent(house, checkout_id)["state"]
        except Refusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(6) as threads:
        told = sorted(threads.map(pay, checkouts))
    assert told == ["INSUFFICIENT_FUNDS"] * 3 + ["paid"] * 3
    assert balance(house.store, BUYER) == 100
    assert house.store.entries.count_documents({"kind": "collect"}) == 3
    house.check()


def test_the_same_command_many_times_at_once_pays_once(house):
    filled(house, 500)
    checkout_id, key = house.checkout(300), ids.secret()
    with ThreadPoolExecutor(6) as threads:
        told = list(threads.map(lambda _: spent(house, checkout_id, key)["state"], range(6)))
    assert told == ["paid"] * 6
    assert balance(house.store, BUYER) == 200


def test_a_checkout_whose_time_is_over_costs_nothing(house):
    filled(house, 1000)
    checkout_id = house.checkout(300)
    clock.see(clock.offset_ms() + 31 * 60_000)
    with pytest.raises(Refusal, match="PAYMENT_CLOSED"):
        spent(house, checkout_id)
    with pytest.raises(Refusal, match="INSUFFICIENT_FUNDS"):
        spent(house, house.checkout(1001))
    assert balance(house.store, BUYER) == 1000


def test_a_price_that_changed_before_it_was_heard_of_is_the_one_that_is_paid(house):
    filled(house, 2000)
    checkout_id = house.checkout(1000, 500)
    house.create(checkout_id)
    told = house.orders.checkouts[checkout_id]
    told["shares"][0] |= {"amount": 900, "revision": 1}
    told["amount"] = 1400
    assert spent(house, checkout_id)["amount"] == 1400
    row = house.store.payable(checkout_id)
    assert (row["amount"], [share["escrow"] for share in row["shares"]]) == (1400, [900, 500])
    assert balance(house.store, BUYER) == 600
    house.check()
