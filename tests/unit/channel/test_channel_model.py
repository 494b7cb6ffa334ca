"""The rules of the channel without a database: every state against every command, refunds, notifications, the stored form."""

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel import views
from services.channel.model import notice, refund, script, trade
from services.channel.model.refund import RefundAsked, RefundRules
from services.channel.model.script import Attempt, Fault, NotifyPlan, Outcome, Waits
from services.channel.model.values import (
    PAYABLE,
    EventType,
    NoticeState,
    Order,
    RefundStatus,
    Refused,
    TradeState,
    epoch_ms,
)
from services.channel.settings import Rules
from services.channel.store import to_document, to_trade

NOW = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
ORDER = Order("T-000001", "wx1", "1900000109", "NATIVE", "茶", "http://shop/notify", 1000, "CNY", "digest")
DRAWN = trade.Drawn("4" * 28, "event-1")
RULES = RefundRules(most=50, window=timedelta(days=365), slow_ms=5000)
WAITS = Waits(userpaying_ms=5000, late_ms=60_000)
PAY = Attempt(Outcome.SUCCESS, NotifyPlan())


def placed(fault=Fault.NONE, **over):
    return dataclasses.replace(trade.place(ORDER, "wx-prepay", fault, NOW), **over)


def paid(fault=Fault.NONE):
    return trade.attempt(placed(fault), "oBuyer", PAY, DRAWN, NOW)


def give_back(one, amount, number="R1", total=1000, url="http://shop/refund", at=NOW):
    asked = RefundAsked(number, amount, total, notify_url=url)
    return refund.refund(one, asked, RULES, f"id-{number}", f"event-{number}", at)


def refusal(call):
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    ("state", "pay", "close", "reenter"),
    [
        (TradeState.NOTPAY, "SUCCESS", "CLOSED", ""),
        (TradeState.USERPAYING, "SUCCESS", "USERPAYING", ""),
        (TradeState.PAYERROR, "SUCCESS", "CLOSED", ""),
        (TradeState.SUCCESS, "ORDERPAID", "ORDERPAID", "ORDERPAID"),
        (TradeState.REFUND, "ORDERPAID", "ORDERPAID", "ORDERPAID"),
        (TradeState.CLOSED, "ORDERCLOSED", "CLOSED", "ORDERCLOSED"),
        (TradeState.REVOKED, "ORDERCLOSED", "REVOKED", "ORDERCLOSED"),
    ],
)
def test_every_state_against_every_command(state, pay, close, reenter):
    one = placed(state=state, payer="oFirst" if state not in PAYABLE else "")

    def outcome(call):
        try:
            done = call()
        except Refused as refused:
            return refused.code
        return done.state.value if done is not None else ""

    assert outcome(lambda: trade.attempt(one, "oBuyer", PAY, DRAWN, NOW)) == pay
    assert outcome(lambda: trade.close(one)) == close
    assert outcome(lambda: trade.reenter(one, ORDER)) == reenter


def test_a_late_success_keeps_buyer_and_plan():
    waiting = Attempt(Outcome.USERPAYING, NotifyPlan(copies=2, delay_ms=7), settle_ms=100)
    typing = trade.attempt(placed(), "oBuyer", waiting, DRAWN, NOW)
    assert notice.next_due(typing) == epoch_ms(NOW) + 100
    assert trade.settle(typing, DRAWN, NOW + timedelta(milliseconds=99)) is typing
    later = NOW + timedelta(milliseconds=100)
    done = trade.settle(typing, DRAWN, later)
    assert (done.state, done.payer, done.paid_at, done.settle_at, done.plan) == (
        TradeState.SUCCESS,
        "oBuyer",
        later,
        None,
        None,
    )
    assert [one.due_at for one in done.notices] == [epoch_ms(later) + 7] * 2
    assert trade.settle(done, DRAWN, later) is done


