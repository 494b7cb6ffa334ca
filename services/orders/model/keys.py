"""Under which words an order is found: one array in the order, so that one index answers for all of them.

Each word is ``kind:value`` behind whose it is, so that a shop finds only its own. They stand in the order from its beginning; what a payment
or a dispute adds comes in the write that adds it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

Order = Mapping[str, Any]
TAIL: Final = 4
"""Digits of a telephone number that a shop looks for (手机尾号)."""
_NO_DIGIT: Final = re.compile(r"\D")


def of_order(order: Order) -> list[str]:
    """The words of an order that is placed."""
    shop = of_shop(order["shop_id"])
    found = [shop, of_buyer(order["buyer_id"]), f"{shop}/openid:{order['openid']}"]
    tail = phone_tail(order["address"]["mobile"])
    if tail:
        found.append(f"{shop}/phone:{tail}")
    for line in order["lines"]:
        found += [
            f"{shop}/{kind}:{line[name]}"
            for kind, name in (("product", "product_id"), ("sku", "merchant_sku"), ("item", "external_id"))
            if line.get(name)
        ]
    return list(dict.fromkeys(found))


def of_payment(payment_id: str, transaction_id: str) -> list[str]:
    """The words that a payment adds: its number at the channel (out_trade_no) and the channel's own (微信支付交易号)."""
    return [f"trade:{payment_id.removeprefix('pay_')}", f"transaction:{transaction_id}"]


def of_shop(shop_id: str) -> str:
    """All orders of a shop."""
    return f"shop:{shop_id}"


def of_buyer(buyer_id: str) -> str:
    """All orders of a buyer."""
    return f"buyer:{buyer_id}"


def in_dispute(shop_id: str) -> str:
    """Those of a shop's orders that are in dispute (维权中)."""
    return f"{of_shop(shop_id)}/dispute"


def joined(order: Order, *words: str) -> list[str]:
    """The order's words and these."""
    return list(dict.fromkeys([*order.get("keys", ()), *words]))


def without(order: Order, word: str) -> list[str]:
    """The order's words but this."""
    return [each for each in order.get("keys", ()) if each != word]


def phone_tail(mobile: str) -> str:
    """The last digits of a telephone number, "" where it has fewer."""
    digits = _NO_DIGIT.sub("", mobile)
    return digits[-TAIL:] if len(digits) >= TAIL else ""
