"""The channel's HTTP API: the merchant's door, in the shapes of WeChat Pay APIv3 (the buyer's is in ``cashier``).

Every request carries the merchant's signature and every answer the channel's (see chassis.channel_signing). Errors are
``{code, message}``. Amounts in fen.
"""

import hashlib
import json
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.channel import views
from services.channel.bill import bill
from services.channel.commands import Commands, now
from services.channel.model.refund import RefundAsked
from services.channel.model.values import Order, Refund, Refused, Trade
from services.channel.settings import ChannelSettings, Rules
from services.channel.sign import SignedRoute
from services.channel.store import Store

router = APIRouter(route_class=SignedRoute)

MOST_FEN = 10**10
"""¥100,000,000.00: what no test will miss and no counter overflow."""


def _address(url: str) -> str:
    """A notify_url: absolute http(s) without query string."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an absolute http(s) URL without query string")
    return url


NotifyUrl = Annotated[str, Field(max_length=256), AfterValidator(_address)]
Fen = Annotated[int, Field(strict=True, ge=1, le=MOST_FEN)]


class Amount(BaseModel):
    """Total in fen."""

    total: Fen
    currency: Literal["CNY"] = "CNY"


class Payer(BaseModel):
    """The buyer as the appid's account knows them."""

    openid: str = Field(min_length=1, max_length=128)


class Goods(BaseModel):
    """One line that the buyer is shown."""

    model_config = ConfigDict(extra="allow")

    goods_name: str = Field(min_length=1, max_length=256)


class Detail(BaseModel):
    """What the buyer is shown to pay for."""

    model_config = ConfigDict(extra="allow")

    goods_detail: list[Goods] = Field(default_factory=list, max_length=50)


class PlaceRequest(BaseModel):
    """统一下单: what to collect. ``time_expire`` is kept among the parameters and not judged."""

    model_config = ConfigDict(extra="allow")

    appid: str = Field(min_length=1, max_length=32)
    mchid: str
    description: str = Field(min_length=1, max_length=127)
    out_trade_no: str = Field(pattern=r"^[0-9A-Za-z_\-|*]{6,32}$")
    notify_url: NotifyUrl
    amount: Amount
    attach: str = Field("", max_length=128)
    time_expire: datetime | None = None
    payer: Payer | None = None
    detail: Detail | None = None


class RefundAmount(BaseModel):
    """``refund`` to give back, ``total`` of the trade; both in fen."""

    refund: Fen
    total: Fen
    currency: Literal["CNY"] = "CNY"


