"""What the channel tells: the JSON shapes of WeChat Pay APIv3. Amounts in fen, times RFC 3339 in CST."""

from datetime import datetime
from typing import Any

from services.channel.model.values import STATE_WORDS, EventType, Notice, Refund, Trade, TradeState
from services.chassis.calendar import CST

View = dict[str, Any]

_SUMMARY = {
    EventType.PAID: "支付成功",
    EventType.REFUNDED: "退款成功",
    EventType.REFUND_ABNORMAL: "退款异常",
}


def told_time(when: datetime) -> str:
    """``2026-01-05T10:00:00+08:00``."""
    return when.astimezone(CST).isoformat(timespec="seconds")


def trade(one: Trade, state: TradeState | None = None) -> View:
    """A trade as the order query answers it; ``state`` as it was when an event happened."""
    now = state or one.state
    view: View = {
        "appid": one.order.appid,
        "mchid": one.order.mchid,
        "out_trade_no": one.order.out_trade_no,
        "trade_type": one.order.trade_type,
        "trade_state": now.value,
        "trade_state_desc": f"{STATE_WORDS[now]}（{one.decline}）" if one.decline else STATE_WORDS[now],
        "attach": one.order.attach,
        "amount": {"total": one.order.total, "currency": one.order.currency},
    }
    if one.paid_at is not None:
        view |= {
            "transaction_id": one.transaction_id,
            "bank_type": "OTHERS",
            "success_time": told_time(one.paid_at),
            "payer": {"openid": one.buyer or "anonymous"},
        }
        view["amount"] |= {"payer_total": one.order.total, "payer_currency": one.order.currency}
    return view


def refund(one: Trade, back: Refund) -> View:
    """A refund as its query answers it."""
    view: View = {
        "refund_id": back.refund_id,
        "out_refund_no": back.out_refund_no,
        "transaction_id": one.transaction_id,
        "out_trade_no": one.order.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": told_time(back.created_at),
        "status": back.status.value,
        "funds_account": "AVAILABLE",
        "amount": _refund_amount(one, back) | {"currency": one.order.currency},
    }
    if back.success_at is not None:
        view["success_time"] = told_time(back.success_at)
    return view


def _refund_amount(one: Trade, back: Refund) -> View:
    return {
        "total": one.order.total,
        "refund": back.amount,
        "payer_total": one.order.total,
        "payer_refund": back.amount,
    }


def resource(one: Trade, notice: Notice) -> View:
    """What a notification carries sealed: the trade as it was paid, or one refund."""
    if notice.event_type is EventType.PAID:
        return trade(one, TradeState.SUCCESS)
    back = one.refund(notice.out_refund_no)
    if back is None:
        raise LookupError(f"notification {notice.key} tells of a refund that the trade does not hold")
    status = "SUCCESS" if notice.event_type is EventType.REFUNDED else "ABNORMAL"
    view = {
        "mchid": one.order.mchid,
        "out_trade_no": one.order.out_trade_no,
        "transaction_id": one.transaction_id,
        "out_refund_no": back.out_refund_no,
        "refund_id": back.refund_id,
        "refund_status": status,
        "user_received_account": "支付用户零钱",
        "amount": _refund_amount(one, back),
    }
    if back.success_at is not None and status == "SUCCESS":
        view["success_time"] = told_time(back.success_at)
    return view


def notification(notice: Notice, sealed: View, now: datetime) -> View:
    """The body of a notification around its sealed resource."""
    return {
        "id": notice.event_id,
        "create_time": told_time(now),
        "resource_type": "encrypt-resource",
        "event_type": notice.event_type.value,
        "summary": _SUMMARY[notice.event_type],
        "resource": sealed,
    }


def cashier(one: Trade) -> View:
    """What the buyer sees, with the notifications as they stand (a sandbox shows them)."""
    return {
        "prepay_id": one.prepay_id,
        "description": one.order.description,
        "goods": list(one.order.goods),
        "pay_by": one.order.pay_by,
        "trade_type": one.order.trade_type,
        "trade_state": one.state.value,
        "trade_state_desc": STATE_WORDS[one.state],
        "amount": {"total": one.order.total, "currency": one.order.currency},
        "transaction_id": one.transaction_id,
        "decline": one.decline,
        "notifications": [
            {
                "id": notice.event_id,
                "event_type": notice.event_type.value,
                "state": notice.state.value,
                "attempts": notice.attempts,
                "error": notice.error,
            }
            for notice in one.notices
        ],
    }
