"""订单付款通知 (``merchant_order``): what the old API pushes to a developer's URL when a buyer has paid (微信商铺API手册 V1.15 §6.1)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from xml.sax.saxutils import escape

PLAIN: Final = frozenset({"CreateTime", "OrderStatus"})
"""Elements that hold a number; all others are CDATA."""
PAID: Final = 2


def merchant_order(order: Mapping[str, Any], original_id: str, sku_info: str) -> dict[str, str | int]:
    """The elements of the push, in their order.

    ``order``: {order_id, openid, paid_at (UTC), lines: [{product_id}]}, of whose lines the old API tells the first; ``original_id``: of the
    official account (``gh_…``); ``sku_info``: that line's SKU as ``id:vid;id:vid``, "" where there is no choice. Receivers know a
    repeated push by FromUserName and CreateTime, so the time is the payment's, not the push's.
    """
    paid_at: datetime = order["paid_at"]
    return {
        "ToUserName": original_id,
        "FromUserName": order["openid"],
        "CreateTime": int(paid_at.timestamp()),
        "MsgType": "event",
        "Event": "merchant_order",
        "OrderId": order["order_id"],
        "OrderStatus": PAID,
        "ProductId": order["lines"][0]["product_id"],
        "SkuInfo": sku_info,
    }


def xml(elements: Mapping[str, str | int]) -> str:
    """The elements as the body of a push."""
    return f"<xml>{''.join(_element(name, value) for name, value in elements.items())}</xml>"


def _element(name: str, value: str | int) -> str:
    if name in PLAIN:
        return f"<{name}>{escape(str(value))}</{name}>"
    safe = str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{safe}]]></{name}>"
