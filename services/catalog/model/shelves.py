"""Groups (分组) and shelves (货架): the five controls of the 2014 shelf editor (微信商铺API手册 V1.15 §5) with their limits as presets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.chassis.errors import Refusal, Violation
from services.chassis.texts import has_control


@dataclass(frozen=True, slots=True)
class Preset:
    """What one control (控件) allows: how many groups, whether each has a picture, a product count, a background, company."""

    groups: int
    pictures: bool = False
    counted: bool = False
    background: bool = False
    alone: bool = False


PRESETS: Final[Mapping[str, Preset]] = {
    "products": Preset(groups=1, counted=True),
    "group_names": Preset(groups=4),
    "group_picture": Preset(groups=1, pictures=True),
    "group_pictures": Preset(groups=3, pictures=True),
    "background": Preset(groups=20, background=True, alone=True),
}
"""Kinds in the order of their 2014 ``eid`` 1 to 5. The manual gives control 5 no number of groups; 20 keeps it readable."""
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def check(
    name: str, slug: str, modules: list[Mapping[str, Any]], known_groups: set[int], most: Mapping[str, int]
) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field of a shelf draft.

    ``modules``: [{kind, groups: [{group_id, image}], count, background}]; ``known_groups``: the shop's; ``most``: limits ``modules``,
    ``count`` and ``name``.
    """
    found: list[Violation] = []
    if not 0 < len(name) <= most["name"] or has_control(name):
        found.append(
            Violation("name", f"give the shelf a name of at most {most['name']} characters, none of them control")
        )
    if slug and not _SLUG.fullmatch(slug):
        found.append(Violation("slug", "use up to 64 lower-case letters, digits and hyphens"))
    if not 0 < len(modules) <= most["modules"]:
        found.append(Violation("modules", f"a shelf has between 1 and {most['modules']} modules"))
    for number, module in enumerate(modules):
        found += _module(f"modules[{number}]", module, known_groups, most["count"])
    if len(modules) > 1 and any(module["kind"] in PRESETS and PRESETS[module["kind"]].alone for module in modules):
        found.append(Violation("modules", "a background module stands alone on its shelf"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def _module(path: str, module: Mapping[str, Any], known_groups: set[int], most_products: int) -> list[Violation]:
    preset = PRESETS.get(module["kind"])
    if preset is None:
        return [Violation(f"{path}.kind", f"must be one of {', '.join(PRESETS)}")]
    found: list[Violation] = []
    if not 0 < len(module["groups"]) <= preset.groups:
        found.append(Violation(f"{path}.groups", f"{module['kind']} shows between 1 and {preset.groups} groups"))
    for number, group in enumerate(module["groups"]):
        if group["group_id"] not in known_groups:
            found.append(Violation(f"{path}.groups[{number}].group_id", f"the shop has no group {group['group_id']}"))
        if preset.pictures != bool(group["image"]):
            found.append(
                Violation(
                    f"{path}.groups[{number}].image",
                    "give a picture" if preset.pictures else f"{module['kind']} has no pictures",
                )
            )
    if preset.counted != (0 < module["count"] <= most_products) or (module["count"] and not preset.counted):
        wanted = f"between 1 and {most_products}" if preset.counted else "only products modules have a count"
        found.append(Violation(f"{path}.count", wanted))
    if preset.background != bool(module["background"]):
        found.append(
            Violation(
                f"{path}.background", "give a picture" if preset.background else "only background modules have one"
            )
        )
    return found


def added(present: list[str], more: list[str], most: int) -> list[str]:
    """A group's products after adding ``more`` at the end, each once. Raises Refusal INVALID_ARGUMENT above ``most``."""
    together = list(dict.fromkeys([*present, *more]))
    if len(together) > most:
        raise Refusal(
            "INVALID_ARGUMENT",
            f"a group has at most {most} products",
            (Violation("product_ids", f"at most {most} in a group"),),
        )
    return together
