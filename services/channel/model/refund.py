"""Refunds (申请退款): one refund a number, bounded in count, sum and time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.channel.model.notice import notices
from services.channel.model.script import Fault, NotifyPlan
from services.channel.model.values import PAID, EventType, Refund, RefundStatus, Refused, Trade, TradeState, epoch_ms


@dataclass(frozen=True, slots=True)
class RefundAsked:
    """What the merchant asks to give back; ``amount`` and ``total`` (the trade's own) in fen."""

    out_refund_no: str
    amount: int
    total: int
    reason: str = ""
    notify_url: str = ""


@dataclass(frozen=True, slots=True)
class RefundRules:
    """Limits in force: refunds a trade, time since the payment, milliseconds a scripted slow refund takes."""

    most: int
    window: timedelta
    slow_ms: int


def refund(trade: Trade, asked: RefundAsked, rules: RefundRules, refund_id: str, event_id: str, now: datetime) -> Trade:
    """Give money back. The same out_refund_no is one refund: asked again it changes nothing, unless the first try ended ABNORMAL.

    Raises Refused: INVALID_REQUEST (not paid, other amount under the same number, too many, too much, too late).
    """
    known = trade.refund(asked.out_refund_no)
    if (trade.state not in PAID and known is None) or trade.paid_at is None:
        raise Refused("INVALID_REQUEST", "订单未支付，不能退款")
    if asked.total != trade.order.total or (known is not None and known.amount != asked.amount):
        raise Refused("INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
    if known is not None:
        return trade if known.status is not RefundStatus.ABNORMAL else _done(trade, known, event_id, now)
    if len(trade.refunds) >= rules.most:
        raise Refused("INVALID_REQUEST", f"一笔订单最多部分退款 {rules.most} 次")
    if trade.refunded + asked.amount > trade.order.total:
        raise Refused("INVALID_REQUEST", "申请退款金额超过可退金额")
    if now > trade.paid_at + rules.window:
        raise Refused("INVALID_REQUEST", "订单已超过可退款的最大期限")
    new = Refund(
        out_refund_no=asked.out_refund_no,
        refund_id=refund_id,
        amount=asked.amount,
        status=RefundStatus.PROCESSING,
        created_at=now,
        reason=asked.reason,
        notify_url=asked.notify_url,
    )
    accepted = replace(trade, state=TradeState.REFUND, refunds=(*trade.refunds, new))
    if trade.fault is Fault.REFUND_PROCESSING:
        return _put(accepted, replace(new, settle_at=epoch_ms(now) + rules.slow_ms))
    if trade.fault is Fault.REFUND_ABNORMAL:
        failed = _put(accepted, replace(new, status=RefundStatus.ABNORMAL))
        return _tell(failed, new, EventType.REFUND_ABNORMAL, event_id, now)
    return _done(accepted, new, event_id, now)


def settle_refund(trade: Trade, event_id: str, now: datetime) -> Trade:
    """Finish the first PROCESSING refund whose time has come; without one the trade stays as it is."""
    for one in trade.refunds:
        if one.settle_at is not None and one.settle_at <= epoch_ms(now):
            return _done(trade, one, event_id, now)
    return trade


def _done(trade: Trade, one: Refund, event_id: str, now: datetime) -> Trade:
    settled = replace(one, status=RefundStatus.SUCCESS, settle_at=None, success_at=now)
    return _tell(_put(trade, settled), settled, EventType.REFUNDED, event_id, now)


def _put(trade: Trade, new: Refund) -> Trade:
    changed = tuple(new if one.out_refund_no == new.out_refund_no else one for one in trade.refunds)
    return replace(trade, refunds=changed)


def _tell(trade: Trade, one: Refund, event_type: EventType, event_id: str, now: datetime) -> Trade:
    """A refund asked without notify_url is told by query only."""
    if not one.notify_url:
        return trade
    return replace(trade, notices=trade.notices + notices(event_id, event_type, NotifyPlan(), now, one.out_refund_no))
