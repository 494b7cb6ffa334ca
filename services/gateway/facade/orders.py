"""Orders (订单), §6 of the 微信商铺API手册 V1.15: read them, send them, end them. Buyers' side has no door in the old API."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.gateway.facade.answers import Declined, Listing
from services.gateway.facade.categories import Attributes, sku_info
from services.gateway.facade.desk import ORDERS, PAGE, Desk
from services.gateway.facade.reader import Reader

Answer = dict[str, Any]
STATES: Final[Mapping[int, Answer]] = {
    0: {"states": ["paid", "shipped", "completed"]},
    2: {"states": ["paid"], "in_dispute": False},
    3: {"states": ["shipped"], "in_dispute": False},
    5: {"states": ["completed"], "in_dispute": False},
    8: {"states": ["paid", "shipped", "completed"], "in_dispute": True},
}
"""status of getbyfilter → what is asked of the house; 0 is all. Unpaid and closed orders are in no list."""
CLOSED: Final = 4
REASON: Final = "商家关闭订单"
"""What the buyer is told; the old call has no field for it."""
LATEST: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


async def get(desk: Desk, call: Reader) -> Answer:
    """根据订单ID获取订单详情; also one that no list shows: unpaid (1) and closed (4)."""
    return {"order": await _shown(desk, await _order(desk, _order_id(call)))}


async def by_filter(desk: Desk, call: Reader) -> Listing:
    """根据订单状态/创建时间获取订单详情: without end, so it is sent page by page, the newest first."""
    wanted = dict(call.choice("status", STATES, STATES[0]))
    begins, ends = (call.number(name, most=LATEST) for name in ("begintime", "endtime"))
    if begins and ends and ends < begins:
        call.wrong("endtime", "must not lie before begintime")
    call.check()
    if begins:
        wanted["created_from"] = _moment(begins)
    if ends:  # the whole second
        wanted["created_to"] = _moment(ends + 1)
    return await Listing.begun("order_list", _pages(desk, wanted))


async def set_delivery(desk: Desk, call: Reader) -> Answer:
    """设置订单发货信息. The same once more, after a broken line, is fine."""
    identity = _order_id(call)
    wanted = {
        "order_id": identity,
        "need_delivery": call.choice("need_delivery", {0: False, 1: True}, default=True),
        "is_others": call.choice("is_others", {0: False, 1: True}, default=False),
        "delivery_company": call.text("delivery_company"),
        "delivery_track_no": call.text("delivery_track_no"),
    }
    call.check()
    try:
        await desk.ask("ShipOrder", wanted, service=ORDERS)
    except Declined as refusal:
        if refusal.reason != "WRONG_STATE" or not _sent_so(await _order(desk, identity), wanted):
            raise
    return {}


async def close(desk: Desk, call: Reader) -> Answer:
    """关闭订单: one that is not sent yet; what was paid goes back. What is closed already stays so."""
    identity = _order_id(call)
    try:
        await desk.ask("CancelOrder", {"order_id": identity, "reason": REASON}, service=ORDERS)
    except Declined as refusal:
        if refusal.reason != "WRONG_STATE" or (await _order(desk, identity))["order_status"] != CLOSED:
            raise
    return {}


def _order_id(call: Reader) -> str:
    found = call.text("order_id", required="say which order")
    call.check()
    return found


async def _order(desk: Desk, identity: str) -> Answer:
    found: Answer = (await desk.ask("GetOrder", {"order_id": identity}, service=ORDERS))["order"]
    return found


async def _pages(desk: Desk, wanted: Mapping[str, Any]) -> AsyncIterator[list[Answer]]:
    asked = {**wanted, "page_size": PAGE}
    async for page in desk.pages("ListOrders", "orders", asked, service=ORDERS):
        yield [await _shown(desk, found) for found in page]


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _sent_so(found: Answer, wanted: Answer) -> bool:
    """Whether one of the order's parcels travels as ``wanted`` says."""
    told = (wanted["delivery_company"], wanted["delivery_track_no"]) if wanted["need_delivery"] else ("", "")
    wish = (wanted["need_delivery"], *told)
    return any((each["need_delivery"], each["company"], each["track_no"]) == wish for each in found.get("parcels", ()))


def _last_sent(found: Answer) -> Answer:
    """The parcel that the old API's two fields tell of: the last that travels, which is the one it set itself."""
    travelling: list[Answer] = [each for each in found.get("parcels", ()) if each["need_delivery"]]
    return travelling[-1] if travelling else {}


async def _shown(desk: Desk, found: Answer) -> Answer:
    named = {line["category_id"]: await _attributes(desk, line) for line in found["lines"] if line.get("options")}
    return shown(found, named)


async def _attributes(desk: Desk, line: Answer) -> Attributes | None:
    try:
        return await desk.category(line["category_id"])
    except Declined as refusal:
        if refusal.reason != "NOT_FOUND":  # a category that is gone leaves the names as they are
            raise
        return None


def shown(found: Answer, categories: Mapping[int, Attributes | None]) -> Answer:
    """An order as the old API shows it (§6.1): prices in fen, times in Unix seconds, the flat product fields of its first line.

    ``categories``: how the attributes of the lines' categories are written, by category id.
    """
    products = [_product(line, categories.get(line.get("category_id", 0))) for line in found["lines"]]
    address, sent = found.get("address", {}), _last_sent(found)
    receiver = {f"receiver_{name}": address.get(name, "") for name in ("province", "city", "zone", "address", "mobile")}
    return {
        "order_id": found["order_id"],
        "order_status": found["order_status"],
        "order_total_price": found["amount"],
        "order_create_time": int(found["created_at"].timestamp()),
        "order_express_price": found["freight"] - sum(line.get("freight_discount", 0) for line in found["lines"]),
        "buyer_openid": found["openid"],
        "buyer_nick": "",
        "receiver_name": address.get("receiver_name", ""),
        **receiver,
        "receiver_phone": "",
        **(products[0] if products else {}),
        "delivery_id": sent.get("track_no", ""),
        "delivery_company": sent.get("company", ""),
        "trans_id": found["transaction_id"],
        "products": products,
    }


def _product(line: Answer, offered: Attributes | None) -> Answer:
    return {
        "product_id": line["product_id"],
        "product_name": line["name"],
        "product_price": line["price"],
        "product_sku": sku_info(line.get("options", []), offered),
        "product_count": line["quantity"],
        "product_img": line["image"],
    }