def test_an_endless_typist_waits_for_the_next_attempt():
    typing = trade.attempt(placed(), "oBuyer", Attempt(Outcome.USERPAYING, NotifyPlan()), DRAWN, NOW)
    assert notice.next_due(typing) is None
    declined = trade.attempt(typing, "", Attempt(Outcome.DECLINED, NotifyPlan(), code="NOT_ENOUGH"), DRAWN, NOW)
    assert (declined.state, declined.decline, declined.payer) == (TradeState.PAYERROR, "NOT_ENOUGH", "oBuyer")
    assert trade.attempt(declined, "", PAY, DRAWN, NOW).decline == ""


@pytest.mark.parametrize("fault", list(Fault))
def test_the_buyers_own_words_go_before_the_amount(fault):
    plan = NotifyPlan(copies=4)
    assert script.decide(fault, Outcome.SUCCESS, plan, None, WAITS) == Attempt(Outcome.SUCCESS, plan)
    plain = script.decide(fault, None, None, None, WAITS) == Attempt(Outcome.SUCCESS, NotifyPlan())
    assert plain == (fault not in script.AT_THE_CASHIER)


def test_every_scripted_amount_is_told_where_people_look():
    table = script.__doc__ or ""
    page = (Path(__file__).parents[3] / "docs" / "channel.md").read_text(encoding="utf-8")
    rules = Rules(1.0)
    amounts = [int(found) for found in re.findall(r"^\| (8888\d\d) \|", table, re.MULTILINE)]
    assert {rules.fault(amount, NOW) for amount in amounts} == set(Fault) - {Fault.NONE}
    assert all(str(amount) in page for amount in amounts)
    assert all(f"| {amount} | {rules.fault(amount, NOW).value} |" in table for amount in amounts)
    assert rules.fault(12800, NOW) is Fault.NONE


def test_refunds_are_bounded_by_sum_count_time_and_number():
    one = paid()
    assert refusal(lambda: give_back(placed(), 1)) == "INVALID_REQUEST"
    assert refusal(lambda: give_back(one, 1001)) == "INVALID_REQUEST"
    assert refusal(lambda: give_back(one, 1, total=999)) == "INVALID_REQUEST"
    assert refusal(lambda: give_back(one, 1, at=NOW + timedelta(days=365, milliseconds=1))) == "INVALID_REQUEST"
    assert give_back(one, 1, at=NOW + timedelta(days=365)).refunded == 1
    many = one
    for number in range(50):
        many = give_back(many, 1, number=f"R{number}")
    assert refusal(lambda: give_back(many, 1, number="R50")) == "INVALID_REQUEST"
    assert give_back(many, 1, number="R49") is many
    assert refusal(lambda: give_back(many, 2, number="R49")) == "INVALID_REQUEST"


@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.integers(1, 700)), max_size=20))
def test_no_sequence_of_refunds_gives_back_more_than_was_paid(asked):
    one, done = paid(), {}
    for number, amount in asked:
        try:
            one = give_back(one, amount, number=number)
        except Refused:
            continue
        assert done.setdefault(number, amount) == amount
    assert one.refunded == sum(done.values()) <= one.order.total
    assert len([told for told in one.notices if told.event_type is EventType.REFUNDED]) == len(done)


def test_slow_and_abnormal_refunds():
    slow = give_back(paid(Fault.REFUND_PROCESSING), 10)
    assert slow.refunds[0].status is RefundStatus.PROCESSING
    assert refund.settle_refund(slow, "e", NOW) is slow
    done = refund.settle_refund(slow, "e", NOW + timedelta(seconds=5))
    assert (done.refunds[0].status, done.refunds[0].settle_at) == (RefundStatus.SUCCESS, None)
    odd = give_back(paid(Fault.REFUND_ABNORMAL), 1000)
    assert (odd.refunds[0].status, odd.notices[-1].event_type) == (RefundStatus.ABNORMAL, EventType.REFUND_ABNORMAL)
    assert refusal(lambda: give_back(odd, 1, number="R2")) == "INVALID_REQUEST"
    again = give_back(odd, 1000)
    assert (again.refunds[0].status, again.refunded) == (RefundStatus.SUCCESS, 1000)
    assert views.resource(again, again.notices[-2])["refund_status"] == "ABNORMAL"
    assert "success_time" not in views.resource(again, again.notices[-2])


