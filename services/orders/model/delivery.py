"""How goods travel: the ten carriers of the 2014 API, others by name, or nothing to send."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.chassis.errors import invalid

CARRIERS: Final[Mapping[str, str]] = {
    "Fsearch_code": "邮政EMS",
    "002shentong": "申通快递",
    "066zhongtong": "中通速递",
    "056yuantong": "圆通速递",
    "042tiantian": "天天快递",
    "003shunfeng": "顺丰速运",
    "059Yunda": "韵达快运",
    "064zhaijisong": "宅急送",
    "020huitong": "汇通快运",
    "zj001yixun": "易迅快递",
}
"""物流公司 ID of 微信商铺API手册 V1.15 §6.4.5, spelt as there."""
_TRACK_NO: Final = re.compile(r"[0-9A-Za-z-]{4,40}")
_NAME_LENGTH: Final = 40


def parcel(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The delivery of an order from ``need_delivery`` (absent: true), ``delivery_company``, ``delivery_track_no``, ``is_others``.

    Raises Refusal INVALID_ARGUMENT naming the field.
    """
    if not asked.get("need_delivery", True):
        return {"need_delivery": False, "company": "", "company_name": "", "track_no": ""}
    company, track_no = asked["delivery_company"].strip(), asked["delivery_track_no"].strip()
    if asked["is_others"]:
        if not 0 < len(company) <= _NAME_LENGTH:
            raise invalid("delivery_company", f"name the carrier in 1 to {_NAME_LENGTH} characters")
    elif company not in CARRIERS:
        message = f"must be one of {', '.join(CARRIERS)}; for another carrier send its name and is_others = true"
        raise invalid("delivery_company", message)
    if not _TRACK_NO.fullmatch(track_no):
        raise invalid("delivery_track_no", "must be 4 to 40 letters, digits and hyphens")
    return {
        "need_delivery": True,
        "company": company,
        "company_name": CARRIERS.get(company, company),
        "track_no": track_no,
    }
