"""Payment codes (付款码): the 18 digits that a buyer's phone shows and a till scans, and what becomes of a trade paid with one."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.channel.model.script import AT_THE_CASHIER, Attempt, Fault, NotifyPlan, Outcome
from services.channel.model.values import PAID, PAYABLE, Refund, RefundStatus, Refused, Trade, TradeState

TRADE_TYPE: Final = "MICROPAY"
SHAPE: Final = re.compile(r"1[0-5][0-9]{16}")
SILENT: Final = NotifyPlan(copies=0)
"""刷卡支付 answers at once or is asked for; it is never notified."""


def check(code: str) -> None:
    """Raise Refused AUTH_CODE_INVALID unless ``code`` has the shape of a payment code."""
    if SHAPE.fullmatch(code) is None:
        raise Refused("AUTH_CODE_INVALID", "付款码无效：须为 18 位数字，以 10 至 15 开头；请刷新后重新扫码")


def by_password(what: Attempt, fault: Fault, total: int, outcome: Outcome | None, limit: int) -> Attempt:
    """Above ``limit`` fen the buyer types a password first (免密限额), unless something else was scripted."""
    scripted = outcome is not None or fault in AT_THE_CASHIER
    if scripted or total <= limit:
        return what
    return Attempt(Outcome.USERPAYING, SILENT)


def reversal_number(out_trade_no: str) -> str:
    """The refund's number of a payment that was reversed."""
    return f"rv-{out_trade_no}"


def reverse(trade: Trade, refund_id: str, now: datetime) -> Trade:
    """Reverse (撤销订单): an unpaid trade can no longer be paid, a paid one is given back whole; again changes nothing.

    Raises Refused INVALID_REQUEST: not a trade by payment code, or refunded in part already.
    """
    if trade.order.trade_type != TRADE_TYPE:
        raise Refused("INVALID_REQUEST", "只有付款码支付可以撤销，请使用关闭订单或申请退款")
    if trade.state in PAYABLE:
        return replace(trade, state=TradeState.REVOKED, settle_at=None, plan=None)
    if trade.state not in PAID:
        return trade
    if trade.refunds:
        raise Refused("INVALID_REQUEST", "订单已有退款，不能撤销")
    number, total = reversal_number(trade.order.out_trade_no), trade.order.total
    back = Refund(number, refund_id, total, RefundStatus.SUCCESS, now, "撤销订单", success_at=now)
    return replace(trade, state=TradeState.REVOKED, refunds=(back,))
