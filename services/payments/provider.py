"""The payment channel as a merchant sees it: WeChat Pay APIv3 over HTTP, every request signed, every answer verified.

The channel is a stranger. What it says is believed only under its signature, and an answer that did not come may mean anything:
every call carries a number fixed by us and is safe to repeat.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import httpx

from services.chassis import channel_signing as signing
from services.chassis import clock
from services.chassis.calendar import CST
from services.chassis.channel_signing import MerchantCredential, SignatureRefusedError
from services.chassis.errors import Refusal
from services.chassis.settings import Settings
from services.payments.model.channel import ChannelRefusedError, Notification, Trade

APPID: Final = "wx6a69736869000000"
"""The platform's own account at the channel: one payment may be for several shops."""
NOTIFY_PATH: Final = "/v1/channel/notifications"
TIMEOUT_S: Final = 3.0
BILL_TIMEOUT_S: Final = 60.0
"""A bill of a large day is made when it is asked for."""
TRIES: Final = 3
"""Calls with the same numbers before a broken line or a SYSTEM_ERROR counts as "away" (the manual: call again with the same parameters)."""


class Channel:
    """One merchant's way to the channel. Thread-safe; connects, and reads its credential, when first used."""

    def __init__(self, settings: Settings) -> None:
        """Reads nothing yet: the channel writes the credential when it starts for the first time."""
        self._settings = settings
        self._lock = threading.Lock()
        self._known: MerchantCredential | None = None
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    # ------------------------------------------------------------------------------------------------------------------- calls

    def place(self, trade: Trade) -> dict[str, str]:
        """Place a trade, or enter it again: ``{code_url | prepay_id, cashier_url}``. Raises ChannelRefusedError, Refusal UNAVAILABLE."""
        body: dict[str, Any] = {
            "appid": APPID,
            "mchid": self._credential().mchid,
            "description": trade.description,
            "out_trade_no": trade.out_trade_no,
            "notify_url": self._settings.base_url + NOTIFY_PATH,
            "amount": {"total": trade.amount, "currency": trade.currency},
        }
        if trade.pay_by is not None:
            body["time_expire"] = trade.pay_by.astimezone(CST).isoformat(timespec="seconds")
        if trade.goods:
            body["detail"] = {"goods_detail": [{"goods_name": name} for name in trade.goods]}
        if trade.method == "jsapi":
            body["payer"] = {"openid": trade.payer}
        answer = self._call("POST", f"/v3/pay/transactions/{trade.method}", body)
        if trade.method == "jsapi":
            cashier = f"{self._settings.channel_url}/cashier/{answer['prepay_id']}"
            return {"prepay_id": answer["prepay_id"], "cashier_url": cashier}
        return {"code_url": answer["code_url"], "cashier_url": answer["code_url"]}

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade (查单); None where the channel never heard of it."""
        target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={self._credential().mchid}"
        try:
            return self._call("GET", target)
        except ChannelRefusedError as error:
            if error.code == "ORDER_NOT_EXIST":
                return None
            raise

    def close_trade(self, out_trade_no: str) -> None:
        """Close an unpaid trade. Raises ChannelRefusedError ORDERPAID, USERPAYING; ORDER_NOT_EXIST."""
        self._call(
            "POST", f"/v3/pay/transactions/out-trade-no/{out_trade_no}/close", {"mchid": self._credential().mchid}
        )

    def code_pay(self, trade: Trade, auth_code: str) -> dict[str, Any]:
        """Pay with a scanned code (付款码支付): the trade as it stands, ``trade_state`` SUCCESS or USERPAYING.

        Raises ChannelRefusedError (AUTH_CODE_INVALID, AUTHCODEEXPIRE, NOT_ENOUGH, …), Refusal UNAVAILABLE.
        """
        body = {
            "appid": APPID,
            "mchid": self._credential().mchid,
            "description": trade.description,
            "out_trade_no": trade.out_trade_no,
            "amount": {"total": trade.amount, "currency": trade.currency},
            "payer": {"auth_code": auth_code},
        }
        return self._call("POST", "/v3/pay/transactions/codepay", body)

    def reverse(self, out_trade_no: str) -> None:
        """Reverse a trade paid by code (撤销): unpaid it ends, paid it is given back. Raises ChannelRefusedError, Refusal UNAVAILABLE."""
        target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}/reverse"
        self._call("POST", target, {"mchid": self._credential().mchid})

    def refund(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Give money back; the same number is one refund: the refund as it stands (``status`` SUCCESS, PROCESSING, ABNORMAL)."""
        body = {
            "out_trade_no": row["out_trade_no"],
            "out_refund_no": row["_id"],
            "reason": row["cause"],
            "notify_url": self._settings.base_url + NOTIFY_PATH,
            "amount": {"refund": row["amount"], "total": row["total"], "currency": row["currency"]},
        }
        return self._call("POST", "/v3/refund/domestic/refunds", body)

    def knows_refund(self, out_refund_no: str) -> bool:
        """Whether the channel ever took a refund of this number (查询退款). Raises ChannelRefusedError, Refusal UNAVAILABLE."""
        try:
            self._call("GET", f"/v3/refund/domestic/refunds/{out_refund_no}")
        except ChannelRefusedError as error:
            if error.code == "RESOURCE_NOT_EXISTS":
                return False
            raise
        return True

    def pay_out(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Send money to a bank account; the same number is one payment: ``{state: PROCESSING | SUCCESS | FAILED, fail_reason}``."""
        body = {
            "mchid": self._credential().mchid,
            "out_bill_no": row["_id"],
            "amount": row["amount"],
            "currency": row["currency"],
            "account": dict(row["account"]),
        }
        return self._call("POST", "/v3/bank/transfers", body)

    def bill(self, cst_day: str, into: BinaryIO) -> str:
        """Write the channel's bill of a CST day (下载对账单, CSV) into a file, and answer its SHA-256. Raises ChannelRefusedError, Refusal UNAVAILABLE.

        The channel's signed answer names the hash of the file, which vouches for it. The bill of the present day may grow between
        that answer and the file; then it is asked for anew.
        """
        for _ in range(TRIES):
            told = self._call("GET", f"/v3/bill/tradebill?bill_date={cst_day}", timeout_s=BILL_TIMEOUT_S)
            parts = urlsplit(told["download_url"])
            into.seek(0)
            into.truncate()
            try:
                named, whole = self._download(f"{parts.path}?{parts.query}", into)
            except httpx.HTTPError:
                continue
            if named == told["hash_value"]:
                return whole
        raise Refusal("UNAVAILABLE", f"the channel's bill of {cst_day} is not what its hash says", retry_after_s=1)

    def _download(self, target: str, into: BinaryIO) -> tuple[str, str]:
        """A file of the channel, piece by piece: its SHA-1 and SHA-256. Raises httpx.HTTPError."""
        known, named, whole = self._credential(), hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        signed = signing.authorize(known, "GET", target, b"", now_s=clock.wall_ms() // 1000)
        headers = {"Authorization": signed}
        with self._http.stream("GET", known.base_url + target, headers=headers, timeout=BILL_TIMEOUT_S) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                named.update(piece)
                whole.update(piece)
                into.write(piece)
        return named.hexdigest(), whole.hexdigest()

    # ----------------------------------------------------------------------------------------------------------- notifications

    def believe(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify, date and open a notification. Raises SignatureRefusedError for everything the channel did not send like this."""
        known = self._credential()
        signing.check_answer(known.platform_key, known.platform_serial, headers, body, now_s=clock.wall_ms() // 1000)
        try:
            told = json.loads(body)
            resource = json.loads(signing.open_sealed(known.apiv3_key, told["resource"]))
            return Notification(str(told["event_type"]), resource)
        except (KeyError, TypeError, ValueError) as error:
            raise SignatureRefusedError(f"not a notification: {error}") from error

    # ---------------------------------------------------------------------------------------------------------------- the line

    def _credential(self) -> MerchantCredential:
        """The merchant's credential. Raises Refusal UNAVAILABLE until the channel has written it."""
        with self._lock:
            if self._known is None:
                folder = self._settings.data_dir / "channel" / "merchant"
                try:
                    self._known = signing.read_credential(folder)
                except (FileNotFoundError, KeyError, ValueError) as error:
                    message = f"the channel has not opened an account for this house yet ({type(error).__name__} in its merchant folder)"
                    raise Refusal("UNAVAILABLE", message, retry_after_s=1) from error
            return self._known

    def _call(
        self, method: str, target: str, body: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        answer = self._ask(method, target, content, timeout_s)
        found: dict[str, Any] = json.loads(answer) if answer else {}
        return found

    def _ask(self, method: str, target: str, content: bytes, timeout_s: float) -> bytes:
        problem = ""
        for _ in range(TRIES):
            try:
                return self._once(method, target, content, timeout_s)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            except ChannelRefusedError as error:
                if error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise
                problem = str(error)
        raise Refusal("UNAVAILABLE", f"the payment channel does not answer: {problem}"[:300], retry_after_s=1)

    def _once(self, method: str, target: str, content: bytes, timeout_s: float) -> bytes:
        known, now_s = self._credential(), clock.wall_ms() // 1000
        headers = {
            "Authorization": signing.authorize(known, method, target, content, now_s=now_s),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        answer = self._http.request(
            method, known.base_url + target, content=content, headers=headers, timeout=timeout_s
        )
        if answer.is_success:
            # An unsigned success must be taken as forged; an unsigned error only makes us try again or give up.
            signing.check_answer(known.platform_key, known.platform_serial, answer.headers, answer.content, now_s=now_s)
            return answer.content
        try:
            told = answer.json()
            code, message = str(told["code"]), str(told.get("message", ""))
        except (ValueError, KeyError, TypeError):
            code, message = "UNREADABLE", answer.text[:200]
        raise ChannelRefusedError(code, message, answer.status_code)
