"""The channel's bill of a day (下载对账单, the ALL form) as values: its rows, read strictly, its own summary included."""

from collections.abc import Iterable, Iterator
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


def read(lines: Iterable[bytes]) -> Iterator[Billed]:
    """The rows of a bill, one after the other; nothing may be concluded before the last one.

    Raises BrokenBillError where it is cut off, not a bill, or (behind the last row) does not add up.
    """
    told = (text for line in lines if (text := _text(line)))
    if not next(told, "").startswith("交易时间,"):
        raise BrokenBillError("the bill has no header")
    count = paid = back = 0
    for line in told:
        if line.startswith("总交易单数,"):
            break
        row = _row(line)
        count += 1
        paid += row.amount if row.item == PAYMENT else 0
        back -= row.amount if row.item == REFUND else 0
        yield row
    _check((count, paid, back), _fields(next(told, "")))
    if next(told, None) is not None:
        raise BrokenBillError("something stands behind the summary")


def _text(line: bytes) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BrokenBillError("the bill is not UTF-8") from error


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


def _check(found: tuple[int, int, int], summary: list[str]) -> None:
    """Raise BrokenBillError unless the summary says what the rows are: (count, paid, refunded)."""
    if len(summary) < 3:
        raise BrokenBillError("the bill has no summary: it is cut off")
    told = (int(summary[0]) if summary[0].isdigit() else -1, *map(fen, summary[1:3]))
    if told != found:
        raise BrokenBillError(f"the rows are {found}, the summary says {told} (count, paid, refunded)")
