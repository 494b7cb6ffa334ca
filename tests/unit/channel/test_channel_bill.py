"""The bill: header, backticks, CST days, sums and fees."""

from datetime import UTC, datetime, timedelta

import pytest

from services.channel.bill import HEADER, bill, fee, yuan
from services.channel.model import refund, trade
from services.channel.model.script import Attempt, Fault, NotifyPlan, Outcome
from services.channel.model.values import Order

NOON = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
RULES = refund.RefundRules(most=50, window=timedelta(days=365), slow_ms=0)


def paid(number, total, at, description="茶"):
    order = Order(number, "wx1", "1900000109", "JSAPI", description, "http://shop/n", total, "CNY", "d", openid="oB")
    drawn = trade.Drawn(number.rjust(28, "4"), "event")
    new = trade.place(order, f"wx-{number}", Fault.NONE, at)
    return trade.attempt(new, "oB", Attempt(Outcome.SUCCESS, NotifyPlan()), drawn, at)


def back(one, amount, at):
    return refund.refund(one, refund.RefundAsked("R1", amount, one.order.total), RULES, "5" * 28, "e", at)


@pytest.mark.parametrize(("fen", "text"), [(0, "0.00"), (5, "0.05"), (12800, "128.00"), (-250, "-2.50")])
def test_yuan(fen, text):
    assert yuan(fen) == text


@pytest.mark.parametrize(("amount", "charged"), [(83, 0), (84, 1), (250, 2), (1000, 6)])
def test_the_fee_is_rounded_half_up(amount, charged):
    assert fee(amount, 60) == charged


def test_the_header_is_the_classic_one():
    assert len(HEADER.split(",")) == 24
    assert HEADER.startswith("交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识")


def test_a_day_holds_its_payments_and_the_refunds_of_older_ones():
    old = back(paid("T-OLD", 5000, NOON - timedelta(days=1)), 1250, NOON)
    new = paid("T-NEW", 1000, NOON + timedelta(hours=1), "红,茶\n一包")
    lines = bill([new, old], "2026-01-05", 60).split("\r\n")
    assert lines[0] == HEADER
    assert all(len(line.split(",")) == 24 for line in lines[1:3])
    refunded, collected = (line.split(",") for line in lines[1:3])
    assert (refunded[6], refunded[9], refunded[16], refunded[22]) == ("`T-OLD", "`REFUND", "`12.50", "`-0.08")
    assert (collected[6], collected[9], collected[12], collected[20]) == (
        "`T-NEW",
        "`SUCCESS",
        "`10.00",
        "`红，茶 一包",
    )
    assert lines[-2] == "`2,`10.00,`12.50,`0.00,`-0.02"


def test_the_day_ends_at_midnight_in_cst():
    last = paid("T-LAST", 100, datetime(2026, 1, 5, 15, 59, 59, tzinfo=UTC))
    first = paid("T-NEXT", 100, datetime(2026, 1, 5, 16, 0, tzinfo=UTC))
    assert "T-LAST" in bill([last, first], "2026-01-05", 60)
    assert "T-NEXT" not in bill([last, first], "2026-01-05", 60)
    assert "T-NEXT" in bill([last, first], "2026-01-06", 60)
