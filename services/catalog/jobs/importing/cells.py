"""From cells to values: exact prices, counts, switches. Every refusal says how to mend the cell."""

import re
from decimal import Decimal
from typing import Final

from services.chassis.money import MINOR_DIGITS

_PLAIN_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{1,10})?", re.ASCII)
_TRUE: Final = frozenset({"true", "yes", "1", "是"})
_FALSE: Final = frozenset({"false", "no", "0", "否", ""})


class CellError(ValueError):
    """A cell that does not say what its column needs."""

    def __init__(self, reason: str, message: str) -> None:
        """``reason`` for programs, ``message`` with the fix."""
        super().__init__(message)
        self.reason, self.message = reason, message


def minor_units(text: str, currency: str) -> int:
    """``"19.99"`` CNY → 1999: exact decimal × minor unit (ISO 4217), never a float. Raises CellError."""
    if not _PLAIN_NUMBER.fullmatch(text):
        raise CellError(
            "PRICE_INVALID",
            f"{_show(text)} is no price; write digits with a point, such as 19.90, without sign, symbol or thousands separator",
        )
    digits = MINOR_DIGITS[currency]
    units = Decimal(text).scaleb(digits)
    if units != units.to_integral_value():
        raise CellError(
            "PRICE_NOT_EXACT", f"{text} has more decimals than {currency} has ({digits}); round it yourself"
        )
    return int(units)


def count(text: str, unit: str) -> int:
    """A whole number ≥ 0; a fraction of zeros (``5.0``) is allowed. Raises CellError."""
    if not _PLAIN_NUMBER.fullmatch(text) or Decimal(text) != Decimal(text).to_integral_value():
        raise CellError("NUMBER_INVALID", f"{_show(text)} is no number of {unit}; write a whole number of at least 0")
    return int(Decimal(text))


def grams(text: str) -> int:
    """Grams ≥ 0, a fraction rounded half up (exports hold 453.592 for a pound). Raises CellError."""
    if not _PLAIN_NUMBER.fullmatch(text):
        raise CellError("NUMBER_INVALID", f"{_show(text)} is no weight; write grams as a number of at least 0")
    return int(Decimal(text) + Decimal("0.5"))


def switch(text: str) -> bool:
    """true or false; empty is false. Raises CellError."""
    folded = text.casefold()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise CellError("SWITCH_INVALID", f"{_show(text)} is neither true nor false")


def _show(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
