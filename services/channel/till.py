"""The till's doors: pay with a scanned payment code (付款码支付), reverse; and the phone's, which shows a code."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.channel import views
from services.channel.api import Amount, CloseRequest, order_of, own
from services.channel.cashier import MOST_DELAY_S
from services.channel.commands import digits
from services.channel.model.paycode import TRADE_TYPE
from services.channel.model.script import Outcome
from services.channel.model.values import TradeState
from services.channel.paycodes import PayCodes
from services.channel.sign import SignedRoute, TellingRoute

router = APIRouter(route_class=SignedRoute)
phone = APIRouter(route_class=TellingRoute)


class CodePayer(BaseModel):
    """The scanned code; its shape is judged with a code of its own, AUTH_CODE_INVALID."""

    auth_code: str = Field(min_length=1, max_length=128)


class CodePayRequest(BaseModel):
    """付款码支付: what to collect, from whoever showed the code."""

    model_config = ConfigDict(extra="allow")

    appid: str = Field(min_length=1, max_length=32)
    mchid: str
    description: str = Field(min_length=1, max_length=127)
    out_trade_no: Annotated[str, Field(pattern=r"^[0-9A-Za-z_\-|*]{6,32}$")]
    amount: Amount
    attach: str = Field("", max_length=128)
    payer: CodePayer


class ShowRequest(BaseModel):
    """A phone's wish for a code; ``outcome`` scripts what happens when it is scanned, as at the cashier."""

    model_config = ConfigDict(extra="forbid")

    payer: str = Field(min_length=1, max_length=128)
    outcome: Outcome | None = None
    settle_seconds: float | None = Field(None, ge=0, le=MOST_DELAY_S)


def _codes(request: Request) -> PayCodes:
    codes: PayCodes = request.app.state.paycodes
    return codes


@router.post("/v3/pay/transactions/codepay")
def code_pay(request: Request, asked: CodePayRequest) -> Response:
    """Pay with a code: 200 and the trade, 202 and the trade while the buyer types a password (USERPAYING: ask, then reverse)."""
    own(request, asked.mchid)
    done = _codes(request).pay(order_of(asked, TRADE_TYPE, "", ""), asked.payer.auth_code)
    return JSONResponse(views.trade(done), 202 if done.state is TradeState.USERPAYING else 200)


@router.post("/v3/pay/transactions/out-trade-no/{out_trade_no}/reverse")
def reverse(request: Request, out_trade_no: str, asked: CloseRequest) -> Response:
    """Reverse a trade paid with a code: unpaid it ends, paid it is refunded as ``rv-<out_trade_no>``. ORDER_NOT_EXIST, INVALID_REQUEST."""
    own(request, asked.mchid)
    return JSONResponse(views.trade(_codes(request).reverse(out_trade_no, digits("5030"))))


@phone.post("/paycodes/{auth_code}/confirm")
def confirm(request: Request, auth_code: str) -> Response:
    """The buyer types the password for the trade that the code was scanned for. RESOURCE_NOT_EXISTS; ORDERCLOSED once it is reversed."""
    return JSONResponse({"trade_state": _codes(request).confirm(auth_code).value})


@phone.post("/paycodes", status_code=201)
def show(request: Request, asked: ShowRequest) -> Response:
    """What the buyer's phone shows: ``{auth_code, expires_in}`` (seconds)."""
    settle_ms = None if asked.settle_seconds is None else round(asked.settle_seconds * 1000)
    shown = _codes(request).show(asked.payer, asked.outcome, settle_ms)
    return JSONResponse({"auth_code": shown.auth_code, "expires_in": shown.expires_ms / 1000}, 201)
