"""A shop's bill (对账单): pure sums and lines over the day's journal entries. Amounts in fen, in files in yuan.

Two files: the trade bill in the classic columns of WeChat Pay's ALL (交易账单), and the fund-flow bill in those of its 资金账单.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from services.chassis.calendar import CST
from services.chassis.errors import invalid
from services.payments.model import ledger
from services.payments.model.periods import moved, pocket_of
from services.payments.model.plan import Document

TRADE_HEADER: Final = (
    "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,总金额,"
    "企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率"
)
TRADE_SUMMARY: Final = "总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额"
FLOW_HEADER: Final = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额（元）,账户结余（元）,"
    "资金变更提交申请人,备注,业务凭证号"
)
FLOW_SUMMARY: Final = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
FIRST_DAY: Final = "2014-05-29"
"""微信小店 opened; nobody sold anything before."""
NAMES: Final = {"collect": "交易", "refund": "退款", "settle": "结算", "deposit": "保证金", "repay": "垫付归还"}
"""业务名称 by kind of entry; others by their kind."""
STATUS: Final = {"pending": "PROCESSING", "succeeded": "SUCCESS", "abnormal": "ABNORMAL"}
"""退款状态 by the state of a refund."""


def told_day(text: str, today: str) -> str:
    """A CST day as asked for, ``"2026-01-05"``. Raises Refusal INVALID_ARGUMENT: not a day, or one to come."""
    try:
        asked = date.fromisoformat(text).isoformat()
    except ValueError:
        asked = ""
    if not asked or asked != text or asked < FIRST_DAY:
        raise invalid("date", f"must be a day as {today}, from {FIRST_DAY} on")
    if asked > today:
        raise invalid("date", f"is still to come; today is {today} (CST)")
    return asked


def midnight(cst_day: str) -> datetime:
    """When a CST day begins."""
    return datetime.fromisoformat(cst_day).replace(tzinfo=CST)


def is_final(cst_day: str, now: datetime, ready: timedelta) -> bool:
    """Whether nothing can be added to the bill of that day any more: ``ready`` after its end (policy ``bill_ready``)."""
    return now >= midnight(cst_day) + timedelta(days=1) + ready


def accounts(opening: Mapping[str, int], entries: Iterable[Document], shop_id: str) -> list[dict[str, Any]]:
    """Each account over the day: opening, credits, debits, closing."""
    came: dict[str, int] = defaultdict(int)
    went: dict[str, int] = defaultdict(int)
    for entry in entries:
        for posting in entry["postings"]:
            if posting.get("shop") == shop_id:
                side = came if posting["amount"] > 0 else went
                side[pocket_of(posting["kind"])] += abs(posting["amount"])
    names = sorted({*opening, *came, *went})
    return [
        {
            "account": name,
            "opening": opening.get(name, 0),
            "credits": came[name],
            "debits": went[name],
            "closing": opening.get(name, 0) + came[name] - went[name],
        }
        for name in names
    ]


def rows(opening: int, entries: Iterable[Document], shop_id: str) -> list[dict[str, Any]]:
    """The entries that change what the shop has, in order of time, each with the balance after it."""
    found, balance = [], opening
    for entry in entries:
        amount = sum(moved([entry], shop_id).values())
        if amount:
            balance += amount
            found.append(_row(entry, shop_id, amount, balance))
    return found


def _row(entry: Document, shop_id: str, amount: int, balance: int) -> dict[str, Any]:
    kind, _, number = str(entry["_id"]).partition(":")
    fee = sum(one["amount"] for one in entry["postings"] if one["account"] == ledger.FEE) if kind == "settle" else 0
    escrows = [one["account"].split(":")[1] for one in entry["postings"] if _is_escrow_of(one, shop_id)]
    row = {
        "entry_id": entry["_id"],
        "kind": entry["kind"],
        "posted_at": entry["posted_at"],
        "amount": amount,
        "balance": balance,
        "order_id": escrows[0] if escrows else "",
        "fee": fee,
    }
    if kind == "collect":
        row |= {"transaction_id": number, "checkout_id": entry["refs"][0]}
    if kind == "refund":
        row["refund_id"] = number
    return row


def _is_escrow_of(posting: Mapping[str, Any], shop_id: str) -> bool:
    return posting["kind"] == "order:escrow" and posting.get("shop") == shop_id


def sums(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The day's figures: what was paid, went back to buyers, was taken as fee, and all else."""
    found = {"paid": 0, "refunded": 0, "fees": 0, "other": 0}
    for line in lines:
        if line["kind"] == "collect":
            found["paid"] += line["amount"]
        elif line["kind"] == "refund":
            found["refunded"] -= line["amount"]
        elif line["kind"] == "settle":
            found["fees"] += line["fee"]
        else:
            found["other"] += line["amount"]
    return found


