"""Amounts of a checkout: what lines, orders and the whole cost. Minor units; the parts always add up to the whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.chassis import money

Line = dict[str, Any]
Discount = Mapping[str, Any]
"""``{kind, ref, amount (minor units), payer (merchant | platform)}``"""


def spread(discounts: Sequence[Discount], weights: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Each discount split over the targets by what is left of their ``weights``, by largest remainder; per target its parts.

    No target gets more than its weight. Raises ValueError when the discounts are more than the weights.
    """
    if sum(discount["amount"] for discount in discounts) > sum(weights):
        raise ValueError("discounts exceed what they are taken from")
    left = list(weights)
    parts: list[list[dict[str, Any]]] = [[] for _ in weights]
    for discount in discounts:
        for index, amount in enumerate(money.split(discount["amount"], left)):
            if amount:
                left[index] -= amount
                parts[index].append({**discount, "amount": amount})
    return parts


def total(discounts: Sequence[Discount]) -> int:
    """What the discounts come to."""
    return sum(discount["amount"] for discount in discounts)


def priced(lines: Sequence[Mapping[str, Any]], discounts: Sequence[Discount]) -> dict[str, Any]:
    """The money of one order from its frozen lines and its part of the discounts.

    Freight is the sum of what catalog froze for each line (0 when the seller pays it, 包邮). Answers ``lines`` (each with
    ``goods_amount``, ``discount``, ``amount``, ``freight``), ``goods_amount``, ``discount``, ``freight``, ``amount``, ``discounts``.
    """
    worth = [line["price"] * line["quantity"] for line in lines]
    parts = [total(part) for part in spread(discounts, worth)]
    frozen: list[Line] = [
        {**line, "goods_amount": goods, "discount": part, "amount": goods - part, "freight": line["freight_fee"]}
        for line, goods, part in zip(lines, worth, parts, strict=True)
    ]
    goods, discount = sum(worth), total(discounts)
    freight = sum(line["freight"] for line in frozen)
    return {
        "lines": [{name: value for name, value in line.items() if name != "freight_fee"} for line in frozen],
        "goods_amount": goods,
        "discount": discount,
        "discounts": [dict(each) for each in discounts],
        "freight": freight,
        "amount": goods - discount + freight,
    }


def by_shop(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The lines of each shop, shops in the order of their first line."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        found.setdefault(line["shop_id"], []).append(line)
    return found
