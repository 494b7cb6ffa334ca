"""The cashier: the buyer's door, a stranger's one without merchant signature. What a phone would do is scripted here.

The prepay_id is the secret that opens it. Scripted faults: see model/script.py.
"""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.channel import views
from services.channel.commands import Commands
from services.channel.model.script import NotifyPlan, Outcome
from services.channel.model.values import Refused, Trade
from services.channel.sign import TellingRoute
from services.channel.store import Store

router = APIRouter(route_class=TellingRoute, prefix="/cashier")

MOST_DELAY_S = 86_400


class Notify(BaseModel):
    """How the payment is told to the merchant: ``copies`` notifications (0: none), after ``delay_seconds``, or held until released."""

    model_config = ConfigDict(extra="forbid")

    copies: int = Field(1, ge=0, le=10)
    delay_seconds: float = Field(0, ge=0, le=MOST_DELAY_S)
    hold: bool = False

    def plan(self) -> NotifyPlan:
        """The same in milliseconds."""
        return NotifyPlan(self.copies, round(self.delay_seconds * 1000), self.hold)


class PayRequest(BaseModel):
    """One attempt. Without ``outcome`` or ``notify`` the amount's script decides, which is success and one notification for most."""

    model_config = ConfigDict(extra="forbid")

    payer: str = Field("", max_length=128)
    """openid of who pays; may be left out where the merchant named the buyer."""
    outcome: Outcome | None = None
    settle_seconds: float | None = Field(None, ge=0, le=MOST_DELAY_S)
    """userpaying: succeeds by itself after so long (without it: never); timeout_then_success: after so long."""
    notify: Notify | None = None


@router.get("/{prepay_id}")
def look(request: Request, prepay_id: str) -> Response:
    """What there is to pay, its state and the notifications. RESOURCE_NOT_EXISTS 404."""
    store: Store = request.app.state.store
    trade = store.by_prepay(prepay_id)
    if trade is None:
        raise Refused("RESOURCE_NOT_EXISTS", "没有找到这笔交易")
    return JSONResponse(views.cashier(trade))


@router.post("/{prepay_id}/pay")
def pay(request: Request, prepay_id: str, asked: PayRequest) -> Response:
    """Try to pay: 200 SUCCESS, 202 USERPAYING, 402 declined, 504 unknown; ORDERPAID, ORDERCLOSED 400.

    The same buyer paying a second time is answered as the first time and charged once.
    """
    commands: Commands = request.app.state.commands
    settle_ms = None if asked.settle_seconds is None else round(asked.settle_seconds * 1000)
    plan = asked.notify.plan() if asked.notify is not None else None
    done = commands.pay(prepay_id, asked.payer, asked.outcome, plan, settle_ms)
    return JSONResponse(*_paid(done))


@router.post("/{prepay_id}/decline")
def decline(request: Request, prepay_id: str) -> Response:
    """The buyer's bank says no: 402 BANK_ERROR; the trade is PAYERROR and may be tried again. ORDERPAID, ORDERCLOSED 400."""
    commands: Commands = request.app.state.commands
    return JSONResponse(*_paid(commands.pay(prepay_id, "", Outcome.DECLINED, None, None)))


@router.post("/{prepay_id}/expire")
def expire(request: Request, prepay_id: str) -> Response:
    """The buyer walks away and the prepay_id lapses: the trade is closed. ORDERPAID, USERPAYING 400, RESOURCE_NOT_EXISTS 404."""
    commands: Commands = request.app.state.commands
    return JSONResponse(views.cashier(commands.expire(prepay_id)))


def _paid(done: Trade | str) -> tuple[dict[str, Any], int]:
    if isinstance(done, str):
        return {"trade_state": "SUCCESS", "transaction_id": done}, 200
    if done.paid_at is None:
        return {"trade_state": done.state.value}, 202
    return {"trade_state": done.state.value, "transaction_id": done.transaction_id}, 200


@router.post("/{prepay_id}/release")
def release(request: Request, prepay_id: str) -> Response:
    """Send the notifications that the payment held. RESOURCE_NOT_EXISTS 404."""
    commands: Commands = request.app.state.commands
    return JSONResponse(views.cashier(commands.release(prepay_id)))
