"""Freight of a product, and freight templates (邮费模板): what they hold, what must be true of them, and what a rule costs. Whole numbers only.

Shape and reading follow the 微信商铺API手册 V1.15 §3: for each carrier class a default rule and rules for destinations; the first
``start_units`` cost ``start_fee``, each further ``step_units`` or part of them ``step_fee``. That a part of a step counts whole, and
that the most specific destination wins, the manual does not say; both are ours (docs/decisions/0010-freight.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.chassis.errors import Refusal, Violation
from services.chassis.regions import Place, Regions
from services.chassis.texts import has_control

Template = Mapping[str, Any]
"""template_id, name, payer, valuation, carriers[{carrier_class, default_rule, destinations[{province, city, rule}]}]."""
Rule = Mapping[str, int]
"""start_units, start_fee, step_units, step_fee: pieces, grams or cm³; minor units."""

CARRIERS: Final = ("express", "ems", "post")
"""快递 (10000028), EMS (10000029), 平邮 (10000027): in the order in which one is taken where nobody chose."""
PAYERS: Final = ("buyer", "seller")
PIECE: Final = "piece"
MEASURES: Final[Mapping[str, str]] = {"weight": "weight_g", "volume": "volume_cm3"}
"""What a SKU must say about itself for a template of this valuation."""
VALUATIONS: Final = (PIECE, *MEASURES)
ACTIVE: Final = "active"
DELETED: Final = "deleted"
USERS_NAMED: Final = 5
"""So many products that use a template are named when it cannot go."""


KINDS: Final = ("free", "flat", "carriers", "template")


@dataclass(frozen=True, slots=True)
class Freight:
    """Who pays for carrying a product: the seller (``free``, 包邮), or the buyer.

    ``flat``: ``fee`` minor units a line; ``carriers``: minor units a line by carrier class; ``template``: by a template of the shop.
    """

    kind: str = "free"
    fee: int = 0
    carrier_fees: tuple[tuple[str, int], ...] = ()
    template_id: int = 0

    @property
    def stored(self) -> dict[str, Any]:
        """As a listing holds it: what its kind does not need is left out, so those of the first two kinds are as they ever were."""
        kept: dict[str, Any] = {"kind": self.kind, "fee": self.fee}
        if self.carrier_fees:
            kept["carrier_fees"] = [{"carrier_class": name, "fee": fee} for name, fee in sorted(self.carrier_fees)]
        if self.template_id:
            kept["template_id"] = self.template_id
        return kept

    def wrong(self, most: int) -> list[tuple[str, str]]:
        """(path, how to mend it) of everything wrong: each kind says what it needs and nothing else. ``most``: of a fee, in minor units.

        Whether the shop has the template is seen when the product is written.
        """
        given = (
            ("flat", "fee", bool(self.fee), f"must lie between 0 and {most} minor units"),
            (
                "carriers",
                "carrier_fees",
                bool(self.carrier_fees),
                f"give the fee of at least one of {', '.join(CARRIERS)}",
            ),
            ("template", "template_id", bool(self.template_id), "name a template of GET /v1/freight-templates"),
        )
        found = [] if self.kind in KINDS else [("freight.kind", f"must be one of {', '.join(KINDS)}")]
        for kind, name, is_given, fix in given:
            if kind != self.kind and is_given:
                found.append((f"freight.{name}", f"only freight of the kind {kind} has it; leave it out"))
            elif kind == self.kind and not self._fills(name, most):
                found.append((f"freight.{name}", fix))
        return found + self._wrong_fees(most)

    def _fills(self, name: str, most: int) -> bool:
        if name == "fee":
            return 0 <= self.fee <= most
        return bool(self.carrier_fees) if name == "carrier_fees" else self.template_id > 0

    def _wrong_fees(self, most: int) -> list[tuple[str, str]]:
        named = [name for name, _ in self.carrier_fees]
        found = []
        for number, (name, fee) in enumerate(self.carrier_fees):
            path = f"freight.carrier_fees[{number}]"
            if name not in CARRIERS or named.index(name) != number:
                found.append((f"{path}.carrier_class", f"name each of {', '.join(CARRIERS)} at most once"))
            if not 0 <= fee <= most:
                found.append((f"{path}.fee", f"must lie between 0 and {most} minor units"))
        return found


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a template may hold, and how much a quote may come to; the values are policy."""

    templates: int
    name: int
    destinations: int
    units: int
    fee: int
    quoted_units: int
    quoted_fee: int


def template_key(shop_id: str, template_id: int) -> str:
    """The id of a template's document: its number is unique in its shop only. Products that use it carry the same key."""
    return f"{shop_id}:{template_id}"


# ---------------------------------------------------------------------------------------------------------------- what it holds


def template(said: Mapping[str, Any], regions: Regions) -> dict[str, Any]:
    """What a merchant ``said`` of a template (name, payer, valuation, carriers), as it is stored.

    No payer is the buyer, no valuation pieces (the manual's default); a destination is always in the country of the list.
    """
    return {
        "name": said["name"].strip(),
        "payer": said["payer"] or "buyer",
        "valuation": said["valuation"] or PIECE,
        "carriers": [_stored(carrier, regions) for carrier in said["carriers"]],
    }


