"""Shelves (货架): the five controls of the 2014 shelf editor (微信商铺API手册 V1.15 §5) with their limits as presets, and free modules."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation
from services.chassis.texts import has_control

Module = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preset:
    """What one kind of module allows: how many groups, whether each has a picture, whether it counts products, what else it says."""

    groups: int = 0
    pictures: bool = False
    counted: bool = False
    alone: bool = False
    says: frozenset[str] = frozenset()
    """Fields of its own; those in ``NEEDED`` must be said."""


PRESETS: Final[Mapping[str, Preset]] = {
    "products": Preset(groups=1, counted=True),
    "group_names": Preset(groups=4),
    "group_picture": Preset(groups=1, pictures=True),
    "group_pictures": Preset(groups=3, pictures=True),
    "background": Preset(groups=20, alone=True, says=frozenset({"background"})),
    "grid": Preset(groups=1, says=frozenset({"columns", "product_ids"})),
    "rich_text": Preset(says=frozenset({"html"})),
    "countdown": Preset(says=frozenset({"title", "end_time", "ended_text"})),
    "banner": Preset(says=frozenset({"image", "title", "link"})),
}
"""The first five in the order of their 2014 ``eid`` 1 to 5: the first four may stand together in any number and order, the fifth stands
alone. The manual gives it no number of groups; 20 keeps it readable. The others are ours, and go with the first four."""
MOST_GROUPS: Final = max(preset.groups for preset in PRESETS.values())
OWN_FIELDS: Final = ("background", "columns", "product_ids", "html", "title", "end_time", "ended_text", "image", "link")
NEEDED: Final[Mapping[str, str]] = {
    "background": "give a picture",
    "html": "give a text; what could run in a browser is taken out of it",
    "end_time": "say when the countdown ends",
    "image": "give a picture",
}
COLUMNS: Final = 4
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Known:
    """What of the shop a draft may name."""

    groups: frozenset[int]
    products: frozenset[str] = frozenset()


def check(name: str, slug: str, banner: str, modules: Sequence[Module], known: Known, most: Mapping[str, int]) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field of a shelf draft.

    ``modules``: [{kind, groups: [{group_id, image}], count} and OWN_FIELDS]; ``most``: limits ``modules``, ``count``, ``name``,
    ``html`` (characters of all of them), ``url``.
    """
    found: list[Violation] = []
    if not 0 < len(name) <= most["name"] or has_control(name):
        found.append(
            Violation("name", f"give the shelf a name of at most {most['name']} characters, none of them control")
        )
    if slug and not _SLUG.fullmatch(slug):
        found.append(Violation("slug", "use up to 64 lower-case letters, digits and hyphens"))
    if banner:
        found += _url("banner", banner, most["url"])
    if not 0 < len(modules) <= most["modules"]:
        found.append(Violation("modules", f"a shelf has between 1 and {most['modules']} modules"))
    else:
        for number, module in enumerate(modules):
            found += _module(f"modules[{number}]", module, known, most)
    if len(modules) > 1 and any(module["kind"] in PRESETS and PRESETS[module["kind"]].alone for module in modules):
        found.append(Violation("modules", "a background module stands alone on its shelf"))
    if sum(len(module.get("html", "")) for module in modules) > most["html"]:
        found.append(Violation("modules", f"the texts of a shelf have at most {most['html']} characters together"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def _module(path: str, module: Module, known: Known, most: Mapping[str, int]) -> list[Violation]:
    preset = PRESETS.get(module["kind"])
    if preset is None:
        return [Violation(f"{path}.kind", f"must be one of {', '.join(PRESETS)}")]
    found = _groups(path, module, preset, known)
    counted = preset.counted or (module["kind"] == "grid" and bool(module["groups"]))
    if counted and not 0 < module["count"] <= most["count"]:
        found.append(Violation(f"{path}.count", f"between 1 and {most['count']}"))
    if not counted and module["count"]:
        found.append(Violation(f"{path}.count", "only products and grids of a group have a count"))
    for name in OWN_FIELDS:
        said = bool(module.get(name))
        if said and name not in preset.says:
            allowed = " and ".join(kind for kind, other in PRESETS.items() if name in other.says)
            found.append(Violation(f"{path}.{name}", f"only {allowed} modules have one"))
        if not said and name in preset.says and name in NEEDED:
            found.append(Violation(f"{path}.{name}", NEEDED[name]))
    return found + _values(path, module, known, most)


def _groups(path: str, module: Module, preset: Preset, known: Known) -> list[Violation]:
    found: list[Violation] = []
    either = module["kind"] == "grid"
    least = 0 if either or not preset.groups else 1
    if not least <= len(module["groups"]) <= preset.groups:
        shows = f"shows between 1 and {preset.groups} groups" if preset.groups else "shows no groups"
        found.append(Violation(f"{path}.groups", f"{module['kind']} {shows}"))
    if either and bool(module["groups"]) == bool(module.get("product_ids")):
        found.append(Violation(f"{path}.groups", "give a grid a group and a count, or product_ids, one of the two"))
    for number, group in enumerate(module["groups"]):
        place = f"{path}.groups[{number}]"
        if group["group_id"] not in known.groups:
            found.append(Violation(f"{place}.group_id", f"the shop has no group {group['group_id']}"))
        if preset.pictures != bool(group["image"]):
            fix = "give a picture" if preset.pictures else f"{module['kind']} has no pictures"
            found.append(Violation(f"{place}.image", fix))
    return found


def _values(path: str, module: Module, known: Known, most: Mapping[str, int]) -> list[Violation]:
    """Whether what is said can be shown."""
    found: list[Violation] = []
    if module["kind"] == "grid" and not 1 <= module.get("columns", 0) <= COLUMNS:
        found.append(Violation(f"{path}.columns", f"between 1 and {COLUMNS}"))
    named = module.get("product_ids", ())
    if len(named) > most["count"]:
        found.append(Violation(f"{path}.product_ids", f"at most {most['count']}"))
    for number, product_id in enumerate(named):
        if product_id not in known.products:
            found.append(Violation(f"{path}.product_ids[{number}]", "the shop has no such product"))
    if module["kind"] == "countdown" and not module.get("title"):
        found.append(Violation(f"{path}.title", "say what the countdown is for"))
    for name in ("title", "ended_text"):
        text = module.get(name, "")
        if len(text) > most["name"] or has_control(text):
            message = f"at most {most['name']} characters, none of them control"
            found.append(Violation(f"{path}.{name}", message))
    pictures = {f"groups[{number}].image": group["image"] for number, group in enumerate(module["groups"])}
    pictures |= {name: module.get(name, "") for name in ("background", "image")}
    for name, url in pictures.items():
        found += _url(f"{path}.{name}", url, most["url"])
    return found + _link(f"{path}.link", module.get("link", ""), most["url"])


def _url(path: str, url: str, longest: int) -> list[Violation]:
    if not url or (url.startswith(("https://", "http://")) and _is_plain(url) and len(url) <= longest):
        return []
    return [Violation(path, f"give an http or https URL without spaces, of at most {longest} characters")]


def _link(path: str, link: str, longest: int) -> list[Violation]:
    """A path of this gateway is one too; two slashes, of either kind, lead to another host."""
    here = link.startswith("/") and not link.startswith(("//", "/\\")) and _is_plain(link) and len(link) <= longest
    return [] if here else _url(path, link, longest)


def _is_plain(url: str) -> bool:
    return not has_control(url) and not any(letter.isspace() for letter in url)


# ----------------------------------------------------------------------------------------------------------------- publishing


def decide_publish(shelf: Mapping[str, Any], now: datetime) -> Change:
    """The time of a publish that waited has come: the version it names is what everybody sees."""
    schedule = shelf.get("schedule")
    if schedule is None:
        return Change(due=None)
    return Change(set={"published_version": schedule["version"], "changed_at": now}, unset=("schedule",), due=None)


# ------------------------------------------------------------------------------------------------------------------- showing


def shown_of(module: Module, preview: int) -> int:
    """How many products a module shows of each of its groups: its count, or a preview."""
    return int(module["count"]) or preview


def page_end(modules: Sequence[Module], start: int, preview: int, most: int) -> int:
    """Where the page that begins with module ``start`` ends: whole modules, at least one, until they may show ``most`` products."""
    total, end = 0, start
    while end < len(modules):
        module = modules[end]
        total += shown_of(module, preview) * len(module["groups"]) + len(module.get("product_ids", ()))
        if end > start and total > most:
            break
        end += 1
    return end


def group_ids(modules: Iterable[Module]) -> list[int]:
    """The groups that modules name, each once."""
    return list(dict.fromkeys(group["group_id"] for module in modules for group in module["groups"]))
