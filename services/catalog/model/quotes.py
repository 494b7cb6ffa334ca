"""What carrying the lines of one shop costs: free and flat lines, fees by carrier class, and templates over all their lines together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.catalog.model import freight
from services.catalog.model.freight import CARRIERS, Limits, Rule, Template
from services.chassis import money
from services.chassis.errors import Refusal, Violation
from services.chassis.regions import Place


@dataclass(frozen=True, slots=True)
class Load:
    """One line to be carried. ``number``: its place in the request; ``freight``: of its product; weight (g) and volume (cm³) of one piece."""

    number: int
    shop_id: str
    freight: Mapping[str, Any]
    quantity: int
    weight_g: int
    volume_cm3: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an offer: one line, or all lines of one template. ``shares``: minor units of each of ``lines``; they add up to ``fee``."""

    basis: str
    fee: int
    lines: tuple[int, ...]
    shares: tuple[int, ...]
    template: Template | None = None
    units: int = 0
    reach: str = ""
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What one carrier class takes for all lines of a shop, in minor units."""

    carrier: str
    parts: tuple[Part, ...]

    @property
    def fee(self) -> int:
        """The whole."""
        return sum(part.fee for part in self.parts)

    @property
    def shares(self) -> dict[int, int]:
        """Line number → its part of the whole."""
        return {number: share for part in self.parts for number, share in zip(part.lines, part.shares, strict=True)}


def by_shop(loads: Iterable[Load]) -> dict[str, list[Load]]:
    """The loads of each shop, shops in the order of their first line."""
    found: dict[str, list[Load]] = {}
    for load in loads:
        found.setdefault(load.shop_id, []).append(load)
    return found


def of_shop(templates: Iterable[Template], shop_id: str) -> dict[int, Template]:
    """The templates of this shop by their number."""
    return {found["template_id"]: found for found in templates if found["shop_id"] == shop_id}


def offers(loads: Sequence[Load], templates: Mapping[int, Template], place: Place, most: Limits) -> list[Offer]:
    """What each carrier class that carries all ``loads`` of one shop takes, in the order of ``CARRIERS``.

    ``templates``: those of the shop by id. Units of all lines of one template are summed before its rule is applied. Raises Refusal
    INVALID_ARGUMENT naming the lines whose freight passes every bound.
    """
    return [found for carrier in CARRIERS if (found := _offer(carrier, loads, templates, place, most)) is not None]


def _offer(
    carrier: str, loads: Sequence[Load], templates: Mapping[int, Template], place: Place, most: Limits
) -> Offer | None:
    parts: list[Part] = []
    of_template: dict[int, list[Load]] = {}
    for load in loads:
        kind = load.freight["kind"]
        if kind == "template":
            of_template.setdefault(load.freight["template_id"], []).append(load)
            continue
        fee = _line_fee(load.freight, carrier)
        if fee is None:
            return None
        basis = {"free": "free", "flat": "flat"}.get(kind, "carrier_fee")
        parts.append(Part(basis, fee, (load.number,), (fee,)))
    for template_id, carried in of_template.items():
        part = _template_part(templates.get(template_id), carrier, carried, place, most)
        if part is None:
            return None
        parts.append(part)
    return Offer(carrier, tuple(sorted(parts, key=lambda part: part.lines)))


def _line_fee(said: Mapping[str, Any], carrier: str) -> int | None:
    """Minor units for a line by itself, whatever its quantity; None where the class does not carry it."""
    if said["kind"] != "carriers":
        return int(said["fee"])
    return {found["carrier_class"]: int(found["fee"]) for found in said["carrier_fees"]}.get(carrier)


def _template_part(
    template: Template | None, carrier: str, loads: Sequence[Load], place: Place, most: Limits
) -> Part | None:
    rules = {found["carrier_class"]: found for found in template["carriers"]} if template else {}
    if template is None or carrier not in rules:
        return None
    units = [freight.units_of(template["valuation"], load.quantity, load.weight_g, load.volume_cm3) for load in loads]
    rule, reach = freight.rule_for(rules[carrier], place)
    fee = freight.cost(rule, sum(units)) if template["payer"] == "buyer" else 0
    if sum(units) > most.quoted_units or fee > most.quoted_fee:
        message = f"the freight would pass {most.quoted_fee} minor units; order fewer"
        found = tuple(Violation(f"lines[{load.number}].quantity", message) for load in loads)
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {message}", found)
    numbers = tuple(load.number for load in loads)
    return Part("template", fee, numbers, tuple(money.split(fee, units)), template, sum(units), reach, rule)


def chosen(offered: Sequence[Offer], loads: Sequence[Load], wanted: str, path: str) -> Offer:
    """The offer of the class ``wanted``, or without one the first offer (快递 before EMS before 平邮).

    Raises Refusal CONDITION_UNMET naming ``path`` when the class does not carry all loads, or the lines when no class does.
    """
    if not offered:
        message = "no carrier class carries all lines of this shop together; order them apart"
        found = tuple(Violation(f"lines[{load.number}].product_id", message) for load in loads)
        raise Refusal("CONDITION_UNMET", f"{found[0].field}: {message}", found)
    offer = next((offer for offer in offered if wanted in ("", offer.carrier)), None)
    if offer is None:
        known = ", ".join(offer.carrier for offer in offered)
        message = f"{wanted} does not carry all lines of this shop; choose one of: {known}"
        raise Refusal("CONDITION_UNMET", f"{path}: {message}", (Violation(path, message),))
    return offer
