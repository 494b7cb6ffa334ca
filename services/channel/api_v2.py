"""The merchant's older door: WeChat Pay v2, XML signed with MD5 or HMAC-SHA256 under the API key. Amounts in fen.

Every answer is HTTP 200: ``return_code`` says whether the message was understood, ``result_code`` and ``err_code`` what came of it.
What is placed here is notified in XML, signed as it was placed; trades, refunds and rules are the same as at the v3 door.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ValidationError
from pymongo.errors import PyMongoError

from services.channel import views_v2
from services.channel.api import PlaceRequest, RefundRequest, bill_of, order_of, refunded
from services.channel.commands import Commands, digits
from services.channel.keys import KeyRing
from services.channel.model.paycode import TRADE_TYPE
from services.channel.model.values import Refused, Trade, TradeState
from services.channel.paycodes import PayCodes
from services.channel.settings import ChannelSettings
from services.channel.store import Store
from services.channel.till import CodePayRequest
from services.chassis import channel_signing_v2 as v2
from services.chassis.channel_signing import SignatureRefusedError

router = APIRouter()
Fields = dict[str, str]
T = TypeVar("T", bound=BaseModel)
TRADE_TYPES: Final = ("JSAPI", "NATIVE")
CODES: Final = {
    "ORDER_NOT_EXIST": "ORDERNOTEXIST",
    "RESOURCE_NOT_EXISTS": "REFUNDNOTEXIST",
    "SYSTEM_ERROR": "SYSTEMERROR",
    "NOT_ENOUGH": "NOTENOUGH",
    "BANK_ERROR": "BANKERROR",
    "MCH_NOT_EXISTS": "MCHID_NOT_EXIST",
}
"""What v2 calls the refusals that it calls otherwise."""


async def _body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_body)]


def _answered(request: Request, body: bytes, handle: Callable[[Fields], Fields]) -> Response:
    """Read, verify, handle, sign."""
    try:
        asked = _understood(request, body)
    except (v2.BadXmlError, SignatureRefusedError) as error:
        return _xml({"return_code": "FAIL", "return_msg": str(error)})
    keys: KeyRing = request.app.state.keys
    told = {"return_code": "SUCCESS", "return_msg": "OK", "appid": asked.get("appid", ""), "mch_id": keys.mchid}
    try:
        told |= {"result_code": "SUCCESS", **handle(asked)}
    except Refused as refused:
        code = CODES.get(refused.code, refused.code)
        told |= {"result_code": "FAIL", "err_code": code, "err_code_des": refused.message}
    except PyMongoError:
        told |= {"result_code": "FAIL", "err_code": "SYSTEMERROR", "err_code_des": "系统异常，请用相同参数重新调用"}
    return _xml(v2.signed(told, keys.api_key, asked.get("sign_type") or v2.MD5))


def _understood(request: Request, body: bytes) -> Fields:
    """The message, if the merchant signed it. Raises BadXmlError, SignatureRefusedError."""
    keys: KeyRing = request.app.state.keys
    asked = v2.from_xml(body)
    if asked.get("mch_id") != keys.mchid:
        raise SignatureRefusedError("no such mch_id")
    v2.verify(asked, keys.api_key)
    return asked


def _xml(fields: Fields) -> Response:
    return Response(v2.to_xml(fields), media_type="text/xml; charset=utf-8")


def _wish(kind: type[T], values: dict[str, Any]) -> T:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        words = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        raise Refused("PARAM_ERROR", "；".join(words)) from error


def _fen(asked: Fields, name: str) -> int:
    text = asked.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Refused("PARAM_ERROR", f"{name}: must be a number of fen")
    return int(text)


@router.post("/pay/unifiedorder")
def unified_order(request: Request, body: Body) -> Response:
    """统一下单 → prepay_id, and code_url for NATIVE. ORDERPAID, ORDERCLOSED, INVALID_REQUEST, PARAM_ERROR."""
    return _answered(request, body, lambda asked: _placed(request, asked))


def _placed(request: Request, asked: Fields) -> Fields:
    trade_type = asked.get("trade_type", "")
    if trade_type not in TRADE_TYPES:
        raise Refused("PARAM_ERROR", f"trade_type: must be one of {', '.join(TRADE_TYPES)}")
    values: dict[str, Any] = {
        "appid": asked.get("appid"),
        "mchid": asked["mch_id"],
        "description": asked.get("body"),
        "out_trade_no": asked.get("out_trade_no"),
        "notify_url": asked.get("notify_url"),
        "attach": asked.get("attach", ""),
        "amount": {"total": _fen(asked, "total_fee"), "currency": asked.get("fee_type", "CNY")},
    }
    if trade_type == "JSAPI":
        values["payer"] = {"openid": asked.get("openid", "")}
    wish = _wish(PlaceRequest, values)
    order = order_of(wish, trade_type, wish.notify_url, asked.get("openid", "") if trade_type == "JSAPI" else "")
    commands: Commands = request.app.state.commands
    trade = commands.place(replace(order, v2_signed=asked.get("sign_type") or v2.MD5))
    settings: ChannelSettings = request.app.state.settings
    code = f"{settings.channel_url}/cashier/{trade.prepay_id}" if trade_type == "NATIVE" else ""
    return {"trade_type": trade_type, "prepay_id": trade.prepay_id, "code_url": code}


def _found(request: Request, asked: Fields) -> Trade:
    store: Store = request.app.state.store
    if asked.get("transaction_id"):
        trade = store.by_transaction(asked["transaction_id"])
    else:
        trade = store.by_number(asked.get("out_trade_no", ""))
    if trade is None:
        raise Refused("ORDER_NOT_EXIST", "订单不存在")
    return trade


@router.post("/pay/orderquery")
def order_query(request: Request, body: Body) -> Response:
    """查询订单 by out_trade_no or transaction_id. ORDERNOTEXIST."""
    return _answered(request, body, lambda asked: views_v2.trade(_found(request, asked)))


@router.post("/pay/closeorder")
def close_order(request: Request, body: Body) -> Response:
    """关闭订单. ORDERPAID, USERPAYING, ORDERNOTEXIST."""
    commands: Commands = request.app.state.commands

    def handle(asked: Fields) -> Fields:
        commands.close(asked.get("out_trade_no", ""))
        return {}

    return _answered(request, body, handle)


@router.post("/pay/micropay")
def micropay(request: Request, body: Body) -> Response:
    """提交付款码支付 with what a till has scanned (``auth_code``). USERPAYING: ask for the order, then reverse it. AUTHCODEEXPIRE,
    AUTH_CODE_INVALID, NOTENOUGH, BANKERROR, ORDERPAID, ORDERCLOSED, INVALID_REQUEST.
    """
    return _answered(request, body, lambda asked: _scanned(request, asked))


def _scanned(request: Request, asked: Fields) -> Fields:
    amount = {"total": _fen(asked, "total_fee"), "currency": asked.get("fee_type", "CNY")}
    values: dict[str, Any] = {
        "appid": asked.get("appid"),
        "mchid": asked["mch_id"],
        "out_trade_no": asked.get("out_trade_no"),
    }
    values |= {"description": asked.get("body"), "attach": asked.get("attach", ""), "amount": amount}
    wish = _wish(CodePayRequest, {**values, "payer": {"auth_code": asked.get("auth_code", "")}})
    codes: PayCodes = request.app.state.paycodes
    trade = codes.pay(order_of(wish, TRADE_TYPE, "", ""), wish.payer.auth_code)
    if trade.state is TradeState.USERPAYING:
        raise Refused("USERPAYING", "需要用户输入支付密码")
    return views_v2.trade(trade)


@router.post("/secapi/pay/reverse")
def reverse(request: Request, body: Body) -> Response:
    """撤销订单: unpaid it ends, paid it is refunded whole. ``recall`` N: there is no need to ask again. ORDERNOTEXIST, INVALID_REQUEST."""
    codes: PayCodes = request.app.state.paycodes

    def handle(asked: Fields) -> Fields:
        codes.reverse(_found(request, asked).order.out_trade_no, digits("5030"))
        return {"recall": "N"}

    return _answered(request, body, handle)


@router.post("/secapi/pay/refund")
def refund(request: Request, body: Body) -> Response:
    """申请退款; the same out_refund_no is one refund. The client certificate that the real door asks for is left out."""

    def handle(asked: Fields) -> Fields:
        values = {name: asked.get(name, "") for name in ("transaction_id", "out_trade_no", "out_refund_no")}
        amount = {"refund": _fen(asked, "refund_fee"), "total": _fen(asked, "total_fee")}
        wish = {**values, "reason": asked.get("refund_desc", ""), "notify_url": asked.get("notify_url")}
        return views_v2.refund(*refunded(request, _wish(RefundRequest, {**wish, "amount": amount})))

    return _answered(request, body, handle)


@router.post("/pay/refundquery")
def refund_query(request: Request, body: Body) -> Response:
    """查询退款 by out_refund_no. REFUNDNOTEXIST."""

    def handle(asked: Fields) -> Fields:
        store: Store = request.app.state.store
        trade = store.by_refund(asked.get("out_refund_no", ""))
        if trade is None:
            raise Refused("RESOURCE_NOT_EXISTS", "退款单不存在")
        return views_v2.refunds(trade)

    return _answered(request, body, handle)


@router.post("/pay/downloadbill")
def download_bill(request: Request, body: Body) -> Response:
    """下载对账单 of ``bill_date`` (yyyyMMdd), bill_type ALL: the CSV itself, or XML that says why not."""
    day: list[date] = []

    def handle(asked: Fields) -> Fields:
        if asked.get("bill_type", "ALL") != "ALL":
            raise Refused("PARAM_ERROR", "bill_type: only ALL")
        try:
            day.append(datetime.strptime(asked.get("bill_date", ""), "%Y%m%d").date())  # noqa: DTZ007 - a day has no zone
        except ValueError as error:
            raise Refused("PARAM_ERROR", "bill_date: must be a day as 20140603") from error
        return {}

    answer = _answered(request, body, handle)
    return Response(bill_of(request, day[0]), media_type="text/csv; charset=utf-8") if day else answer