class RefundRequest(BaseModel):
    """申请退款: one of ``transaction_id`` and ``out_trade_no`` names the trade."""

    transaction_id: str = ""
    out_trade_no: str = ""
    out_refund_no: str = Field(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")
    reason: str = Field("", max_length=80)
    notify_url: NotifyUrl | None = None
    amount: RefundAmount

    @model_validator(mode="after")
    def _names_a_trade(self) -> "RefundRequest":
        if not self.transaction_id and not self.out_trade_no:
            raise ValueError("transaction_id or out_trade_no must be given")
        return self


class CloseRequest(BaseModel):
    """关闭订单."""

    mchid: str


def _commands(request: Request) -> Commands:
    commands: Commands = request.app.state.commands
    return commands


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def own(request: Request, mchid: str) -> None:
    """Refuse another merchant's number: the signature says who asks."""
    if mchid != request.app.state.keys.mchid:
        raise Refused("MCH_NOT_EXISTS", "商户号与签名不一致")


class Asked(Protocol):
    """What every request for a trade says, as far as it is kept by name."""

    appid: str
    mchid: str
    description: str
    out_trade_no: str
    attach: str
    amount: Amount

    def model_dump(self, *, mode: str, exclude: set[str]) -> dict[str, Any]:
        """All of it, for the digest that a repetition is compared by."""


def order_of(asked: Asked, trade_type: str, notify_url: str, openid: str) -> Order:
    """What the merchant asked to collect, frozen. What is only shown (``detail``) is not compared when it is asked for again."""
    parameters = json.dumps([trade_type, asked.model_dump(mode="json", exclude={"detail"})], sort_keys=True)
    return Order(
        out_trade_no=asked.out_trade_no,
        appid=asked.appid,
        mchid=asked.mchid,
        trade_type=trade_type,
        description=asked.description,
        notify_url=notify_url,
        total=asked.amount.total,
        currency=asked.amount.currency,
        digest=hashlib.sha256(parameters.encode()).hexdigest(),
        attach=asked.attach,
        openid=openid,
    )


def _place(request: Request, asked: PlaceRequest, trade_type: str) -> Trade:
    own(request, asked.mchid)
    openid = asked.payer.openid if asked.payer else ""
    order = order_of(asked, trade_type, asked.notify_url, openid)
    goods = tuple(one.goods_name for one in asked.detail.goods_detail) if asked.detail else ()
    pay_by = views.told_time(asked.time_expire) if asked.time_expire else ""
    return _commands(request).place(replace(order, goods=goods, pay_by=pay_by))


@router.post("/v3/pay/transactions/jsapi")
def place_jsapi(request: Request, asked: PlaceRequest) -> Response:
    """Place a trade for a buyer inside the account → prepay_id."""
    if asked.payer is None:
        raise Refused("PARAM_ERROR", "payer.openid: JSAPI needs the buyer")
    return JSONResponse({"prepay_id": _place(request, asked, "JSAPI").prepay_id})


@router.post("/v3/pay/transactions/native")
def place_native(request: Request, asked: PlaceRequest) -> Response:
    """Place a trade that anybody may pay → code_url, the content of a QR code: here the cashier's own address."""
    settings: ChannelSettings = request.app.state.settings
    trade = _place(request, asked, "NATIVE")
    return JSONResponse({"code_url": f"{settings.channel_url}/cashier/{trade.prepay_id}"})


@router.get("/v3/pay/transactions/out-trade-no/{out_trade_no}")
def query_by_number(request: Request, out_trade_no: str, mchid: str) -> Response:
    """A trade by the merchant's number. ORDER_NOT_EXIST 404."""
    own(request, mchid)
    return _queried(_store(request).by_number(out_trade_no))


@router.get("/v3/pay/transactions/id/{transaction_id}")
def query_by_transaction(request: Request, transaction_id: str, mchid: str) -> Response:
    """A paid trade by the channel's number. ORDER_NOT_EXIST 404."""
    own(request, mchid)
    return _queried(_store(request).by_transaction(transaction_id))


def _queried(trade: Trade | None) -> Response:
    if trade is None:
        raise Refused("ORDER_NOT_EXIST", "订单不存在")
    return JSONResponse(views.trade(trade))


@router.post("/v3/pay/transactions/out-trade-no/{out_trade_no}/close", status_code=204)
def close(request: Request, out_trade_no: str, asked: CloseRequest) -> Response:
    """Close an unpaid trade; again 204 when it is closed already. ORDERPAID, USERPAYING, ORDER_NOT_EXIST."""
    own(request, asked.mchid)
    _commands(request).close(out_trade_no)
    return Response(status_code=204)


def refunded(request: Request, asked: RefundRequest) -> tuple[Trade, Refund]:
    """Give money back as asked. Raises Refused: RESOURCE_NOT_EXISTS, INVALID_REQUEST."""
    store = _store(request)

    def find() -> Trade | None:
        if asked.out_trade_no:
            trade = store.by_number(asked.out_trade_no)
            mismatch = trade is not None and asked.transaction_id not in ("", trade.transaction_id)
            return None if mismatch else trade
        return store.by_transaction(asked.transaction_id)

    wish = RefundAsked(
        out_refund_no=asked.out_refund_no,
        amount=asked.amount.refund,
        total=asked.amount.total,
        reason=asked.reason,
        notify_url=asked.notify_url or "",
    )
    return _commands(request).refund(find, wish)


@router.post("/v3/refund/domestic/refunds")
def refund(request: Request, asked: RefundRequest) -> Response:
    """Give money back; the same out_refund_no is one refund. INVALID_REQUEST, RESOURCE_NOT_EXISTS."""
    return JSONResponse(views.refund(*refunded(request, asked)))


@router.get("/v3/refund/domestic/refunds/{out_refund_no}")
def query_refund(request: Request, out_refund_no: str) -> Response:
    """A refund by the merchant's number. RESOURCE_NOT_EXISTS 404."""
    trade = _store(request).by_refund(out_refund_no)
    done = trade.refund(out_refund_no) if trade is not None else None
    if trade is None or done is None:
        raise Refused("RESOURCE_NOT_EXISTS", "退款单不存在")
    return JSONResponse(views.refund(trade, done))


def bill_of(request: Request, bill_date: date) -> bytes:
    """The bill of a CST day as it stands now."""
    rules: Rules = request.app.state.rules
    cst_day = bill_date.isoformat()
    return bill(_store(request).billed(cst_day), cst_day, rules.fee_basis_points(now())).encode()


@router.get("/v3/bill/tradebill")
def tradebill_of(request: Request, bill_date: Annotated[date, Query()]) -> Response:
    """Where the bill of a CST day can be fetched, and its SHA-1. The present day's bill (a sandbox has no tomorrow) still grows."""
    settings: ChannelSettings = request.app.state.settings
    content = bill_of(request, bill_date)
    answer: dict[str, Any] = {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "download_url": f"{settings.channel_url}/v3/billdownload/file?bill_date={bill_date.isoformat()}",
    }
    return JSONResponse(answer)


@router.get("/v3/billdownload/file")
def downloadbill_of(request: Request, bill_date: Annotated[date, Query()]) -> Response:
    """The bill itself: UTF-8 CSV with the classic ALL header."""
    return Response(bill_of(request, bill_date), media_type="text/csv; charset=utf-8")