# ------------------------------------------------------------------------------------------------------------------------ files


def yuan(fen: int) -> str:
    """Fen as yuan with two decimals."""
    sign, rest = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{rest // 100}.{rest % 100:02d}"


def csv_line(values: Iterable[str]) -> str:
    """Every field behind a backtick; a comma or a line break in a text would split the row."""
    return ",".join("`" + value.replace(",", "，").replace("\r", " ").replace("\n", " ") for value in values)


def _time(row: Mapping[str, Any]) -> str:
    return str(row["posted_at"].astimezone(CST).strftime("%Y-%m-%d %H:%M:%S"))


def is_trade(row: Mapping[str, Any]) -> bool:
    """Whether a row stands on the trade bill."""
    return row["kind"] in ("collect", "refund")


def trade_line(row: Mapping[str, Any], shop_id: str, currency: str) -> str:
    """A payment or a refund of one order. 商户订单号 is the order's id; commission is taken at settlement, so the fee here is 0."""
    back = row["kind"] == "refund"
    amount = yuan(abs(row["amount"]))
    refund = ("", "", yuan(0), yuan(0), "", "")
    if back:
        refund = ("", row["refund_id"], amount, yuan(0), "ORIGINAL", STATUS.get(row.get("refund_state", ""), ""))
    return csv_line(
        (
            _time(row),
            row.get("account_id", ""),
            shop_id,
            "",
            "",
            row.get("transaction_id", ""),
            row["order_id"],
            row.get("openid", ""),
            row.get("method", "").upper(),
            "REFUND" if back else "SUCCESS",
            "OTHERS",
            currency,
            yuan(0) if back else amount,
            yuan(0),
            *refund,
            "",
            row.get("checkout_id", ""),
            yuan(0),
            "0.00%",
        )
    )


def trade_summary(lines: Sequence[Mapping[str, Any]]) -> str:
    """The trade bill's last line."""
    found = sums(lines)
    count = sum(map(is_trade, lines))
    return csv_line((str(count), yuan(found["paid"]), yuan(found["refunded"]), yuan(0), yuan(0)))


def flow_line(row: Mapping[str, Any]) -> str:
    """One change of what the shop has, and the balance after it."""
    kind = "扣除交易手续费" if row["kind"] == "settle" else NAMES.get(row["kind"], row["kind"])
    return csv_line(
        (
            _time(row),
            row.get("transaction_id", ""),
            row["entry_id"],
            NAMES.get(row["kind"], row["kind"]),
            kind,
            "收入" if row["amount"] > 0 else "支出",
            yuan(abs(row["amount"])),
            yuan(row["balance"]),
            "system",
            row["order_id"],
            row.get("refund_id", "") or row.get("checkout_id", ""),
        )
    )


def flow_summary(lines: Iterable[Mapping[str, Any]]) -> str:
    """The fund-flow bill's last line: rows, and number and sum of what came and of what went."""
    amounts = [line["amount"] for line in lines]
    came, went = [one for one in amounts if one > 0], [-one for one in amounts if one < 0]
    return csv_line((str(len(amounts)), str(len(came)), yuan(sum(came)), str(len(went)), yuan(sum(went))))
