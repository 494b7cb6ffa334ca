"""Placing, paying and closing a trade (统一下单, 支付, 关闭订单)."""

from dataclasses import dataclass, replace
from datetime import datetime

from services.channel.model.notice import notices
from services.channel.model.script import Attempt, Fault, NotifyPlan, Outcome
from services.channel.model.values import (
    PAID,
    PAYABLE,
    EventType,
    Order,
    Refused,
    Success,
    Trade,
    TradeState,
    epoch_ms,
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Numbers drawn for a success that is about to be written."""

    transaction_id: str
    event_id: str


def place(order: Order, prepay_id: str, fault: Fault, now: datetime) -> Trade:
    """A new trade, not yet paid."""
    return Trade(order=order, prepay_id=prepay_id, state=TradeState.NOTPAY, fault=fault, created_at=now)


def reenter(trade: Trade, order: Order) -> None:
    """Allow the same out_trade_no again only with the same parameters, before it is paid or closed (重入).

    Raises Refused: ORDERPAID, ORDERCLOSED, INVALID_REQUEST.
    """
    if trade.state in PAID:
        raise Refused("ORDERPAID", "该订单已支付")
    if trade.state not in PAYABLE:
        raise Refused("ORDERCLOSED", "该订单已关闭")
    if trade.order.digest != order.digest:
        raise Refused("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")


def attempt(trade: Trade, payer: str, what: Attempt, drawn: Drawn, now: datetime) -> Trade:
    """The buyer tries to pay. The same buyer paying again what they have paid changes nothing.

    Raises Refused: ORDERCLOSED; ORDERPAID (by somebody else); PARAM_ERROR (JSAPI trade of another buyer).
    """
    if trade.state in PAID:
        if payer and payer != trade.buyer:
            raise Refused("ORDERPAID", "该订单已支付")
        return trade
    if trade.state not in PAYABLE:
        raise Refused("ORDERCLOSED", "该订单已关闭")
    if trade.order.openid and payer and payer != trade.order.openid:
        raise Refused("PARAM_ERROR", "支付者与下单用户不一致")
    if what.outcome is Outcome.SUCCESS:
        return _succeed(trade, success(payer or trade.payer, what.notify, drawn, now))
    trying = replace(trade, payer=payer or trade.payer, decline="", settle_at=None, plan=None)
    if what.outcome is Outcome.DECLINED:
        return replace(trying, state=TradeState.PAYERROR, decline=what.code)
    settle_at = None if what.settle_ms is None else epoch_ms(now) + what.settle_ms
    return replace(trying, state=TradeState.USERPAYING, settle_at=settle_at, plan=what.notify)


def success(payer: str, plan: NotifyPlan, drawn: Drawn, now: datetime) -> Success:
    """What a payment by ``payer`` adds, told as ``plan`` says."""
    return Success(payer, drawn.transaction_id, now, notices(drawn.event_id, EventType.PAID, plan, now))


def _succeed(trade: Trade, done: Success) -> Trade:
    return replace(
        trade,
        state=TradeState.SUCCESS,
        payer=done.payer,
        transaction_id=done.transaction_id,
        paid_at=done.paid_at,
        notices=done.notices,
        decline="",
        settle_at=None,
        plan=None,
    )


def settle(trade: Trade, drawn: Drawn, now: datetime) -> Trade:
    """Let a USERPAYING trade whose time has come succeed; any other stays as it is."""
    if trade.state is not TradeState.USERPAYING or trade.settle_at is None or trade.settle_at > epoch_ms(now):
        return trade
    return _succeed(trade, success(trade.payer, trade.plan or NotifyPlan(), drawn, now))


def close(trade: Trade) -> Trade:
    """Close what nobody has paid; closing again changes nothing.

    Raises Refused: ORDERPAID; USERPAYING while the buyer types a password (try again later).
    """
    if trade.state in PAID:
        raise Refused("ORDERPAID", "订单已支付，不能关闭")
    if trade.state is TradeState.USERPAYING:
        raise Refused("USERPAYING", "用户支付中，需要输入密码；请稍后查询")
    return replace(trade, state=TradeState.CLOSED) if trade.state in PAYABLE else trade
