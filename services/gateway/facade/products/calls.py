"""The calls on products and on their stock."""

import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from services.gateway.facade.answers import Declined, Listing, check_item
from services.gateway.facade.desk import PAGE, Desk, attempts
from services.gateway.facade.products.reading import DRAFT, PATHS, category_id, pairs, product_input
from services.gateway.facade.products.showing import STATUS, product
from services.gateway.facade.reader import Reader

Answer = dict[str, Any]
STATES: Final = {0: ("",), 1: ("listed",), 2: ("delisted", DRAFT)}
"""status of getbystatus → states of the house."""
STOCK: Final = {"delta": "quantity", "sku_id": "sku_info", "merchant_sku": "sku_info"}


async def create(desk: Desk, call: Reader) -> Answer:
    """商品增加. With ``product_id`` it is an update (EasyWeChat 2 sends those here).

    A product_code that a product of the same name has already makes it that product, so that a create sent again makes no second one.
    """
    if call.has("product_id"):
        return await update(desk, call)
    async for _ in attempts():
        same = await _same(desk, call)
        if same is not None:
            return {"product_id": await _written(desk, call, same)}
        try:
            return {"product_id": await _written(desk, call, None)}
        except Declined as refusal:
            if refusal.reason != "MERCHANT_SKU_TAKEN" or await _same(desk, call) is None:
                raise
    raise Declined("VERSION_CONFLICT", "product_id: the product keeps changing; try again")


async def update(desk: Desk, call: Reader) -> Answer:
    """修改商品: what is left out stays."""
    identity = _product_id(call)
    async for _ in attempts():
        found = await _product(desk, identity)
        try:
            await _written(desk, call, found)
        except Declined as refusal:
            if refusal.reason != "ETAG_MISMATCH":
                raise
        else:
            return {}
    raise Declined("VERSION_CONFLICT", "product_id: the product keeps changing; try again")


async def get(desk: Desk, call: Reader) -> Answer:
    """查询商品."""
    found = await _product(desk, _product_id(call))
    return {"product_info": product(found, await desk.category(found["category_id"]))}


async def by_status(desk: Desk, call: Reader) -> Listing:
    """获取指定状态的所有商品: without end, so what is beyond the first thousands is sent page by page, the newest first in each state."""
    states = call.choice("status", STATES, STATES[0])
    call.check()
    return await Listing.begun("products_info", _pages(desk, states))


async def set_status(desk: Desk, call: Reader) -> Answer:
    """商品上下架: 0 takes off sale, 1 puts on sale."""
    identity = _product_id(call)
    rpc = call.choice("status", {0: "TakeProductOffSale", 1: "PutProductOnSale"})
    call.check()
    try:
        await desk.ask(rpc, {"product_id": identity}, PATHS)
    except Declined as refusal:
        never = refusal.reason == "WRONG_STATE" and rpc == "TakeProductOffSale"
        if not never or (await _product(desk, identity))["state"] != DRAFT:
            raise
    return {}


async def delete(desk: Desk, call: Reader) -> Answer:
    """删除商品: one on sale is taken off first, which the house wants."""
    identity = _product_id(call)
    async for _ in attempts():
        found = await _product(desk, identity)
        if found["state"] == "listed":
            await desk.ask("TakeProductOffSale", {"product_id": identity})
        result = (await desk.ask("BulkDelete", {"items": [{"product_id": identity}]}))["results"][0]
        if result["outcome"] == "deleted":
            return {}
        if result["outcome"] == "unchanged":
            raise _missing(identity)
        if result["problems"][0]["reason"] != "WRONG_STATE":
            check_item(result, PATHS)
    raise Declined("WRONG_STATE", "product_id: the product is put on sale again and again; try again")


async def add_stock(desk: Desk, call: Reader) -> Answer:
    """增加库存."""
    return await _stock(desk, call, 1)