def test_a_refund_without_address_is_told_by_query_only():
    assert give_back(paid(), 10, url="").notices == paid().notices


def test_a_notification_is_tried_by_the_schedule_and_then_given_up():
    one, retry = paid(), [15_000, 30_000]
    key, at, spans = one.notices[0].key, NOW, []
    while (told := one.notices[0]).state is NoticeState.PENDING:
        assert notice.due(one, told.due_at) == (told,)
        assert notice.due(one, told.due_at - 1) == ()
        at = max(at, NOW + timedelta(milliseconds=told.due_at - epoch_ms(NOW)))
        one = notice.attempted(one, {key: "HTTP 500"}, {key: told.attempts}, retry, at)
        spans.append(one.notices[0].due_at - epoch_ms(at))
    assert (spans[:2], one.notices[0].state, one.notices[0].attempts) == ([15_000, 30_000], NoticeState.GIVEN_UP, 3)
    assert notice.next_due(one) is None


def test_a_result_is_recorded_once_whoever_else_delivered():
    one = paid()
    key = one.notices[0].key
    failed = notice.attempted(one, {key: "HTTP 500"}, {key: 0}, [1000], NOW)
    assert notice.attempted(failed, {key: "HTTP 500"}, {key: 0}, [1000], NOW) == failed
    taken = notice.attempted(one, {key: ""}, {key: 0}, [1000], NOW)
    assert notice.attempted(taken, {key: "HTTP 500"}, {key: 0}, [1000], NOW) == taken


def test_the_policy_schedule_is_that_of_the_manual():
    early = datetime(2016, 1, 5, tzinfo=UTC)
    assert [span // 1000 for span in Rules(1.0).retry_ms(early)] == [15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600]
    spans = [span // 1000 for span in Rules(1.0).retry_ms(NOW)]
    assert spans == [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]
    assert sum(spans) == 24 * 3600 + 4 * 60
    assert Rules(0.01).retry_ms(NOW)[0] == 150


@pytest.mark.parametrize(
    "one",
    [
        placed(),
        placed(Fault.NOTIFY_TWICE),
        paid(),
        give_back(paid(), 10),
        give_back(paid(Fault.REFUND_PROCESSING), 10),
        trade.attempt(placed(), "o", Attempt(Outcome.USERPAYING, NotifyPlan(hold=True), 5), DRAWN, NOW),
        trade.attempt(placed(), "o", Attempt(Outcome.DECLINED, NotifyPlan(), code="BANK_ERROR"), DRAWN, NOW),
        trade.attempt(placed(), "", Attempt(Outcome.SUCCESS, NotifyPlan(copies=0)), DRAWN, NOW),
    ],
)
def test_a_trade_is_read_as_it_was_stored(one):
    assert to_trade(to_document(one)) == one


def test_an_empty_number_is_never_stored_where_it_must_be_unique():
    document = to_document(placed())
    assert "transaction_id" not in document
    assert "refunds" not in document
    assert "due_at" not in document


def test_a_trade_stands_on_the_bill_of_each_cst_day_it_moved_money():
    evening = datetime(2026, 1, 5, 15, 59, tzinfo=UTC)
    one = trade.attempt(placed(), "o", PAY, DRAWN, evening)
    assert to_document(one)["bill_days"] == ["2026-01-05"]
    back = give_back(one, 1, at=evening + timedelta(minutes=1))
    assert to_document(back)["bill_days"] == ["2026-01-05", "2026-01-06"]
