"""Placing, paying, querying, closing and refunding, through HTTP."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis import channel_signing as signing
from tests.backends.processes import wait_until
from tests.contract.channel.conftest import now_s


def test_a_trade_is_placed_paid_queried_and_told(channel):
    asked, prepay_id = channel.placed(12800)
    number = asked["out_trade_no"]
    assert channel.query(number).json()["trade_state"] == "NOTPAY"
    paid = channel.pay(prepay_id, payer="oBuyer")
    assert (paid.status_code, paid.json()["trade_state"]) == (200, "SUCCESS")
    trade = channel.query(number).json()
    assert (trade["trade_state"], trade["amount"]["payer_total"], trade["payer"]) == (
        "SUCCESS",
        12800,
        {"openid": "oBuyer"},
    )
    assert re.fullmatch(r"\d{28}", trade["transaction_id"])
    by_id = channel.call("GET", f"/v3/pay/transactions/id/{trade['transaction_id']}?mchid={trade['mchid']}")
    assert by_id.json() == trade
    (told,) = channel.shop.wait(f"/{number}", 1)
    assert told.event_type == "TRANSACTION.SUCCESS"
    assert told.resource == trade


def test_placing_again_enters_again_only_with_the_same_parameters(channel):
    asked, prepay_id = channel.placed()
    assert channel.place(asked).json() == {"prepay_id": prepay_id}
    for other in ({"amount": {"total": 1001}}, {"description": "x"}, {"attach": "y"}, {"goods_tag": "z"}):
        refused = channel.place(asked | other)
        assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_REQUEST")
    assert channel.place(asked, "native").json()["code"] == "INVALID_REQUEST"
    channel.pay(prepay_id, payer="oBuyer")
    assert channel.place(asked).json()["code"] == "ORDERPAID"


def test_the_same_trade_placed_by_eight_at_once_is_one(channel):
    asked = channel.new()
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.json() for answer in pool.map(channel.place, [asked] * 8)]
    assert len({answer["prepay_id"] for answer in answers}) == 1


def test_a_trade_paid_by_eight_at_once_is_paid_once(channel):
    asked = channel.new()
    del asked["payer"]
    url = channel.place(asked, "native").json()["code_url"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda who: channel.http.post(f"{url}/pay", json={"payer": f"o{who}"}), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json().get("code") for answer in answers} == {None, "ORDERPAID"}
    winner = next(answer for answer in answers if answer.status_code == 200).json()["transaction_id"]
    assert channel.query(asked["out_trade_no"]).json()["transaction_id"] == winner


def test_the_same_buyer_paying_twice_pays_once(channel):
    _, prepay_id = channel.placed()
    assert channel.pay(prepay_id, payer="oBuyer").json() == channel.pay(prepay_id, payer="oBuyer").json()
    assert channel.pay(prepay_id, payer="oOther").json()["code"] == "ORDERPAID"


def test_a_jsapi_trade_is_for_the_buyer_it_names(channel):
    asked, prepay_id = channel.placed()
    assert channel.pay(prepay_id, payer="oOther").json()["code"] == "PARAM_ERROR"
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "NOTPAY"
    nobody = channel.new()
    del nobody["payer"]
    assert channel.place(nobody).json()["code"] == "PARAM_ERROR"


def test_a_closed_trade_can_neither_be_paid_nor_placed(channel):
    asked, prepay_id = channel.placed()
    assert [channel.close(asked["out_trade_no"]).status_code for _ in range(2)] == [204, 204]
    assert channel.pay(prepay_id, payer="oBuyer").json()["code"] == "ORDERCLOSED"
    assert channel.place(asked).json()["code"] == "ORDERCLOSED"
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "CLOSED"
    assert channel.close(channel.paid()["out_trade_no"]).json()["code"] == "ORDERPAID"


def test_a_close_and_a_payment_at_once_have_one_winner(channel):
    for _ in range(10):
        asked, prepay_id = channel.placed()
        with ThreadPoolExecutor(2) as pool:
            closed = pool.submit(channel.close, asked["out_trade_no"])
            paid = pool.submit(channel.pay, prepay_id, payer="oBuyer")
        state = channel.query(asked["out_trade_no"]).json()["trade_state"]
        outcomes = (closed.result().status_code, paid.result().status_code, state)
        assert outcomes in {(204, 400, "CLOSED"), (400, 200, "SUCCESS")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"out_trade_no": "short"},
        {"amount": {"total": 0}},
        {"amount": {"total": 1.5}},
        {"amount": {"total": "100"}},
        {"amount": {"total": 1, "currency": "USD"}},
        {"notify_url": "http://shop/notify?secret=1"},
        {"notify_url": "ftp://shop/notify"},
        {"description": ""},
    ],
)
def test_wrong_parameters_are_told(channel, wrong):
    refused = channel.place(channel.new() | wrong)
    assert (refused.status_code, refused.json()["code"]) == (400, "PARAM_ERROR")


def test_nothing_is_found_where_nothing_is(channel):
    mchid = channel.merchant().mchid
    assert channel.query("T-not-there").json()["code"] == "ORDER_NOT_EXIST"
    assert channel.close("T-not-there").json()["code"] == "ORDER_NOT_EXIST"
    by_id = channel.call("GET", f"/v3/pay/transactions/id/{'4' * 28}?mchid={mchid}")
    assert by_id.status_code == 404
    assert channel.pay("wx-not-there", payer="o").json()["code"] == "RESOURCE_NOT_EXISTS"
    assert channel.http.get("/cashier/wx-not-there").status_code == 404
    assert channel.call("GET", "/v3/refund/domestic/refunds/R-not-there").status_code == 404
    other = channel.call("GET", "/v3/pay/transactions/out-trade-no/T-not-there?mchid=1")
    assert (other.status_code, other.json()["code"]) == (403, "MCH_NOT_EXISTS")


def test_only_the_merchant_comes_through_the_merchants_door(channel):
    merchant = channel.merchant()
    target = f"/v3/pay/transactions/out-trade-no/T-any-123?mchid={merchant.mchid}"
    good = signing.authorize(merchant, "GET", target, b"", now_s=now_s())
    stale = signing.authorize(merchant, "GET", target, b"", now_s=now_s() - 301)
    other_path = signing.authorize(merchant, "GET", target + "x", b"", now_s=now_s())
    for header in ("", "Bearer x", stale, other_path, good.replace(merchant.serial, "0" * 40)):
        refused = channel.http.get(target, headers={"Authorization": header})
        assert (refused.status_code, refused.json()["code"]) == (401, "SIGN_ERROR")
    assert channel.http.get(target, headers={"Authorization": good}).status_code == 404


def test_one_number_is_one_refund(channel):
    asked = channel.paid(1000)
    first = channel.refund(asked, 300, "R-" + asked["out_trade_no"])
    again = channel.refund(asked, 300, "R-" + asked["out_trade_no"])
    assert first.json() == again.json()
    assert first.json()["status"] == "SUCCESS"
    assert channel.refund(asked, 301, "R-" + asked["out_trade_no"]).json()["code"] == "INVALID_REQUEST"
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "REFUND"
    queried = channel.call("GET", f"/v3/refund/domestic/refunds/R-{asked['out_trade_no']}")
    assert queried.json() == first.json()
    other = channel.paid(1000)
    assert channel.refund(other, 300, "R-" + asked["out_trade_no"]).json()["code"] == "INVALID_REQUEST"
    told = channel.shop.wait(f"/{asked['out_trade_no']}", 2)
    refunded = [one for one in told if one.event_type == "REFUND.SUCCESS"]
    assert [one.resource["amount"]["refund"] for one in refunded] == [300]


def test_refunds_at_once_never_give_back_more_than_was_paid(channel):
    asked = channel.paid(1000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: channel.refund(asked, 300), range(8)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert len(done) == 3
    assert channel.refund(asked, 100).status_code == 200
    assert channel.refund(asked, 1).json()["code"] == "INVALID_REQUEST"


def test_refund_by_transaction_id_and_what_is_refused(channel):
    asked = channel.paid(1000)
    trade = channel.query(asked["out_trade_no"]).json()
    by_id = channel.refund(asked, 10, out_trade_no="", transaction_id=trade["transaction_id"])
    assert by_id.json()["transaction_id"] == trade["transaction_id"]
    assert channel.refund(asked, 10, transaction_id="4" * 28).json()["code"] == "RESOURCE_NOT_EXISTS"
    assert channel.refund(asked, 10, out_trade_no="").json()["code"] == "PARAM_ERROR"
    wrong_total = {"refund": 10, "total": 999, "currency": "CNY"}
    assert channel.refund(asked, 10, amount=wrong_total).json()["code"] == "INVALID_REQUEST"
    unpaid, _ = channel.placed()
    assert channel.refund(unpaid, 10).json()["code"] == "INVALID_REQUEST"


def test_scripted_amounts(channel):
    asked = channel.new(888801)
    assert channel.place(asked).json()["code"] == "SYSTEM_ERROR"
    assert "prepay_id" in channel.place(asked).json()
    for total, code in ((888803, "NOT_ENOUGH"), (888804, "BANK_ERROR")):
        asked, prepay_id = channel.placed(total)
        declined = channel.pay(prepay_id, payer="oBuyer")
        assert (declined.status_code, declined.json()["code"]) == (402, code)
        assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "PAYERROR"
        assert channel.pay(prepay_id, payer="oBuyer", outcome="success").status_code == 200
    for total, status in ((888802, 202), (888805, 504)):
        asked, prepay_id = channel.placed(total)
        assert channel.pay(prepay_id, payer="oBuyer").status_code == status
        (told,) = channel.shop.wait(f"/{asked['out_trade_no']}", 1)
        assert told.resource["trade_state"] == "SUCCESS"
    twice = channel.paid(888806)
    first, second = channel.shop.wait(f"/{twice['out_trade_no']}", 2)
    assert first.id == second.id
    asked, prepay_id = channel.placed(888808)
    channel.pay(prepay_id, payer="oBuyer")
    assert channel.http.get(f"/cashier/{prepay_id}").json()["notifications"] == []
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "SUCCESS"


def test_slow_and_abnormal_refunds(channel):
    slow = channel.paid(888809)
    assert channel.refund(slow, 100, "R-" + slow["out_trade_no"]).json()["status"] == "PROCESSING"
    target = f"/v3/refund/domestic/refunds/R-{slow['out_trade_no']}"
    wait_until(lambda: channel.call("GET", target).json()["status"] == "SUCCESS", "the slow refund")
    told = channel.shop.wait(f"/{slow['out_trade_no']}", 2)
    assert told[-1].event_type == "REFUND.SUCCESS"
    odd = channel.paid(888810)
    tries = [channel.refund(odd, 100, "R-" + odd["out_trade_no"]).json()["status"] for _ in range(3)]
    assert tries == ["ABNORMAL", "SUCCESS", "SUCCESS"]
    events = [one.event_type for one in channel.shop.wait(f"/{odd['out_trade_no']}", 3)]
    assert sorted(events) == ["REFUND.ABNORMAL", "REFUND.SUCCESS", "TRANSACTION.SUCCESS"]


def test_a_buyer_who_is_still_typing(channel):
    asked, prepay_id = channel.placed()
    assert channel.pay(prepay_id, payer="oBuyer", outcome="userpaying").status_code == 202
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "USERPAYING"
    assert channel.close(asked["out_trade_no"]).json()["code"] == "USERPAYING"
    assert channel.pay(prepay_id, payer="oBuyer", outcome="declined").status_code == 402
    assert channel.close(asked["out_trade_no"]).status_code == 204


def test_the_bill_of_a_day_adds_up(channel):
    asked = channel.paid(1000)
    done = channel.refund(asked, 250).json()
    trade = channel.query(asked["out_trade_no"]).json()
    bill_date = trade["success_time"][:10]
    where = channel.call("GET", f"/v3/bill/tradebill?bill_date={bill_date}").json()
    assert where["hash_type"] == "SHA1"
    lines = channel.call("GET", where["download_url"].removeprefix(channel.url)).text.split("\r\n")
    rows = [line.split(",") for line in lines if f"`{asked['out_trade_no']}" in line.split(",")]
    assert [row[9] for row in rows] == ["`SUCCESS", "`REFUND"]
    assert [(row[12], row[16]) for row in rows] == [("`10.00", "`0.00"), ("`10.00", "`2.50")]
    assert rows[1][14] == f"`{done['refund_id']}"
    details = [line for line in lines[1:] if line.startswith("`")]
    assert details[-1].split(",")[0] == f"`{len(details) - 1}"
    assert channel.call("GET", "/v3/bill/tradebill?bill_date=yesterday").json()["code"] == "PARAM_ERROR"
    empty = channel.call("GET", "/v3/billdownload/file?bill_date=2014-05-29").text
    assert empty.split("\r\n")[-2] == "`0,`0.00,`0.00,`0.00,`0.00"
