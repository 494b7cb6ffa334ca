"""Freight templates (邮费模板), §3 of the 微信商铺API手册 V1.15: its keys are CamelCase, its carrier classes numbers."""

from collections.abc import Mapping
from typing import Any, Final

from services.gateway.facade.answers import Declined, Paths, paths
from services.gateway.facade.desk import Desk, attempts
from services.gateway.facade.reader import INT32, Reader

Answer = dict[str, Any]
CLASSES: Final = {10000027: "post", 10000028: "express", 10000029: "ems"}
"""快递列表 (§1.1.5): 平邮, 快递, EMS."""
NUMBERS: Final = {name: number for number, name in CLASSES.items()}
PAYERS: Final = {0: "buyer", 1: "seller"}
VALUATIONS: Final = {0: "piece", 1: "weight", 2: "volume"}
RULES: Final = (
    ("start_units", "StartStandards"),
    ("start_fee", "StartFees"),
    ("step_units", "AddStandards"),
    ("step_fee", "AddFees"),
)
PLACE: Final = (("country", "DestCountry"), ("province", "DestProvince"), ("city", "DestCity"))
SDK_AGENT: Final = "python-requests/"
"""How wechatpy, whose express.get_all reads another key, calls itself."""

_T = "delivery_template."
_KEYS: Final = {**dict(RULES), **dict(PLACE)}


def _custom(found: Any) -> str:
    return f"{_T}TopFee{found[1]}.Custom{found[2]}.{_KEYS.get(found[3], found[3])}".rstrip(".")


PATHS: Final[Paths] = paths(
    (r"^name$", _T + "Name"),
    (r"^payer$", _T + "Assumer"),
    (r"^valuation$", _T + "Valuation"),
    (r"^carriers(\[\d+\])\.carrier_class$", _T + r"TopFee\1.Type"),
    (
        r"^carriers(\[\d+\])\.default_rule\.?(\w*)$",
        lambda found: f"{_T}TopFee{found[1]}.Normal.{_KEYS.get(found[2], '')}".rstrip("."),
    ),
    (r"^carriers(\[\d+\])\.destinations(\[\d+\])(?:\.rule)?\.?(\w*)$", _custom),
    (r"^carriers(\[\d+\])\.destinations", _T + r"TopFee\1.Custom"),
    (r"^carriers", _T + "TopFee"),
)


async def add(desk: Desk, call: Reader) -> Answer:
    """增加邮费模板."""
    made = await desk.ask("CreateFreightTemplate", _read(call), PATHS)
    return {"template_id": made["template"]["template_id"]}


async def delete(desk: Desk, call: Reader) -> Answer:
    """删除邮费模板. With ``delivery_template`` it is an update: wechat-api and co-wechat-api send theirs here."""
    if call.has("delivery_template"):
        return await update(desk, call)
    await desk.ask("DeleteFreightTemplate", {"template_id": _template_id(call)})
    return {}


async def update(desk: Desk, call: Reader) -> Answer:
    """修改邮费模板: the template as a whole. wechatpy's flat call may put its fields beside template_id."""
    identity = _template_id(call)
    if not call.has("delivery_template") and call.has("TopFee"):
        call = Reader({"delivery_template": call.values}, problems=call.problems)
    said = _read(call)
    async for _ in attempts():
        now = (await desk.ask("GetFreightTemplate", {"template_id": identity}))["template"]
        try:
            await desk.ask("UpdateFreightTemplate", {**said, "template_id": identity, "etag": now["etag"]}, PATHS)
        except Declined as refusal:
            if refusal.reason != "ETAG_MISMATCH":
                raise
        else:
            return {}
    raise Declined("VERSION_CONFLICT", "template_id: the template keeps changing; try again")


async def get(desk: Desk, call: Reader) -> Answer:
    """获取指定ID的邮费模板."""
    found = await desk.ask("GetFreightTemplate", {"template_id": _template_id(call)})
    return {"template_info": _shown(found["template"])}


async def get_all(desk: Desk, call: Reader) -> Answer:
    """获取所有邮费模板. wechatpy also finds them under the key that its sub-API reads; EasyWeChat 2 must not get a second key."""
    found = await desk.all("ListFreightTemplates", "templates", {"page_size": 200})
    shown = [_shown(template) for template in found]
    answer: Answer = {"templates_info": shown}
    if call.text("user-agent").startswith(SDK_AGENT):
        answer["template_info"] = shown
    return answer


def _template_id(call: Reader) -> int:
    found = call.number("template_id", least=1, most=INT32, required="say which template")
    call.check()
    return found


def _read(call: Reader) -> Answer:
    """delivery_template as the catalog takes it. Raises Declined naming the fields."""
    said = call.child("delivery_template", required="give Name, Assumer, Valuation and TopFee")
    wanted = {
        "name": said.text("Name", required="give the template a name"),
        "payer": said.choice("Assumer", PAYERS, PAYERS[0]),
        "valuation": said.choice("Valuation", VALUATIONS, VALUATIONS[0]),
        "carriers": [_carrier(row) for row in said.children("TopFee")],
    }
    call.check()
    return wanted


def _carrier(row: Reader) -> Answer:
    return {
        "carrier_class": row.choice("Type", CLASSES),
        "default_rule": _rule(row.child("Normal", required="give the rule where no Custom one fits")),
        "destinations": [
            {**{name: place.text(wire) for name, wire in PLACE}, "rule": _rule(place)}
            for place in row.children("Custom")
        ],
    }


def _rule(row: Reader) -> dict[str, int]:
    return {name: row.number(wire, 0) for name, wire in RULES}


def _shown(template: Mapping[str, Any]) -> Answer:
    numbers = {name: number for number, name in VALUATIONS.items()}
    return {
        "Id": template["template_id"],
        "Name": template["name"],
        "Assumer": int(template["payer"] == PAYERS[1]),
        "Valuation": numbers[template["valuation"]],
        "TopFee": [
            {
                "Type": NUMBERS[carrier["carrier_class"]],
                "Normal": _rule_shown(carrier["default_rule"]),
                "Custom": [
                    {**_rule_shown(place["rule"]), **{wire: place[name] for name, wire in PLACE}}
                    for place in carrier["destinations"]
                ],
            }
            for carrier in template["carriers"]
        ],
    }


def _rule_shown(rule: Mapping[str, int]) -> dict[str, int]:
    return {wire: rule[name] for name, wire in RULES}
