"""Voucher orders (电子券): so many codes as units were bought, each redeemed once by the shop.

A code names its order and its number there; everything else stands in the order, so redeeming is one conditional write, and a code is void as
soon as its order is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.errors import Refusal, Violation
from services.orders.model.states import Order, State

KIND: Final = "voucher"
BY_LENGTH: Final = 60


def is_voucher(line: Mapping[str, Any]) -> bool:
    """Whether codes are what a line's buyer gets."""
    return line.get("fulfilment") == KIND


def is_voucher_order(order: Order) -> bool:
    """Whether it is of vouchers; an order is so as a whole."""
    return is_voucher(order["lines"][0])


def unsellable(lines: Sequence[Mapping[str, Any]], most: int) -> Refusal | None:
    """Why the lines of one shop cannot be one order: vouchers beside something else, or more than ``most`` codes; else None."""
    shops = {line["shop_id"] for line in lines if is_voucher(line)}
    codes: dict[str, int] = {}
    for number, line in enumerate(lines):
        if line["shop_id"] not in shops:
            continue
        if not is_voucher(line):
            return _refused(number, "product_id", "order vouchers apart from what else the shop sells")
        codes[line["shop_id"]] = codes.get(line["shop_id"], 0) + line["quantity"]
        if codes[line["shop_id"]] > most:
            return _refused(number, "quantity", f"at most {most} vouchers of a shop in one order")
    return None


def _refused(number: int, name: str, message: str) -> Refusal:
    path = f"lines[{number}].{name}"
    info = {"condition": "vouchers_apart" if name == "product_id" else "vouchers_per_order"}
    return Refusal("CONDITION_UNMET", f"{path}: {message}", (Violation(path, message),), info=info)


# ------------------------------------------------------------------------------------------------------------------- codes


def text(order_id: str, voucher: int) -> str:
    """What a code says: the order and the voucher's number in it, from 1."""
    return f"{order_id}-{voucher}"


def said(code_text: str) -> tuple[str, int]:
    """(order id, number) of a code's text."""
    order_id, _, number = code_text.rpartition("-")
    return order_id, int(number)


def line_of(order: Order, voucher: int) -> int:
    """The line (from 1) that a voucher is of; 0 for a number that the order has no voucher of."""
    first = 1
    for number, line in enumerate(order["lines"], 1):
        if first <= voucher < first + line["quantity"]:
            return number
        first += line["quantity"]
    return 0


def redemption(order: Order, voucher: int) -> Mapping[str, Any] | None:
    """When and by whom a voucher was redeemed; None when it was not."""
    rows: Sequence[Mapping[str, Any]] = order.get("redemptions", ())
    return next((row for row in rows if row["voucher"] == voucher), None)


def refunded(order: Order) -> set[int]:
    """The vouchers that no longer count because their money was given back: those that the order remembers (``voided``), then of those that
    were not redeemed the last.

    The merchant says how many of a line; of what rulings gave back it is as many as the money covers whole. Whatever changes either, or
    what was redeemed, keeps the answer in ``voided``: a voucher that is void stays so, and no other takes its place.
    """
    units_back: dict[int, int] = {}
    for row in order.get("line_refunds", ()):
        units_back[row["line"]] = units_back.get(row["line"], 0) + row["quantity"]
    ruled = sum(row["amount"] for row in order.get("refunds", ()) if row["cause"] == "dispute")
    found: set[int] = set()
    known: Sequence[int] = order.get("voided", ())
    for voucher in dict.fromkeys([*known, *range(units(order), 0, -1)]):
        line = line_of(order, voucher)
        if redemption(order, voucher) is not None:
            continue
        if units_back.get(line, 0) > 0:
            units_back[line] -= 1
            found.add(voucher)
        elif 0 < (worth := _worth(order["lines"][line - 1])) <= ruled:
            ruled -= worth
            found.add(voucher)
    return found


def voided(order: Order) -> dict[str, list[int]]:
    """The field by which an order remembers what is void as it is now; none where nothing is, or no more than it knows."""
    void = sorted(refunded(order)) if is_voucher_order(order) else []
    return {"voided": void} if void != list(order.get("voided", ())) else {}


def _worth(line: Mapping[str, Any]) -> int:
    """Minor units that were paid for one voucher of a line."""
    paid: int = line["amount"] + line["freight"] - line.get("freight_discount", 0)
    return paid // int(line["quantity"])


def left(order: Order) -> dict[int, int]:
    """Line number (from 1) → vouchers that can still be redeemed; lines without are not in it."""
    found: dict[int, int] = {}
    void = refunded(order)
    for voucher in range(1, units(order) + 1):
        if voucher not in void and redemption(order, voucher) is None:
            line = line_of(order, voucher)
            found[line] = found.get(line, 0) + 1
    return found


def states(order: Order) -> list[dict[str, Any]]:
    """Every voucher of a paid order: {voucher, line, state (valid, redeemed, void), redeemed_at, redeemed_by}; none of an unpaid one."""
    if not order["paid"] or not is_voucher_order(order):
        return []
    found, back = [], refunded(order)
    for voucher in range(1, units(order) + 1):
        row = redemption(order, voucher)
        usual = "valid" if order["state"] == State.PAID and voucher not in back else "void"
        told = {name: row[name] for name in ("redeemed_at", "redeemed_by")} if row else {}
        found.append(
            {"voucher": voucher, "line": line_of(order, voucher), "state": "redeemed" if row else usual, **told}
        )
    return found


def units(order: Order) -> int:
    """How many codes the order has."""
    return sum(line["quantity"] for line in order["lines"])


# ------------------------------------------------------------------------------------------------------------------- times


def due(order: Order) -> datetime | None:
    """When time does something to a paid order of vouchers: when the last redemption of all that count cannot be taken back any more, or
    when those left have lapsed too; None while a dispute is open.
    """
    if order["in_dispute"]:
        return None
    rows: Sequence[Mapping[str, Any]] = order.get("redemptions", ())
    until: datetime = order["vouchers_until"]
    if not rows:
        return until
    last: datetime = max(row["redeemed_at"] for row in rows) + timedelta(seconds=order["terms"]["reversal_s"])
    return last if len(rows) + len(refunded(order)) == units(order) else max(until, last)
