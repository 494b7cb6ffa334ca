"""The channel's bill of a day (下载对账单, the ALL form) as values: its rows, read strictly, its own summary included."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PAYMENT: Final = "payment"
REFUND: Final = "refund"
_COLUMNS: Final = 24
_NUMBER, _TRADE, _STATE, _TOTAL, _REFUND_NO, _REFUNDED = 5, 6, 9, 12, 15, 16


class BrokenBillError(ValueError):
    """A bill that cannot be read, or whose rows are not what its summary says: nothing may be concluded from it."""


@dataclass(frozen=True, slots=True)
class Billed:
    """One row. ``number``: the channel's transaction_id of a payment, our own number of a refund. ``amount``: fen, refunds negative."""

    item: str
    number: str
    out_trade_no: str
    amount: int


def read(content: bytes) -> list[Billed]:
    """The rows of a bill. Raises BrokenBillError where it is cut off, not a bill, or does not add up."""
    try:
        lines = [line for line in content.decode().split("\r\n") if line]
    except UnicodeDecodeError as error:
        raise BrokenBillError("the bill is not UTF-8") from error
    if len(lines) < 3 or not lines[0].startswith("交易时间,") or not lines[-2].startswith("总交易单数,"):
        raise BrokenBillError("the bill has no header, or no summary: it is cut off")
    rows = [_row(line) for line in lines[1:-2]]
    _check(rows, _fields(lines[-1]))
    return rows


def _fields(line: str) -> list[str]:
    return [field.removeprefix("`") for field in line.split(",")]


def _row(line: str) -> Billed:
    fields = _fields(line)
    if len(fields) != _COLUMNS:
        raise BrokenBillError(f"a row of {len(fields)} columns instead of {_COLUMNS}: {line[:80]}")
    if fields[_STATE] == "REFUND":
        return Billed(REFUND, fields[_REFUND_NO], fields[_TRADE], -fen(fields[_REFUNDED]))
    return Billed(PAYMENT, fields[_NUMBER], fields[_TRADE], fen(fields[_TOTAL]))


def fen(yuan: str) -> int:
    """``"12.80"`` → 1280, without floats. Raises BrokenBillError."""
    whole, _, cents = yuan.removeprefix("-").partition(".")
    if not (whole.isascii() and whole.isdigit() and cents.isascii() and cents.isdigit() and len(cents) == 2):
        raise BrokenBillError(f"not an amount in yuan: {yuan!r}")
    amount = int(whole) * 100 + int(cents)
    return -amount if yuan.startswith("-") else amount


def _check(rows: list[Billed], summary: list[str]) -> None:
    paid = sum(row.amount for row in rows if row.item == PAYMENT)
    back = -sum(row.amount for row in rows if row.item == REFUND)
    told = (int(summary[0]) if summary[0].isdigit() else -1, *map(fen, summary[1:3]))
    if told != (len(rows), paid, back):
        raise BrokenBillError(
            f"the rows are {(len(rows), paid, back)}, the summary says {told} (count, paid, refunded)"
        )


def totals(rows: Iterator[tuple[str, int]] | list[tuple[str, int]]) -> dict[str, int]:
    """Number and sum of payments and of refunds; rows are (item, signed amount)."""
    found = {"payments": 0, "paid": 0, "refunds": 0, "refunded": 0}
    for item, amount in rows:
        if item == PAYMENT:
            found["payments"] += 1
            found["paid"] += amount
        else:
            found["refunds"] += 1
            found["refunded"] -= amount
    return found
