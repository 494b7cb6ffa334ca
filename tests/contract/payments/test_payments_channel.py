"""An order is paid by a signed notification or a query, once; everything else goes back by itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis import channel_signing, clock, ids
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments import commands, jobs, queries
from services.payments.model.channel import ChannelRefusedError
from services.payments.model.payable import Success, out_trade_no
from services.payments.model.whose import Whose
from services.payments.provider import Channel
from services.payments.store.posting import collected
from tests.backends.processes import wait_until
from tests.contract.payments.house import BUYER

MINUTE_MS = 60_000


def told(house, count):
    wait_until(lambda: len(house.door.arrived) >= count, f"{count} notifications")
    return house.door.arrived


def refunds(house, checkout_id):
    return house.store.refunds_of({"checkout_id": checkout_id})


@pytest.mark.parametrize("method", ["native", "jsapi"])
def test_a_paid_checkout_fills_its_orders_escrow_and_says_so_once(house, method):
    checkout_id = house.checkout(1000, 500)
    payment = house.create(checkout_id, method)
    assert house.pay(payment).json()["trade_state"] == "SUCCESS"
    house.until(checkout_id, "paid")
    payable = house.store.payable(checkout_id)
    assert [share["escrow"] for share in payable["shares"]] == [1000, 500]
    (event,) = house.outbox(payable)
    assert event["type"] == "jishi.payments.payment.succeeded.v1"
    assert [share["amount"] for share in event["data"]["shares"]] == ["1000", "500"]
    assert payable["payments"][0]["state"] == "paid"
    house.check()


def test_two_notifications_of_one_payment_collect_once(house):
    checkout_id = house.checkout(700)
    house.pay(house.create(checkout_id), notify={"copies": 2})
    assert [status for _, _, status in told(house, 2)] == [200, 200]
    assert len(house.outbox(house.store.payable(checkout_id))) == 1
    assert house.store.entries.count_documents({"kind": "collect"}) == 1
    assert refunds(house, checkout_id) == []


def test_a_payment_is_taken_as_it_was_opened_and_read_only_where_that_has_changed_since(house, monkeypatch):
    reads, read = [], house.store.by_trade_no
    monkeypatch.setattr(house.store, "by_trade_no", lambda number: (reads.append(number), read(number))[1])

    def success(payment):
        number = out_trade_no(payment["payment_id"])
        return number, collected(house.store, Success(number, f"42{number}"[:28], 700, "CNY"))

    checkout_id = house.checkout(700)
    success(house.create(checkout_id))
    assert reads == []
    assert house.store.payable(checkout_id)["state"] == "paid"
    checkout_id = house.checkout(700)
    first, _another = house.create(checkout_id), house.create(checkout_id)
    number, _ = success(first)
    assert reads == [number]
    success(first)
    assert house.store.payable(checkout_id)["state"] == "paid"
    assert house.store.entries.count_documents({"kind": "collect"}) == 2
    assert refunds(house, checkout_id) == []


def test_what_the_channel_did_not_sign_changes_nothing(house):
    checkout_id = house.checkout(700)
    house.pay(house.create(checkout_id), notify={"copies": 1, "hold": True})
    headers, body = forged(house)
    before = commands.NOTIFICATIONS.labels("unknown", "BAD_SIGNATURE")._value.get()
    assert house.receive(headers, body)[0] == 401
    assert commands.NOTIFICATIONS.labels("unknown", "BAD_SIGNATURE")._value.get() == before + 1
    assert house.receive({}, b"{}")[0] == 401
    assert house.store.payable(checkout_id)["state"] == "open"


def forged(house):
    """A notification as somebody who knows everything but the channel's key would write it."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    known = house.channel._credential()
    body = b'{"event_type": "TRANSACTION.SUCCESS", "resource": {}}'
    key = generate_private_key(65537, 2048)
    return channel_signing.answer_headers(key, known.platform_serial, body, now_s=clock.wall_ms() // 1000), body


def test_an_old_notification_replayed_later_is_refused(house):
    checkout_id = house.checkout(700)
    house.pay(house.create(checkout_id))
    headers, body, _ = told(house, 1)[0]
    assert house.receive(headers, body)[0] == 200
    old = {**headers, "Wechatpay-Timestamp": str(int(headers["Wechatpay-Timestamp"]) - 301)}
    assert house.receive(old, body)[0] == 401
    assert house.receive(headers, body + b" ")[0] == 401


def test_a_payment_whose_notification_was_lost_is_found_by_asking(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    assert house.pay(payment, notify={"copies": 0}).status_code == 200
    assert house.store.payable(checkout_id)["state"] == "open"
    found = commands.query_payment(house.store, house.channel, Whose("buyer", BUYER), payment["payment_id"])
    assert found.payable["state"] == "paid"
    with pytest.raises(Refusal, match="NOT_FOUND"):
        commands.query_payment(house.store, house.channel, Whose("buyer", "somebody"), payment["payment_id"])


def test_the_jobs_process_asks_for_itself(house):
    checkout_id = house.checkout(700)
    house.pay(house.create(checkout_id), notify={"copies": 0})
    house.inquire(checkout_id)
    payable = house.store.payable(checkout_id)
    assert payable["state"] == "paid"
    assert "next_at" not in payable


def test_the_second_of_two_payments_goes_back(house):
    checkout_id = house.checkout(700)
    first, second = house.create(checkout_id, "native"), house.create(checkout_id, "jsapi")
    assert house.pay(first).status_code == house.pay(second).status_code == 200
    wait_until(lambda: len(refunds(house, checkout_id)) == 1, "a refund")
    house.until(checkout_id, "paid")
    house.send_refunds()
    (refund,) = refunds(house, checkout_id)
    assert (refund["cause"], refund["amount"], refund["state"]) == ("paid_twice", 700, "succeeded")
    (event,) = house.outbox(refund)
    assert event["data"]["cause"] == "REFUND_CAUSE_PAID_TWICE"
    told(house, 3)
    assert len(house.outbox(house.store.refund(refund["_id"]))) == 1, "the notification found it done"
    house.check()


def test_a_payment_after_its_time_goes_back(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    house.pay(payment, notify={"copies": 1, "hold": True})
    clock.see(clock.offset_ms() + 31 * MINUTE_MS)
    house.http.post(payment["cashier_url"] + "/release")
    wait_until(lambda: len(refunds(house, checkout_id)) == 1, "a refund")
    house.send_refunds()
    (refund,) = refunds(house, checkout_id)
    assert (refund["cause"], refund["state"]) == ("late", "succeeded")
    assert refund["order_id"] == ""
    for share in house.store.payable(checkout_id)["shares"]:
        asked = {"checkout_id": "", "order_id": share["order_id"]}
        for more in ({}, {"checkout_id": checkout_id}):
            assert [row["_id"] for row in queries.refunds(house.store, {**asked, **more}, BUYER, None)] == [
                refund["_id"]
            ]
        assert queries.refunds(house.store, {**asked, "checkout_id": "another"}, BUYER, None) == []
        assert queries.refunds(house.store, asked, "somebody", None) == []
        assert queries.refunds(house.store, asked, None, share["shop_id"]) == []
    assert house.outbox(house.store.payable(checkout_id)) == []
    house.check()


def test_trades_left_at_the_end_are_closed_at_the_channel(house):
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    house.inquire(checkout_id)
    assert house.store.payable(checkout_id)["payments"][0]["state"] == "open"
    clock.see(clock.offset_ms() + 151 * MINUTE_MS)
    house.inquire(checkout_id)
    assert house.store.payable(checkout_id)["payments"][0]["state"] == "closed"
    assert house.pay(payment).json()["code"] == "ORDERCLOSED"


def test_creating_again_with_the_same_key_answers_the_same(house):
    checkout_id = house.checkout(700)
    k, j = ids.secret(), ids.secret()
    first = house.create(checkout_id, key=k)
    again = house.create(checkout_id, key=k)
    assert again == first | {"replayed": True}
    other = house.create(checkout_id, "jsapi", key=j)
    assert house.create(checkout_id, "jsapi", key=j)["payment_id"] == other["payment_id"] != first["payment_id"]
    house.pay(first)
    house.until(checkout_id, "paid")
    house.orders.checkouts[checkout_id]["state"] = "paid"
    assert house.create(checkout_id, key=k)["payment_id"] == first["payment_id"]
    with pytest.raises(Refusal, match="ALREADY_PAID"):
        house.create(checkout_id)


def test_a_creation_that_died_when_the_channel_had_heard_of_it_goes_on(house):
    checkout_id = house.checkout(700)
    asked = {"checkout_id": checkout_id, "method": "native"}
    dead, key = Dead(house.settings), ids.secret()
    with pytest.raises(SystemExit):
        commands.create_payment(house.store, house.orders, dead, Cause(f"cmd:{key}", "body"), BUYER, asked)
    assert house.store.payable(checkout_id) is None
    payment = house.create(checkout_id, key=key)
    assert payment["state"] == "open"
    assert house.pay(payment).status_code == 200
    house.until(checkout_id, "paid")
    assert house.create(checkout_id, key=key)["payment_id"] == payment["payment_id"]


class Dead(Channel):
    """A process that is killed before it has written down what the channel answered."""

    def place(self, trade):
        super().place(trade)
        raise SystemExit


def test_a_key_belongs_to_one_request(house):
    first, second, key = house.checkout(700), house.checkout(700), ids.secret()
    opened = house.create(first, key=key)
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.create(second, key=key, body="another")
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.create(first, "jsapi", key=key, body="another")
    assert house.store.payable(second) is None
    assert house.create(first, key=key)["payment_id"] == opened["payment_id"]


def test_the_same_creation_many_times_at_once_is_one_attempt(house):
    checkout_id, key = house.checkout(700), ids.secret()
    house.create(checkout_id)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: house.create(checkout_id, "jsapi", key=key), range(8)))
    assert len({one["prepay_id"] for one in made}) == 1
    assert len(house.store.payable(checkout_id)["payments"]) == 2


def test_a_channel_that_fails_is_asked_again_with_the_same_number(house):
    checkout_id = house.checkout(888_801)
    payment = house.create(checkout_id)
    assert payment["state"] == "open"
    assert house.pay(payment).status_code == 200
    house.until(checkout_id, "paid")


def test_a_currency_the_channel_does_not_take_is_refused(house):
    checkout_id = house.checkout(700)
    house.orders.checkouts[checkout_id]["currency"] = "USD"
    with pytest.raises(Refusal, match="CHANNEL_REFUSED"):
        house.create(checkout_id)


def test_without_the_channels_account_it_says_so(house, tmp_path):
    lonely = Channel(house.settings.model_copy(update={"data_dir": tmp_path / "nowhere"}))
    with pytest.raises(Refusal, match="has not opened an account"):
        lonely.trade("p_1")
    gone = Channel(house.settings)
    object.__setattr__(gone._credential(), "base_url", "http://127.0.0.1:9")
    with pytest.raises(Refusal, match="does not answer"):
        gone.trade("p_1")


@pytest.mark.parametrize(
    ("amount", "states"), [(888_809, ["pending", "succeeded"]), (888_810, ["abnormal", "succeeded"])]
)
def test_a_refund_that_the_channel_does_not_finish_at_once_ends(house, amount, states):
    checkout_id = house.paid(amount)
    (order_id,) = house.order_ids(checkout_id)
    house.hear("jishi.orders.order.closed.v1", checkout_id, order_id=order_id, was_paid=True, amount=amount)
    house.send_refunds()
    (refund,) = refunds(house, checkout_id)
    assert refund["state"] in states
    house.store.refunds.update_one({"_id": refund["_id"]}, {"$min": {"next_at": 1}})
    wait_until(lambda: house.send_refunds() or refunds(house, checkout_id)[0]["state"] == "succeeded", "the refund")
    assert len(house.outbox(*refunds(house, checkout_id))) == 1


def test_a_refund_that_the_channel_refuses_for_good_is_in_the_buyers_wallet(house):
    checkout_id = house.paid(700)
    (order_id,) = house.order_ids(checkout_id)
    paid = house.store.payable(checkout_id)["payments"][0]
    for number in range(50):
        told = {"_id": f"{order_id}-{number}", "out_trade_no": paid["out_trade_no"], "cause": "merchant", "amount": 1}
        house.channel.refund({**told, "total": 700, "currency": "CNY"})
    house.hear("jishi.orders.order.closed.v1", checkout_id, order_id=order_id, was_paid=True, amount=700)
    row = house.store.refund(f"rf-{order_id}")
    for _ in range(2):  # as after a crash between the two writes, or in a second copy of the process
        jobs.post_refund(house.store, house.channel, row)
    (refund,) = refunds(house, checkout_id)
    assert (refund["state"], refund["paid_to"]) == ("succeeded", "wallet")
    assert refund["error"].startswith("INVALID_REQUEST")
    assert house.store.wallets.find_one({"_id": BUYER})["balance"] == 700
    entry = house.store.entry(f"redirect:rf-{order_id}")
    assert entry["terms"]["channel_refused"] == refund["error"]
    assert len(house.outbox(refund)) == 1
    house.check()


def test_a_refund_that_the_channel_has_taken_is_never_paid_a_second_time(house, monkeypatch):
    checkout_id = house.paid(700)
    (order_id,) = house.order_ids(checkout_id)
    house.hear("jishi.orders.order.closed.v1", checkout_id, order_id=order_id, was_paid=True, amount=700)
    row = house.store.refund(f"rf-{order_id}")
    house.channel.refund(row)

    def refuse(_row):
        raise ChannelRefusedError("INVALID_REQUEST", "no", 400)

    monkeypatch.setattr(house.channel, "refund", refuse)
    jobs.post_refund(house.store, house.channel, row)
    assert "paid_to" not in house.store.refund(row["_id"])
    assert house.store.wallets.find_one({"_id": BUYER}) is None


def test_racing_tellers_collect_once(house):
    """Notification copies and queries at once, on one payable, from many threads."""
    checkout_id = house.checkout(700)
    payment = house.create(checkout_id)
    successes = [Success(payment["out_trade_no"], f"4200{n}", 700, "CNY") for n in (1, 1, 1, 2, 2, 3)]
    threads = [threading.Thread(target=collected, args=(house.store, one)) for one in successes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert house.store.entries.count_documents({"kind": "collect"}) == 1
    assert house.store.entries.count_documents({"kind": "return"}) == 2
    assert sorted(refund["amount"] for refund in refunds(house, checkout_id)) == [700, 700]
    house.check()


def test_a_success_of_a_trade_we_never_made_is_not_swallowed(house):
    assert collected(house.store, Success(ids.secret(), "t", 1, "CNY")) is None
