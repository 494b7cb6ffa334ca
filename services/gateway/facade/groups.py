"""Groups (分组), §4 of the 微信商铺API手册 V1.15."""

from typing import Any, Final

from services.gateway.facade.answers import Declined, Paths, paths
from services.gateway.facade.desk import PAGE, Desk
from services.gateway.facade.reader import INT32, Reader

Answer = dict[str, Any]
PATHS: Final[Paths] = paths(
    (r"^name$", "group_detail.group_name"),
    (r"^product_ids", "group_detail.product_list"),
)
CHANGES: Final[Paths] = paths((r"^(add|remove)", "product"), (r"^name$", "group_name"))


async def add(desk: Desk, call: Reader) -> Answer:
    """增加分组."""
    detail = call.child("group_detail", required="give group_name and product_list")
    wanted = {
        "name": detail.text("group_name", required="give the group a name"),
        "product_ids": detail.texts("product_list"),
    }
    call.check()
    return {"group_id": (await desk.ask("CreateGroup", wanted, PATHS))["group"]["group_id"]}


async def delete(desk: Desk, call: Reader) -> Answer:
    """删除分组: its products stay."""
    await desk.ask("DeleteGroup", {"group_id": _group_id(call)})
    return {}


async def rename(desk: Desk, call: Reader) -> Answer:
    """修改分组属性."""
    name = call.text("group_name", required="give the group a name")
    await desk.ask("UpdateGroup", {"group_id": _group_id(call), "name": name}, CHANGES)
    return {}


async def change(desk: Desk, call: Reader) -> Answer:
    """修改分组商品: mod_action 1 adds, 0 takes out; all of it in one change, of a product named twice the last."""
    identity = _group_id(call)
    actions: dict[str, bool] = {}
    for row in call.children("product"):
        product = row.text("product_id", required="say which product")
        actions.pop(product, None)
        actions[product] = row.choice("mod_action", {0: False, 1: True})
    call.check()
    if not actions:
        raise Declined("INVALID_ARGUMENT", "product: give at least one {product_id, mod_action}")
    wanted = {
        "group_id": identity,
        "add": [product for product, comes in actions.items() if comes],
        "remove": [product for product, comes in actions.items() if not comes],
    }
    await desk.ask("ChangeGroupProducts", wanted, CHANGES)
    return {}


async def get_all(desk: Desk, _call: Reader) -> Answer:
    """获取所有分组: without their products."""
    found = await desk.all("ListGroups", "groups", {"page_size": PAGE})
    return {"groups_detail": [{"group_id": each["group_id"], "group_name": each["name"]} for each in found]}


async def get(desk: Desk, call: Reader) -> Answer:
    """根据分组ID获取分组信息."""
    found = await desk.ask("GetGroup", {"group_id": _group_id(call)})
    group = found["group"]
    detail = {"group_id": group["group_id"], "group_name": group["name"], "product_list": found["product_ids"]}
    return {"group_detail": detail}


def _group_id(call: Reader) -> int:
    found = call.number("group_id", least=1, most=INT32, required="say which group")
    call.check()
    return found
