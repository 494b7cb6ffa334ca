"""A shop's bill of a day adds up, in JSON and in its two files, and all shops' bills are the ledger."""

import pytest

from services.chassis import clock
from services.chassis.calendar import day
from services.chassis.errors import Refusal
from services.chassis.jobs import Jobs
from services.chassis.presence import Presence
from services.payments import queries
from services.payments.jobs import JOBS
from services.payments.jobs.sealing import seal_all
from services.payments.model.bills import FLOW_HEADER, TRADE_HEADER, yuan
from services.payments.queries import bills
from services.payments.store.days import next_day
from tests.backends.deposits import paid_in
from tests.contract.payments.house import BUYER, OPENID, SHOP

DAY_MS = 86_400_000


def today():
    return day(clock.business())


def tomorrow():
    clock.see(clock.offset_ms() + DAY_MS)
    return today()


def lines(house, date, kind):
    data, rest = bills.piece(house.store, SHOP, date, kind, 0)
    assert rest == 0
    return data.decode().split("\r\n")[:-1]


def two_days(house):
    """Monday: two payments, one sent back, a deposit. Tuesday: the other one settles. Answers the two days."""
    house.shop()
    monday = today()
    kept, returned = house.paid(1000), house.paid(700)
    (order_id,) = house.order_ids(returned)
    house.hear("jishi.orders.order.closed.v1", returned, order_id=order_id, was_paid=True, amount=700)
    house.send_refunds()
    paid_in(house.store, SHOP, 5000)
    tuesday = tomorrow()
    house.complete(kept, house.order_ids(kept)[0])
    return monday, tuesday


def test_opening_and_movements_are_the_closing_and_the_next_days_opening(house):
    monday, tuesday = two_days(house)
    first, _ = bills.page(house.store, SHOP, monday, 0, 0)
    assert (first["opening"], first["paid"], first["refunded"], first["other"], first["closing"]) == (
        *(0, 1700),
        *(700, 5000, 6000),
    )
    assert sorted((row["kind"], row["amount"]) for row in first["rows"]) == [
        *[("collect", 700), ("collect", 1000)],
        *[("deposit", 5000), ("refund", -700)],
    ]
    assert [row["openid"] for row in first["rows"] if row["kind"] != "deposit"] == [OPENID] * 3
    assert BUYER not in str(first) + str(lines(house, monday, bills.TRADE)), "a shop knows its buyers by openid"
    assert f"`{OPENID},`" in lines(house, monday, bills.TRADE)[1]
    second, _ = bills.page(house.store, SHOP, tuesday, 0, 0)
    assert (second["opening"], second["fees"], second["closing"]) == (6000, 6, 5994)
    accounts = {one["account"]: one for one in second["accounts"]}
    assert (accounts["escrow"]["opening"], accounts["escrow"]["closing"]) == (1000, 0)
    assert (accounts["available"]["closing"], accounts["deposit"]["closing"]) == (994, 5000)
    for one in (first, second):
        assert one["opening"] + sum(row["amount"] for row in one["rows"]) == one["closing"]
    rows, balanced = queries.trial_balance(house.store)
    assert balanced
    assert second["closing"] == sum(row["balance"] for row in rows if row["kind"].startswith(("order:", "shop:")))


def test_rows_come_in_pages_and_the_figures_are_the_days(house):
    monday, _ = two_days(house)
    first, rest = bills.page(house.store, SHOP, monday, 0, 3)
    second, end = bills.page(house.store, SHOP, monday, rest, 3)
    assert (len(first["rows"]), len(second["rows"]), end) == (3, 1, 0)
    assert first["closing"] == second["closing"] == second["rows"][-1]["balance"]


def test_the_trade_file_has_the_official_columns_and_sums(house):
    monday, _ = two_days(house)
    header, *rows, summary_header, summary = lines(house, monday, bills.TRADE)
    assert header == TRADE_HEADER
    assert {len(row.split(",")) for row in rows} == {24}
    assert all(field.startswith("`") for row in rows for field in row.split(","))
    told = [dict(zip(header.split(","), row.replace("`", "").split(","), strict=True)) for row in rows]
    paid = [row for row in told if row["交易状态"] == "SUCCESS"]
    (back,) = [row for row in told if row["交易状态"] == "REFUND"]
    assert sorted(row["总金额"] for row in paid) == ["10.00", "7.00"]
    assert (back["退款金额"], back["退款状态"], back["交易类型"]) == ("7.00", "SUCCESS", "NATIVE")
    assert back["微信订单号"] == next(row["微信订单号"] for row in paid if row["总金额"] == "7.00")
    assert summary_header.startswith("总交易单数")
    assert summary == "`3,`17.00,`7.00,`0.00,`0.00"


def test_the_fund_flow_file_ends_with_what_the_shop_has(house):
    monday, tuesday = two_days(house)
    header, *rows, _, summary = lines(house, monday, bills.FLOW)
    assert header == FLOW_HEADER
    assert rows[-1].split(",")[7] == f"`{yuan(6000)}"
    assert summary == "`4,`3,`67.00,`1,`7.00"
    (fee,) = lines(house, tuesday, bills.FLOW)[1:-2]
    assert fee.split(",")[4:8] == ["`扣除交易手续费", "`支出", "`0.06", "`59.94"]


def test_what_cannot_be_asked_is_refused_by_its_field(house):
    house.shop()
    for wrong in ("2026-1-5", "yesterday", "20260105", "2999-01-01"):
        with pytest.raises(Refusal) as refused:
            bills.page(house.store, SHOP, wrong, 0, 0)
        assert refused.value.violations[0].field == "date"
    with pytest.raises(Refusal, match="NOT_FOUND"):
        bills.page(house.store, "shop_nobody", today(), 0, 0)
    assert bills.page(house.store, SHOP, today(), 0, 0)[0]["final"] is False
    empty, _ = bills.page(house.store, SHOP, "2020-02-29", 0, 0)
    assert (empty["opening"], empty["closing"], empty["final"]) == (0, 0, True)


def test_a_bill_is_the_same_from_the_journal_and_from_its_sums(house):
    house.shop()
    for amount in (500, 600, 700):
        house.paid(amount)
        tomorrow()
    days = [next_day(today(), -back) for back in range(4)]

    def told():
        return [bills.page(house.store, SHOP, date, 0, 0)[0] for date in days]

    unsealed = told()
    assert [one["closing"] for one in unsealed] == [1800, 1800, 1100, 500]
    Jobs("payments", house.database, JOBS, Presence("payments", "tests", "jobs")).stand()
    assert seal_all(house.store, lambda: None) == 3
    assert told() == unsealed
    house.store.sums.delete_many({})
    house.store.sealing.update_many({}, {"$unset": {"summed": ""}})
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        told()
    seal_all(house.store, lambda: None)
    assert told() == unsealed, "made anew from the chain"
