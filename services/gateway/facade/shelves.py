"""Shelves (货架), §5 of the 微信商铺API手册 V1.15: five controls (控件), requests say shelf_data where answers say shelf_info."""

from collections.abc import Mapping
from typing import Any, Final

from services.gateway.facade.answers import Declined, Paths, paths
from services.gateway.facade.desk import Desk, attempts
from services.gateway.facade.reader import INT32, Reader

Answer = dict[str, Any]
PAGE: Final = 50
"""The most shelves that a page of the house holds."""
KINDS: Final = {
    1: "products",
    2: "group_names",
    3: "group_picture",
    4: "group_pictures",
    5: "background",
}
EIDS: Final = {name: number for number, name in KINDS.items()}
ONE_GROUP: Final = frozenset({1, 3})
SHOWN: Final = {0: "UnpublishShelf", 1: "PublishShelf"}


def _module(found: Any) -> str:
    at, rest = f"shelf_data.module_infos{found[1]}", found[2]
    if rest.startswith(".groups"):
        return f"{at}.group_infos{rest.replace('.image', '.img')}"
    names = {".count": ".group_info.filter.count", ".background": ".group_infos.img_background", ".kind": ".eid"}
    return f"{at}{names.get(rest, rest)}"


PATHS: Final[Paths] = paths(
    (r"^name$", "shelf_name"),
    (r"^banner$", "shelf_banner"),
    (r"^modules(\[\d+\])(.*)$", _module),
    (r"^modules$", "shelf_data.module_infos"),
)


async def add(desk: Desk, call: Reader) -> Answer:
    """增加货架, and everybody may see it. With ``shelf_id`` it is a change: wechatpy's shelf.update sends those here."""
    if call.has("shelf_id"):
        return await modify(desk, call)
    shelf = (await desk.ask("CreateShelf", {**_read(call), "publish": True}, PATHS))["shelf"]
    return {"shelf_id": shelf["shelf_id"]}


async def delete(desk: Desk, call: Reader) -> Answer:
    """删除货架."""
    await desk.ask("DeleteShelf", {"shelf_id": _shelf_id(call)})
    return {}


async def modify(desk: Desk, call: Reader) -> Answer:
    """修改货架: what everybody sees of it changes too, unless it was taken down."""
    identity = _shelf_id(call)
    async for _ in attempts():
        now = (await desk.ask("GetShelf", {"shelf_id": identity}))["shelf"]
        read = {"shelf_id": identity, "etag": now["etag"], "publish": bool(now["published_version"])}
        try:
            await desk.ask("UpdateShelf", {**read, **_read(call, now)}, PATHS)
        except Declined as refusal:
            if refusal.reason != "ETAG_MISMATCH":
                raise
        else:
            return {}
    raise Declined("VERSION_CONFLICT", "shelf_id: the shelf keeps changing; try again")


async def get_all(desk: Desk, _call: Reader) -> Answer:
    """获取所有货架."""
    found = await desk.all("ListShelves", "shelves", {"page_size": PAGE})
    return {"shelves": [_shown(shelf) for shelf in found]}


async def get(desk: Desk, call: Reader) -> Answer:
    """根据货架ID获取货架信息: its four keys stand beside errcode."""
    return _shown((await desk.ask("GetShelf", {"shelf_id": _shelf_id(call)}))["shelf"])


async def set_status(desk: Desk, call: Reader) -> Answer:
    """货架上下架 (of a manual before V1.15): 1 shows what it is now, 0 takes it down. Answers where everybody sees it."""
    identity = _shelf_id(call)
    rpc = call.choice("status", SHOWN)
    call.check()
    shelf = (await desk.ask(rpc, {"shelf_id": identity}))["shelf"]
    return {"shelf_url": call.text("base-url") + shelf["public_path"]}


def _shelf_id(call: Reader) -> int:
    found = call.number("shelf_id", least=1, most=INT32, required="say which shelf")
    call.check()
    return found


def _read(call: Reader, now: Mapping[str, Any] | None = None) -> Answer:
    """A shelf as the catalog takes it; what is left out stays as it is ``now``. Raises Declined naming the fields."""
    now = now or {}
    data = call.child("shelf_data", required="" if now else "give its module_infos")
    wanted = {
        "name": call.text("shelf_name", now.get("name", ""), required="give the shelf a name"),
        "banner": call.text("shelf_banner", now.get("banner", "")),
        "modules": [_module_of(row) for row in data.children("module_infos")]
        if data.has("module_infos")
        else now.get("modules", []),
    }
    call.check()
    return wanted


def _module_of(row: Reader) -> Answer:
    """One control, its kind by its shape where eid does not fit it: Senparc calls 5 a 4, EasyWeChat 2 counts places."""
    group = row.child("group_info")
    groups = row.child("group_infos")
    eid = _kind(row, group, groups)
    wanted: Answer = {"kind": KINDS[eid]}
    if eid in ONE_GROUP:
        wanted["groups"] = [_group_of(group)]
    else:
        wanted["groups"] = [_group_of(each) for each in groups.children("groups")]
    if eid == 1:
        shown = group.child("filter")
        wanted["count"] = shown.number("count", least=1, most=INT32, required="say how many products")
    if eid == 5:
        wanted["background"] = groups.text("img_background")
    return wanted


def _kind(row: Reader, group: Reader, groups: Reader) -> int:
    if row.has("group_info"):
        return 3 if group.has("img") and not group.has("filter") else 1
    if not row.has("group_infos"):
        row.wrong("group_info", "a control has a group_info or group_infos")
        return 2
    if groups.has("img_background"):
        return 5
    pictures = any(isinstance(each, Mapping) and each.get("img") for each in groups.items("groups"))
    return 4 if pictures else 2


def _group_of(row: Reader) -> Answer:
    return {
        "group_id": row.number("group_id", least=1, most=INT32, required="say which group"),
        "image": row.text("img"),
    }


def _shown(shelf: Mapping[str, Any]) -> Answer:
    """Controls that the old API has no number for (grid, rich_text, countdown, banner) are left out."""
    modules = [_module_shown(module) for module in shelf["modules"] if module["kind"] in EIDS]
    return {
        "shelf_info": {"module_infos": modules},
        "shelf_banner": shelf["banner"],
        "shelf_name": shelf["name"],
        "shelf_id": shelf["shelf_id"],
    }


def _module_shown(module: Mapping[str, Any]) -> Answer:
    eid = EIDS[module["kind"]]
    groups = [
        {"group_id": each["group_id"], **({"img": each["image"]} if eid in (3, 4) else {})} for each in module["groups"]
    ]
    if eid in ONE_GROUP:
        more = {"filter": {"count": module["count"]}} if eid == 1 else {}
        return {"eid": eid, "group_info": {**groups[0], **more}}
    background = {"img_background": module["background"]} if eid == 5 else {}
    return {"eid": eid, "group_infos": {"groups": groups, **background}}
