"""A shop's bill of a CST day, as JSON rows and as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.chassis import clock, policy
from services.chassis.calendar import day
from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.model import bills
from services.payments.model.periods import in_currency
from services.payments.store import Store, history
from services.payments.store.bills import by_id, entries_of

PAGE: Final = 100
LONGEST_PAGE: Final = 500
LINES_A_PIECE: Final = 2000
TRADE: Final = "trade"
FLOW: Final = "fund_flow"


@dataclass(frozen=True, slots=True)
class Bill:
    """A whole bill: the shop's document, the day, every account over it, and every row."""

    shop: Document
    day: str
    final: bool
    accounts: Sequence[dict[str, Any]]
    rows: Sequence[dict[str, Any]]

    @property
    def opening(self) -> int:
        """What the shop had when the day began, in fen."""
        return sum(int(one["opening"]) for one in self.accounts)

    @property
    def closing(self) -> int:
        """What it has when the day is over, in fen."""
        return sum(int(one["closing"]) for one in self.accounts)


def bill(store: Store, shop_id: str, asked: str) -> Bill:
    """The bill of a shop and CST day. Raises Refusal NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE."""
    now = clock.business()
    cst_day = bills.told_day(asked, day(now))
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    before = in_currency(history.balances_at(store, shop_id, bills.midnight(cst_day)), shop["currency"])
    entries = entries_of(store, shop_id, cst_day)
    accounts = bills.accounts(before, entries, shop_id)
    rows = bills.rows(sum(before.values()), entries, shop_id)
    return Bill(
        shop, cst_day, bills.is_final(cst_day, now, policy.load("payments").span("bill_ready", now)), accounts, rows
    )


def page(store: Store, shop_id: str, asked: str, after: int, wanted: int) -> tuple[dict[str, Any], int]:
    """A page of the bill's rows beside the day's figures, and where the next page begins (0: nowhere). ``after``: rows passed.

    Rows are only ever added behind those that are there, so their number is a place that stays.
    """
    found = bill(store, shop_id, asked)
    size = min(wanted, LONGEST_PAGE) if wanted > 0 else PAGE
    rows = found.rows[after : after + size]
    told = {
        "shop_id": shop_id,
        "date": found.day,
        "currency": found.shop["currency"],
        "final": found.final,
        "opening": found.opening,
        "closing": found.closing,
        "accounts": list(found.accounts),
        **bills.sums(found.rows),
        "row_count": len(found.rows),
        "rows": _joined(store, rows),
    }
    return told, after + size if after + size < len(found.rows) else 0


def piece(store: Store, shop_id: str, asked: str, kind: str, after: int) -> tuple[bytes, int]:
    """A piece of the bill's file (UTF-8 CSV) and how many rows have been told with it; 0 with the last piece."""
    found = bill(store, shop_id, asked)
    wanted = [row for row in found.rows if kind == FLOW or bills.is_trade(row)]
    rows = _joined(store, wanted[after : after + LINES_A_PIECE])
    lines = [] if after else [bills.FLOW_HEADER if kind == FLOW else bills.TRADE_HEADER]
    if kind == FLOW:
        lines += map(bills.flow_line, rows)
    else:
        account = {"account_id": found.shop.get("account_id", "")}
        lines += (bills.trade_line({**row, **account}, shop_id, found.shop["currency"]) for row in rows)
    last = after + LINES_A_PIECE >= len(wanted)
    if last and kind == FLOW:
        lines += [bills.FLOW_SUMMARY, bills.flow_summary(wanted)]
    elif last:
        lines += [bills.TRADE_SUMMARY, bills.trade_summary(wanted)]
    return "".join(f"{line}\r\n" for line in lines).encode(), 0 if last else after + LINES_A_PIECE


def _joined(store: Store, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what their payments and refunds add: order, the buyer's openid, method, numbers."""
    numbers = [row["refund_id"] for row in rows if "refund_id" in row]
    refunds = by_id(store, "refunds", numbers, "order_id", "checkout_id", "transaction_id", "state")
    found = [{**row, **_of_refund(refunds.get(row.get("refund_id", "")))} for row in rows]
    checkouts = [row["checkout_id"] for row in found if row.get("checkout_id")]
    payables = by_id(store, "payables", checkouts, "shares", "payments")
    return [{**row, **_of_payable(payables.get(row.get("checkout_id", "")), row)} for row in found]


def _of_refund(refund: Document | None) -> dict[str, Any]:
    if refund is None:
        return {}
    names = ("order_id", "checkout_id", "transaction_id")
    return {**{name: refund[name] for name in names}, "refund_state": refund["state"]}


def _of_payable(payable: Document | None, row: dict[str, Any]) -> dict[str, Any]:
    if payable is None:
        return {}
    number = row.get("transaction_id")
    methods = [one["method"] for one in payable["payments"] if one.get("transaction_id") == number]
    openids = [share.get("openid", "") for share in payable["shares"] if share["order_id"] == row.get("order_id")]
    return {"openid": openids[0] if openids else "", "method": methods[0] if methods else ""}
