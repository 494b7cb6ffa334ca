"""The words of the channel: states, the trade and what hangs on it, and the refusal."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.channel.model.script import Fault, NotifyPlan


class TradeState(StrEnum):
    """States of a trade (交易状态), as the order query names them."""

    NOTPAY = "NOTPAY"
    USERPAYING = "USERPAYING"
    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    CLOSED = "CLOSED"
    REVOKED = "REVOKED"
    """Reversed by the merchant (已撤销): only 付款码 payments can be."""
    PAYERROR = "PAYERROR"
    """The last attempt was declined. The buyer may try again, the merchant may close."""


STATE_WORDS: Final = {
    TradeState.NOTPAY: "未支付",
    TradeState.USERPAYING: "用户支付中",
    TradeState.SUCCESS: "支付成功",
    TradeState.REFUND: "转入退款",
    TradeState.CLOSED: "已关闭",
    TradeState.REVOKED: "已撤销",
    TradeState.PAYERROR: "支付失败",
}
PAYABLE: Final = frozenset({TradeState.NOTPAY, TradeState.USERPAYING, TradeState.PAYERROR})
PAID: Final = frozenset({TradeState.SUCCESS, TradeState.REFUND})


class RefundStatus(StrEnum):
    """Status of a refund (退款状态)."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ABNORMAL = "ABNORMAL"
    """The money found no way back; asking again under the same out_refund_no tries again."""


class EventType(StrEnum):
    """What a notification tells."""

    PAID = "TRANSACTION.SUCCESS"
    REFUNDED = "REFUND.SUCCESS"
    REFUND_ABNORMAL = "REFUND.ABNORMAL"


class NoticeState(StrEnum):
    """Where one notification stands."""

    PENDING = "pending"
    HELD = "held"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification on its way. Copies of one event share ``event_id`` and differ in ``key``."""

    key: str
    event_id: str
    event_type: EventType
    state: NoticeState
    due_at: int
    """Milliseconds since 1970; says nothing unless pending."""
    out_refund_no: str = ""
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of a trade; ``amount`` in fen."""

    out_refund_no: str
    refund_id: str
    amount: int
    status: RefundStatus
    created_at: datetime
    reason: str = ""
    notify_url: str = ""
    settle_at: int | None = None
    """When a PROCESSING refund is done: milliseconds since 1970."""
    success_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What the merchant asked to collect, frozen; ``total`` in fen, ``digest`` over all that was sent."""

    out_trade_no: str
    appid: str
    mchid: str
    trade_type: str
    """JSAPI, NATIVE or MICROPAY."""
    description: str
    notify_url: str
    total: int
    currency: str
    digest: str
    attach: str = ""
    v2_signed: str = ""
    """Placed by v2, and told in v2: how its messages are signed, MD5 or HMAC-SHA256. Empty: v3."""
    goods: tuple[str, ...] = ()
    """What the buyer is shown to pay for (goods_detail): names, such as the shops of a checkout."""
    pay_by: str = ""
    """time_expire as it was asked for; shown, and not judged."""
    openid: str = ""
    """The buyer named at placement (JSAPI); nobody else may pay then."""


@dataclass(frozen=True, slots=True)
class Success:
    """What a payment that succeeds adds to its trade."""

    payer: str
    transaction_id: str
    paid_at: datetime
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade with its refunds and notifications: one document, so one write changes them together."""

    order: Order
    prepay_id: str
    state: TradeState
    fault: Fault
    created_at: datetime
    rev: int = 0
    """Counts writes; every write is conditional on the one it has read."""
    transaction_id: str = ""
    payer: str = ""
    paid_at: datetime | None = None
    decline: str = ""
    settle_at: int | None = None
    """When a USERPAYING trade becomes SUCCESS by itself: milliseconds since 1970."""
    plan: NotifyPlan | None = None
    """How a success still to come will be told."""
    refunds: tuple[Refund, ...] = field(default=())
    notices: tuple[Notice, ...] = field(default=())

    @property
    def buyer(self) -> str:
        """The openid of who paid or must pay; empty where nobody was named."""
        return self.payer or self.order.openid

    @property
    def refunded(self) -> int:
        """Fen given back or on their way back; an abnormal refund keeps its share until it is retried."""
        return sum(refund.amount for refund in self.refunds)

    def refund(self, out_refund_no: str) -> Refund | None:
        """The refund with that number."""
        return next((refund for refund in self.refunds if refund.out_refund_no == out_refund_no), None)


HTTP_STATUS: Final = {
    "PARAM_ERROR": 400,
    "INVALID_REQUEST": 400,
    "ORDERPAID": 400,
    "AUTH_CODE_INVALID": 400,
    "AUTHCODEEXPIRE": 400,
    "ORDERCLOSED": 400,
    "USERPAYING": 400,
    "SIGN_ERROR": 401,
    "NOT_ENOUGH": 402,
    "BANK_ERROR": 402,
    "MCH_NOT_EXISTS": 403,
    "ORDER_NOT_EXIST": 404,
    "RESOURCE_NOT_EXISTS": 404,
    "SYSTEM_ERROR": 500,
    "PAY_TIMEOUT": 504,
}
"""How each refusal travels."""


@dataclass(slots=True)
class Refused(Exception):
    """A request the channel declines: ``code`` is a key of HTTP_STATUS, ``message`` is for people."""

    code: str
    message: str

    @property
    def http_status(self) -> int:
        """The HTTP status it is told with."""
        return HTTP_STATUS[self.code]


def epoch_ms(when: datetime) -> int:
    """Milliseconds since 1970."""
    return int(when.timestamp()) * 1000 + when.microsecond // 1000
