"""The bank behind the channel (付款到银行卡): money out, to accounts whose last digits say what goes wrong.

| number ends in | what happens |
| --- | --- |
| 0001 | refused: ACCOUNT_ABNORMAL |
| 0002 | PROCESSING when first sent, SUCCESS when asked again |
| 0003 | PROCESSING when first sent, then returned by the receiving bank |
| 0004 | taken, but the first answer is SYSTEM_ERROR: the same number again tells SUCCESS |
| anything else | SUCCESS |

The same number with the same parameters is one payment, however often it is sent.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pymongo.errors import DuplicateKeyError

from services.channel.api import Fen
from services.channel.model.values import Refused
from services.channel.sign import SignedRoute
from services.chassis.mongo import Database, Document

router = APIRouter(route_class=SignedRoute)
COLLECTION: Final = "transfers"
REFUSED, SLOW, RETURNED, LOST = "0001", "0002", "0003", "0004"
Name = Annotated[str, Field(min_length=1, max_length=60)]


class Account(BaseModel):
    """Where the money goes."""

    holder: Name
    number: str = Field(pattern=r"^[0-9]{8,28}$")
    bank: Name


class TransferRequest(BaseModel):
    """付款到银行卡: ``out_bill_no`` is the merchant's number, ``amount`` in fen."""

    mchid: str
    out_bill_no: str = Field(pattern=r"^[0-9A-Za-z_\-]{6,64}$")
    amount: Fen
    currency: str = "CNY"
    account: Account


class Bank:
    """The bank's book: a document a transfer, made once and changed only from PROCESSING to its end."""

    def __init__(self, database: Database) -> None:
        """Use the channel's database."""
        self._rows = database[COLLECTION]

    def send(self, asked: TransferRequest) -> Document:
        """The transfer as it stands after this request. Raises Refused INVALID_REQUEST, SYSTEM_ERROR."""
        plain = asked.model_dump(mode="json")
        state, reason = _first(asked.account.number[-4:])
        row: Document = {"_id": asked.out_bill_no, "asked": plain, "state": state, "fail_reason": reason}
        try:
            self._rows.insert_one(row)
        except DuplicateKeyError:
            return self._again(plain)
        if asked.account.number.endswith(LOST):
            raise Refused("SYSTEM_ERROR", "系统错误，请用原单号重试")
        return row

    def _again(self, plain: dict[str, Any]) -> Document:
        number = plain["out_bill_no"]
        found = self._rows.find_one({"_id": number})
        if found is None or found["asked"] != plain:
            raise Refused("INVALID_REQUEST", "单号已使用，参数与原请求不一致")
        if found["state"] == "PROCESSING":
            is_returned = plain["account"]["number"].endswith(RETURNED)
            end = {"state": "FAILED", "fail_reason": "收款行退回"} if is_returned else {"state": "SUCCESS"}
            self._rows.update_one({"_id": number, "state": "PROCESSING"}, {"$set": end})
            found = self._rows.find_one({"_id": number}) or found
        return found


def _first(digits: str) -> tuple[str, str]:
    """State and reason of a transfer when it is first sent."""
    if digits == REFUSED:
        return "FAILED", "ACCOUNT_ABNORMAL 收款账户异常"
    return ("PROCESSING" if digits in (SLOW, RETURNED) else "SUCCESS"), ""


@router.post("/v3/bank/transfers")
def transfer(request: Request, asked: TransferRequest) -> Response:
    """Send money to a bank account; the same out_bill_no is one payment. INVALID_REQUEST, SYSTEM_ERROR."""
    if asked.mchid != request.app.state.keys.mchid:
        raise Refused("MCH_NOT_EXISTS", "商户号与签名不一致")
    bank: Bank = request.app.state.bank
    row = bank.send(asked)
    told = {"out_bill_no": row["_id"], "state": row["state"], "fail_reason": row["fail_reason"]}
    return JSONResponse(told)
