"""What a question to the search may say."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chassis.errors import Refusal, Violation, invalid

TEXT_LONGEST: Final = 100
AXES_MOST: Final = 3
DEEPEST: Final = 10_000
"""Products that can be paged through; who wants more narrows the question, or exports."""
PRICE_MOST: Final = 2**62


def check(wanted: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The attributes asked for as (axis, value). ``wanted``: a SearchProductsRequest as plain values.

    Raises Refusal INVALID_ARGUMENT naming every wrong field.
    """
    found = _text(wanted["q"])
    found += [Violation(name, "must not be negative") for name in ("price_min", "price_max") if wanted[name] < 0]
    if 0 < wanted["price_max"] < wanted["price_min"]:
        found.append(
            Violation("price_max", f"is below price_min {wanted['price_min']}; prices are in minor units (fen)")
        )
    attributes, wrong = _attributes(wanted["attributes"])
    found += wrong
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    return attributes


def check_text(text: str) -> None:
    """What somebody types. Raises Refusal INVALID_ARGUMENT."""
    for found in _text(text):
        raise invalid(found.field, found.message)


def _text(text: str) -> list[Violation]:
    fits = len(text) <= TEXT_LONGEST
    return [] if fits else [Violation("q", f"has {len(text)} characters; at most {TEXT_LONGEST}")]


def _attributes(given: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], list[Violation]]:
    if len(given) > AXES_MOST:
        return (), [Violation("attributes", f"{len(given)} are given; a SKU has at most {AXES_MOST}")]
    pairs: list[tuple[str, str]] = []
    wrong: list[Violation] = []
    for number, text in enumerate(given):
        axis, colon, value = (part.strip() for part in text.replace("：", ":").partition(":"))
        if not (axis and colon and value):
            wrong.append(Violation(f"attributes[{number}]", "write axis:value, such as 颜色:红色"))
        elif axis in dict(pairs):
            wrong.append(Violation(f"attributes[{number}]", f"{axis} is given twice; a SKU has one value of each axis"))
        else:
            pairs.append((axis, value))
    return tuple(pairs), wrong
