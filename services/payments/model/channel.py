"""What is said between this house and the payment channel, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.payments.model.payable import Success


class ChannelRefusedError(Exception):
    """The channel said no: its code (ORDERPAID, ORDERCLOSED, INVALID_REQUEST, …), message and HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        """Keep what it said."""
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade to be placed (统一下单). ``amount`` in minor units; ``payer`` is needed for jsapi."""

    out_trade_no: str
    method: str
    description: str
    amount: int
    currency: str
    payer: str
    goods: tuple[str, ...] = ()
    """What the buyer is shown to pay for: the names of the shops."""
    pay_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What a believed notification tells: ``event_type`` (TRANSACTION.SUCCESS, REFUND.SUCCESS, …) and the opened resource."""

    event_type: str
    resource: Mapping[str, Any]


def success_of(view: Mapping[str, Any] | None) -> Success | None:
    """The success in a trade as the channel shows it; None while it is not paid. A trade that was refunded, or reversed when it had been paid, was paid before."""
    if view is None or view.get("trade_state") not in ("SUCCESS", "REFUND", "REVOKED") or "transaction_id" not in view:
        return None
    amount = view["amount"]
    payer = str(view.get("payer", {}).get("openid", ""))
    return Success(view["out_trade_no"], view["transaction_id"], amount["total"], amount["currency"], payer)
