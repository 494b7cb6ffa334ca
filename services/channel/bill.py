"""The day's bill (对账单), in the classic ALL form: the other side of the merchant's reconciliation.

Rows are the payments of one CST day and the refunds accepted on it; amounts in yuan, every field behind a backtick; a summary
follows. Unpaid trades never appear. A refund row keeps the status the refund has when the bill is asked for.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from services.channel.model.billing import payment_amounts, payment_day
from services.channel.model.values import Refund, Trade
from services.chassis.calendar import CST, day

HEADER: Final = (
    "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,总金额,"
    "企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率"
)
SUMMARY: Final = "总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额"

_BASIS: Final = 10_000


def yuan(fen: int) -> str:
    """Fen as yuan with two decimals."""
    sign, rest = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{rest // 100}.{rest % 100:02d}"


def fee(amount: int, basis_points: int) -> int:
    """The channel's fee on ``amount`` fen, rounded half up to the fen."""
    return (amount * basis_points + _BASIS // 2) // _BASIS


def _line(values: Iterable[str]) -> str:
    """Backticks before every field; a comma or a line break in a text would split the row."""
    return ",".join("`" + value.replace(",", "，").replace("\r", " ").replace("\n", " ") for value in values)


def _row(trade: Trade, when: datetime, back: Refund | None, basis_points: int, total: int) -> str:
    order = trade.order
    charged = fee(total, basis_points) if back is None else -fee(back.amount, basis_points)
    refund = ("", "", yuan(0), yuan(0), "", "")
    if back is not None:
        refund = (back.refund_id, back.out_refund_no, yuan(back.amount), yuan(0), "ORIGINAL", back.status.value)
    return _line(
        (
            when.astimezone(CST).strftime("%Y-%m-%d %H:%M:%S"),
            order.appid,
            order.mchid,
            "",
            "",
            trade.transaction_id,
            order.out_trade_no,
            trade.buyer,
            order.trade_type,
            "SUCCESS" if back is None else "REFUND",
            "OTHERS",
            order.currency,
            yuan(total),
            yuan(0),
            *refund,
            order.description,
            order.attach,
            yuan(charged),
            f"{basis_points // 100}.{basis_points % 100:02d}%",
        )
    )


def bill(trades: Iterable[Trade], cst_day: str, basis_points: int) -> str:
    """The bill of a CST day (``"2026-01-05"``) as CSV text, rows in order of time; ``basis_points`` is the fee's rate."""
    rows: list[tuple[datetime, str]] = []
    paid = refunded = fees = 0
    for trade in trades:
        if trade.paid_at is not None and payment_day(trade.paid_at, trade.fault) == cst_day:
            for amount in payment_amounts(trade):
                rows.append((trade.paid_at, _row(trade, trade.paid_at, None, basis_points, amount)))
                paid += amount
                fees += fee(amount, basis_points)
        for back in trade.refunds:
            if day(back.created_at) == cst_day:
                rows.append((back.created_at, _row(trade, back.created_at, back, basis_points, trade.order.total)))
                refunded += back.amount
                fees -= fee(back.amount, basis_points)
    total = _line((str(len(rows)), yuan(paid), yuan(refunded), yuan(0), yuan(fees)))
    return "\r\n".join([HEADER, *(text for _, text in sorted(rows)), SUMMARY, total, ""])
