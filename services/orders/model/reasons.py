"""Why an order is cancelled: coded, and in the canceller's own words."""

from collections.abc import Mapping
from typing import Final

from services.chassis.errors import invalid

OTHER: Final = "other"
CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "buyer": ("changed_mind", "wrong_address", "ordered_wrongly", "too_slow", "cheaper_elsewhere", OTHER),
    "merchant": ("out_of_stock", "wrong_price", "cannot_deliver", "buyer_asked", OTHER),
}
"""The codes that each side may give."""
TEXT_LENGTH: Final = 200


def checked(kind: str, code: str, text: str) -> tuple[str, str]:
    """(code, text) as they are kept; the code empty where none was given. ``kind``: buyer or merchant, who must tell the buyer why.

    Raises Refusal INVALID_ARGUMENT naming ``reason_code`` or ``reason``.
    """
    told = text.strip()
    if len(told) > TEXT_LENGTH:
        raise invalid("reason", f"at most {TEXT_LENGTH} characters")
    if code and code not in CODES[kind]:
        raise invalid("reason_code", f"a {kind} gives one of {', '.join(CODES[kind])}")
    if kind == "merchant" and not told and code in ("", OTHER):
        raise invalid(
            "reason", "tell the buyer why the order is cancelled, in words or by a reason_code other than other"
        )
    return code, told
