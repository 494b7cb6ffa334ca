"""A product of the catalog → as the old API shows it (微信商铺API手册 V1.15 §1.4)."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from services.gateway.facade.categories import Attributes
from services.gateway.facade.express import NUMBERS
from services.gateway.facade.products.reading import FLAGS, PLACE

Plain = Mapping[str, Any]
ON, OFF = 1, 2
STATUS: Final[Mapping[str, int]] = {"listed": ON, "delisted": OFF, "draft": OFF}
_IMAGE: Final = '<div class="item_pic_wrp" style="margin-bottom:8px;font-size:0;"><img class="item_pic" style="width:100%;" alt="" src="{}" ></div>'
_TEXT: Final = '<p style="margin-bottom:11px;margin-top:11px;">{}</p>'


def product(found: Plain, offered: Attributes) -> dict[str, Any]:
    """product_info: ids as text of digits, properties by their names, prices in fen, quantity as it is on hand."""
    images = found["images"]
    written = _written(found, offered)
    base = {
        "name": found["name"],
        "category_id": [str(found["category_id"])],
        "main_img": images[0] if images else "",
        "img": images[1:],
        "property": [{"id": each["name"], "vid": each["value"]} for each in found["properties"]],
        "sku_info": [{"id": identity, "vid": list(values.values())} for identity, values in written.values()],
        "buy_limit": found["buy_limit"],
        "detail_html": "".join(map(_block, found["detail"])),
    }
    return {
        "product_id": found["product_id"],
        "product_base": base,
        "sku_list": [_sku(sku, found["axes"], written) for sku in found["skus"]],
        "attrext": _extra(found),
        "delivery_info": _delivery(found["freight"]),
    }


def _written(found: Plain, offered: Attributes) -> dict[str, tuple[str, dict[str, str]]]:
    """Axis → how it and each of its values are written."""
    out = {}
    for place, axis in enumerate(found["axes"]):
        values = dict.fromkeys(sku["values"][place] for sku in found["skus"])
        out[axis] = offered.skus.axis(axis, values)
    return out


def _sku(sku: Plain, axes: list[str], written: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, Any]:
    pairs = [f"{written[axis][0]}:{written[axis][1][value]}" for axis, value in zip(axes, sku["values"], strict=True)]
    measures = {name: sku[name] for name in ("weight_g", "volume_cm3") if sku[name]}
    return {
        "sku_id": ";".join(pairs),
        "ori_price": sku["original_price"],
        "price": sku["price"],
        "icon_url": sku["image"],
        "quantity": sku.get("on_hand", sku["available"]),
        "product_code": sku["merchant_sku"],
        **measures,
    }


def _block(block: Plain) -> str:
    return _IMAGE.format(escape(block["image"])) if block["image"] else _TEXT.format(escape(block["text"]))


def _extra(found: Plain) -> dict[str, Any]:
    terms, place = found.get("terms", {}), found.get("location", {})
    return {
        "isPostFree": int(found["freight"]["kind"] == "free"),
        **{wire: int(terms.get(name, False)) for name, wire in FLAGS},
        "location": {name: place.get(name, "") for name in PLACE},
    }


def _delivery(freight: Plain) -> dict[str, Any]:
    if freight["kind"] == "template":
        return {"delivery_type": 1, "template_id": freight["template_id"]}
    fees = {each["carrier_class"]: each["fee"] for each in freight["carrier_fees"]}
    if freight["kind"] == "flat":
        fees = dict.fromkeys(NUMBERS, freight["fee"])
    express = [{"id": number, "price": fees[name]} for name, number in NUMBERS.items() if name in fees]
    return {"delivery_type": 0, "template_id": 0, "express": express}
