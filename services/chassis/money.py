"""Money is an integer of minor units (分, fen for CNY). Floats never touch it. Standard library only."""

from collections.abc import Sequence
from typing import Final

MINOR_DIGITS: Final = {"CNY": 2, "USD": 2, "EUR": 2, "GBP": 2, "HKD": 2, "JPY": 0, "KRW": 0, "KWD": 3}
"""Digits after the decimal point, by ISO 4217 currency."""


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` minor units by weight, by largest remainder: the parts always add up to ``total``.

    Ties go to the earlier part. With all weights zero the parts are as equal as they can be. Raises ValueError for no parts, a
    negative weight or a negative total.
    """
    if not weights or total < 0 or min(weights) < 0:
        message = "split needs a non-negative total and at least one non-negative weight"
        raise ValueError(message)
    whole = sum(weights)
    if whole == 0:
        return split(total, [1] * len(weights))
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def share(amount: int, basis_points: int) -> int:
    """``basis_points`` (1/10,000) of ``amount`` minor units, rounded half up."""
    return (amount * basis_points * 2 + 10_000) // 20_000


def text(amount: int, currency: str = "CNY") -> str:
    """``1999`` → ``"19.99 CNY"``: for people, never parsed back."""
    digits = MINOR_DIGITS.get(currency, 2)
    sign, units = ("-" if amount < 0 else ""), abs(amount)
    if digits == 0:
        return f"{sign}{units} {currency}"
    major, minor = divmod(units, 10**digits)
    return f"{sign}{major}.{minor:0{digits}d} {currency}"
