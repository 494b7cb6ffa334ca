"""Invoices (发票) that a buyer asks for with an order."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.chassis.errors import Violation

KINDS: Final = ("personal", "company")
TITLE_LENGTH: Final = 100
_CREDIT_CODE: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters of a 统一社会信用代码 by their value (GB 32100-2015)."""
_WEIGHTS: Final = tuple(3**place % 31 for place in range(17))
_OLDER: Final = re.compile(r"[0-9A-Z]{15}|[0-9A-Z]{20}")
"""纳税人识别号 of before 2015, which some still have."""


def wrong(invoice: Mapping[str, Any]) -> list[Violation]:
    """Everything wrong with an invoice that is asked for: {kind, title, tax_number}."""
    problems = []
    title, number = invoice["title"].strip(), invoice["tax_number"].strip().upper()
    if invoice["kind"] not in KINDS:
        problems.append(Violation("invoice.kind", f"must be one of {', '.join(KINDS)}"))
    if not 0 < len(title) <= TITLE_LENGTH:
        problems.append(
            Violation("invoice.title", f"whom the invoice is made out to (抬头), 1 to {TITLE_LENGTH} characters")
        )
    if invoice["kind"] == "personal" and number:
        problems.append(Violation("invoice.tax_number", "a person's invoice has none; leave it empty"))
    if invoice["kind"] == "company" and not _is_tax_number(number):
        message = (
            "a company's 统一社会信用代码 (18 characters with its check character) or older 纳税人识别号 (15 or 20)"
        )
        problems.append(Violation("invoice.tax_number", message))
    return problems


def kept(invoice: Mapping[str, Any]) -> dict[str, str]:
    """The invoice as an order keeps it."""
    number = invoice["tax_number"].strip().upper()
    return {"kind": invoice["kind"], "title": invoice["title"].strip(), "tax_number": number}


def _is_tax_number(number: str) -> bool:
    if len(number) != len(_WEIGHTS) + 1:
        return _OLDER.fullmatch(number) is not None
    if not set(number) <= set(_CREDIT_CODE):
        return False
    total = sum(_CREDIT_CODE.index(sign) * weight for sign, weight in zip(number, _WEIGHTS, strict=False))
    return _CREDIT_CODE[-total % 31] == number[-1]
