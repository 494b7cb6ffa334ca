"""What the day's bill says of a payment: the truth, unless the amount scripts an error that reconciliation must find."""

from datetime import datetime, timedelta
from typing import Final

from services.channel.model.script import Fault
from services.channel.model.values import Trade
from services.chassis.calendar import day

WRONG_BY_FEN: Final = 100


def payment_day(paid_at: datetime, fault: Fault) -> str:
    """The CST day on whose bill a payment stands."""
    return day(paid_at + timedelta(days=1) if fault is Fault.BILL_LATE else paid_at)


def payment_amounts(trade: Trade) -> tuple[int, ...]:
    """The amount (fen) of each row that the bill has of the payment."""
    total = trade.order.total
    if trade.fault is Fault.BILL_MISSING:
        return ()
    if trade.fault is Fault.BILL_DOUBLE:
        return (total, total)
    return (total - WRONG_BY_FEN,) if trade.fault is Fault.BILL_AMOUNT else (total,)