async def reduce_stock(desk: Desk, call: Reader) -> Answer:
    """减少库存: what is reserved for buyers stays."""
    return await _stock(desk, call, -1)


async def _stock(desk: Desk, call: Reader, sign: int) -> Answer:
    identity = _product_id(call)
    quantity = call.number("quantity", least=1, required="say how many")
    written = call.text("sku_info")
    call.check()
    sku_id = await _sku_id(desk, await _product(desk, identity), written)
    wanted = {"items": [{"sku_id": sku_id, "delta": sign * quantity}]}
    result = (await desk.ask("BulkUpdateStock", wanted))["results"][0]
    if not result["ok"]:
        raise Declined(result["reason"], f"{STOCK.get(result['field'], 'quantity')}: {result['message']}")
    return {}


async def _sku_id(desk: Desk, found: Answer, written: str) -> str:
    """The SKU of a product that ``id1:vid1;id2:vid2`` names, in whatever order."""
    offered = (await desk.category(found["category_id"])).skus
    values: dict[str, str] = {}
    for axis, value in pairs(written):
        name = offered.name(axis) or ""
        values[name] = offered.value(name, value) or ""
    wanted = [values.get(axis) for axis in found["axes"]]
    sku = next((sku["sku_id"] for sku in found["skus"] if sku["values"] == wanted), None)
    if sku is None or len(values) != len(found["axes"]):
        message = f"sku_info: product {found['product_id']} has no SKU {written!r}; get shows its sku_list"
        raise Declined("NOT_FOUND", message)
    return str(sku)


async def _same(desk: Desk, call: Reader) -> Answer | None:
    """The product of the same name that one of the product codes belongs to."""
    code = next((code for row in call.children("sku_list") if (code := row.text("product_code"))), "")
    name = call.child("product_base").text("name")
    call.check()
    found = (await desk.ask("ListProducts", {"merchant_sku": code}))["products"] if code else []
    return found[0] if found and found[0]["name"] == name else None


async def _written(desk: Desk, call: Reader, found: Answer | None) -> str:
    """Write what ``call`` says over ``found``, or as a new product; its id."""
    category = category_id(call, found)
    try:
        offered = await desk.category(category)
    except Declined as refusal:
        if refusal.reason != "NOT_FOUND":
            raise
        message = f"product_base.category_id: there is no category {category}; take a leaf of /merchant/category/getsub"
        raise Declined("INVALID_ARGUMENT", message) from refusal
    item = product_input(call, category, offered, found)
    if found is None:
        item["external_id"] = f"wx_{secrets.token_hex(12)}"
    else:
        item |= {"product_id": found["product_id"], "etag": found["etag"]}
    result = (await desk.ask("BulkUpsertProducts", {"items": [item]}, PATHS))["results"][0]
    check_item(result, PATHS)
    return str(result["product_id"])


async def _product(desk: Desk, identity: str) -> Answer:
    """A product of the caller's shop that is not deleted; a listed one of another shop is seen by everybody, but is not the caller's."""
    found: Answer = (await desk.ask("GetProduct", {"product_id": identity}))["product"]
    own = any("on_hand" in sku for sku in found["skus"])
    if found["state"] == "deleted" or not own:
        raise _missing(identity)
    return found


async def _pages(desk: Desk, states: tuple[str, ...]) -> AsyncIterator[list[Answer]]:
    for state in states:
        wanted = {"page_size": PAGE, **({"state": state} if state else {})}
        async for page in desk.pages("ListProducts", "products", wanted):
            shown = []
            for found in page:
                offered = await desk.category(found["category_id"])
                shown.append({**product(found, offered), "status": STATUS[found["state"]]})
            yield shown


def _product_id(call: Reader) -> str:
    found = call.text("product_id", required="say which product")
    call.check()
    return found


def _missing(identity: str) -> Declined:
    return Declined("NOT_FOUND", f"product_id: the shop has no product {identity}")