def check(said: Mapping[str, Any], most: Limits, regions: Regions) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field of a template by its path, such as ``carriers[1].destinations[0].city``."""
    found: list[Violation] = []
    name = said["name"].strip()
    if not 0 < len(name) <= most.name or has_control(name):
        found.append(
            Violation("name", f"give the template a name of at most {most.name} characters, none of them control")
        )
    for field, known in (("payer", PAYERS), ("valuation", VALUATIONS)):
        if said[field] not in ("", *known):  # a number that a newer proto knows
            found.append(Violation(field, f"must be one of {', '.join(known)}"))
    carriers: Sequence[Mapping[str, Any]] = said["carriers"]
    if not 0 < len(carriers) <= len(CARRIERS):
        found.append(Violation("carriers", f"give rules for between 1 and {len(CARRIERS)} carrier classes"))
    seen: set[str] = set()
    for number, carrier in enumerate(carriers):
        path = f"carriers[{number}]."
        if carrier["carrier_class"] not in CARRIERS:
            found.append(Violation(f"{path}carrier_class", f"must be one of {', '.join(CARRIERS)}"))
        elif carrier["carrier_class"] in seen:
            found.append(Violation(f"{path}carrier_class", f"{carrier['carrier_class']} has its rules already"))
        seen.add(carrier["carrier_class"])
        found += _rule(f"{path}default_rule", carrier.get("default_rule"), most)
        found += _destinations(path, carrier["destinations"], most, regions)
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def _destinations(
    path: str, destinations: Sequence[Mapping[str, Any]], most: Limits, regions: Regions
) -> list[Violation]:
    if len(destinations) > most.destinations:
        return [Violation(f"{path}destinations", f"at most {most.destinations} destinations a carrier class")]
    found: list[Violation] = []
    seen: dict[Place, int] = {}
    for number, destination in enumerate(destinations):
        where = f"{path}destinations[{number}]."
        place = Place(destination["province"], destination["city"])
        found += regions.wrong_country(where, destination["country"])
        found += regions.wrong(where, place)
        if (first := seen.setdefault(place, number)) != number:
            name = place.city or place.province or regions.country
            found.append(Violation(where.rstrip("."), f"{name} has its rule already in destinations[{first}]"))
        found += _rule(f"{where}rule", destination.get("rule"), most)
    return found


def _rule(path: str, rule: Rule | None, most: Limits) -> list[Violation]:
    if rule is None:
        return [Violation(path, "give start_units, start_fee, step_units and step_fee")]
    bounds = (
        ("start_units", 1, most.units),
        ("start_fee", 0, most.fee),
        ("step_units", 1, most.units),
        ("step_fee", 0, most.fee),
    )
    return [
        Violation(f"{path}.{name}", f"must lie between {least} and {highest}")
        for name, least, highest in bounds
        if not least <= rule[name] <= highest
    ]


def _stored(carrier: Mapping[str, Any], regions: Regions) -> dict[str, Any]:
    destinations = [{**destination, "country": regions.country} for destination in carrier["destinations"]]
    return {**carrier, "destinations": destinations}


def in_use(users: Iterable[Mapping[str, Any]], path: str, fix: str) -> Refusal | None:
    """The refusal that names the products which use a template, or None without any. ``users``: products {_id, listing.name}."""
    named = [f"{user['_id']} ({user['listing']['name']})" for user in users]
    if not named:
        return None
    shown = ", ".join(named[:USERS_NAMED]) + (" and more" if len(named) > USERS_NAMED else "")
    message = f"products use this template: {shown}; {fix}"
    info = {"product_ids": " ".join(user["_id"] for user in users)}
    return Refusal("CONDITION_UNMET", message, (Violation(path, message),), info=info)


# ---------------------------------------------------------------------------------------------------------------- what it costs


def cost(rule: Rule, units: int) -> int:
    """Minor units for ``units`` (≥ 0) under ``rule``. Nothing at all costs the first step too: there is a parcel."""
    beyond = max(0, units - rule["start_units"])
    steps = -(-beyond // rule["step_units"])
    return rule["start_fee"] + steps * rule["step_fee"]


def rule_for(carrier: Mapping[str, Any], place: Place) -> tuple[Rule, str]:
    """The rule that holds at ``place``, and how far it reaches: city before province before country before default."""
    rules = {(found["province"], found["city"]): found["rule"] for found in carrier["destinations"]}
    narrowing = (("city", (place.province, place.city)), ("province", (place.province, "")), ("country", ("", "")))
    for reach, key in narrowing:
        if key in rules and (reach == "country" or getattr(place, reach)):
            return rules[key], reach
    return carrier["default_rule"], "default"


def units_of(valuation: str, quantity: int, weight_g: int, volume_cm3: int) -> int:
    """What ``quantity`` of a SKU count for a template: pieces, grams or cm³. A SKU without its measure counts 0; see ``missing_measure``."""
    each = {"weight": weight_g, "volume": volume_cm3}.get(valuation, 1)
    return quantity * each


def missing_measure(valuation: str, weight_g: int, volume_cm3: int) -> str:
    """The field that a SKU must fill for a template of this valuation and has not (``weight_g``, ``volume_cm3``); else empty."""
    given = {"weight": weight_g, "volume": volume_cm3}.get(valuation, 1)
    return "" if given else MEASURES[valuation]
