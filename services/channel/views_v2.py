"""What the channel tells in v2: flat texts. Amounts in fen, times ``yyyyMMddHHmmss`` in CST."""

from datetime import datetime
from typing import Final

from services.channel.model.values import STATE_WORDS, EventType, Notice, Refund, RefundStatus, Trade
from services.chassis import channel_signing_v2 as v2
from services.chassis.calendar import CST

View = dict[str, str]
STATUS: Final = {RefundStatus.ABNORMAL: "CHANGE"}
"""退款状态 where v2 calls it otherwise: CHANGE, the money found no way back."""


def told_time(when: datetime) -> str:
    """``20140603100000``."""
    return when.astimezone(CST).strftime("%Y%m%d%H%M%S")


def trade(one: Trade) -> View:
    """A trade as the order query answers it."""
    view = {
        "out_trade_no": one.order.out_trade_no,
        "trade_type": one.order.trade_type,
        "trade_state": one.state.value,
        "trade_state_desc": STATE_WORDS[one.state],
        "attach": one.order.attach,
        "total_fee": str(one.order.total),
        "fee_type": one.order.currency,
    }
    return view | (_paid(one) if one.paid_at is not None else {})


def _paid(one: Trade) -> View:
    return {
        "transaction_id": one.transaction_id,
        "openid": one.buyer or "anonymous",
        "is_subscribe": "N",
        "bank_type": "OTHERS",
        "cash_fee": str(one.order.total),
        "time_end": told_time(one.paid_at) if one.paid_at is not None else "",
    }


def refund(one: Trade, back: Refund) -> View:
    """A refund as it was accepted."""
    return {
        "transaction_id": one.transaction_id,
        "out_trade_no": one.order.out_trade_no,
        "out_refund_no": back.out_refund_no,
        "refund_id": back.refund_id,
        "refund_fee": str(back.amount),
        "total_fee": str(one.order.total),
        "cash_fee": str(one.order.total),
    }


def refunds(one: Trade) -> View:
    """All refunds of a trade, numbered from 0, as the refund query answers them."""
    view = {name: value for name, value in refund(one, one.refunds[0]).items() if not name.startswith(("out_r", "ref"))}
    view["refund_count"] = str(len(one.refunds))
    for number, back in enumerate(one.refunds):
        view |= {
            f"out_refund_no_{number}": back.out_refund_no,
            f"refund_id_{number}": back.refund_id,
            f"refund_fee_{number}": str(back.amount),
            f"refund_status_{number}": STATUS.get(back.status, back.status.value),
        }
    return view


def notification(one: Trade, notice: Notice, key: str) -> bytes:
    """A notification's XML: a payment signed as its trade was placed (支付结果通知), a refund sealed (退款结果通知)."""
    told = {"return_code": "SUCCESS", "appid": one.order.appid, "mch_id": one.order.mchid}
    back = one.refund(notice.out_refund_no) if notice.event_type is not EventType.PAID else None
    if back is not None:
        status = "SUCCESS" if notice.event_type is EventType.REFUNDED else "CHANGE"
        inner = v2.to_xml({**refund(one, back), "refund_status": status}).replace(b"xml>", b"root>")
        return v2.to_xml({**told, "nonce_str": notice.event_id.replace("-", ""), "req_info": v2.seal(key, inner)})
    kind = one.order.v2_signed
    paid = {name: value for name, value in trade(one).items() if not name.startswith("trade_state")}
    sign_type = {"sign_type": kind} if kind != v2.MD5 else {}
    return v2.to_xml(v2.signed({**told, "result_code": "SUCCESS", **paid, **sign_type}, key, kind))


def is_taken(answer: bytes) -> bool:
    """Whether the merchant answered ``<return_code>SUCCESS</return_code>``."""
    try:
        return v2.from_xml(answer).get("return_code") == "SUCCESS"
    except v2.BadXmlError:
        return False
