"""Questions about regions and freight."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.catalog.model import quotes, stock
from services.catalog.model.freight import DELETED, template_key
from services.catalog.model.quotes import Offer, Part
from services.catalog.model.stock import Line
from services.catalog.queries import views
from services.catalog.store import SERVICE, Store, freight_limits, templates_of
from services.chassis import clock, policy, regions
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.chassis.regions import Place


def region_list() -> Document:
    """Every province with its cities."""
    known = regions.load()
    provinces = [{"name": name, "cities": list(known.cities(name))} for name in known.provinces]
    return {"country": known.country, "provinces": provinces}


def template(store: Store, shop_id: str, template_id: int) -> Document:
    """A template of the shop. Raises Refusal NOT_FOUND."""
    row = store.freight_templates.find_one({"_id": template_key(shop_id, template_id)})
    if row is None or row["state"] == DELETED:
        raise not_found("freight template", str(template_id))
    return views.template(row)


def templates(store: Store, shop_id: str, before: str | None, size: int) -> tuple[list[Document], str | None]:
    """The shop's templates newest first, and the position after which the next page begins."""
    rows = store.page("freight_templates", shop_id, before, size + 1)
    shown = rows[:size]
    return [views.template(row) for row in shown], shown[-1]["position"] if len(rows) > size else None


def quote(store: Store, asked: Sequence[Mapping[str, Any]], place: Place) -> list[Document]:
    """What carrying the lines to ``place`` costs, by shop and carrier class: three reads whatever their number.

    ``asked``: [{product_id, sku_id, quantity}].

    Raises Refusal INVALID_ARGUMENT naming ``lines`` or ``destination``, NOT_FOR_SALE naming ``lines[i]``.
    """
    now = clock.business()
    lines = [Line(line["product_id"], line["sku_id"], line["quantity"]) for line in asked]
    stock.check_lines(lines, policy.load(SERVICE).value("reservation_lines", now))
    found = regions.load().wrong("destination.", place)
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    if not place.province:
        raise invalid("destination.province", "say to which province of GET /v1/public/regions the goods go")
    products = store.products_by_id({line.product_id for line in lines})
    shops = store.shops_by_id({product["shop_id"] for product in products.values()})
    used = store.templates_by_key(templates_of(products.values()))
    loads = []
    for number, line in enumerate(lines):
        product = products.get(line.product_id)
        loads.append(stock.load_of(line, number, product, shops.get(product["shop_id"]) if product else None))
    most = freight_limits(now)
    answer = []
    for shop_id, carried in quotes.by_shop(loads).items():
        offered = quotes.offers(carried, quotes.of_shop(used.values(), shop_id), place, most)
        shown = [_offer(offer) for offer in sorted(offered, key=lambda offer: offer.fee)]
        answer.append({"shop_id": shop_id, "currency": shops[shop_id]["currency"], "carriers": shown})
    return answer


def _offer(offer: Offer) -> Document:
    return {"carrier_class": offer.carrier, "fee": offer.fee, "parts": _parts(offer.parts)}


def _parts(parts: Sequence[Part]) -> list[Document]:
    shown = []
    for part in parts:
        told: dict[str, Any] = {"basis": part.basis, "fee": part.fee, "lines": list(part.lines)}
        if part.template is not None:
            told |= _template_part(part, part.template)
        shown.append(told)
    return shown


def _template_part(part: Part, used: Mapping[str, Any]) -> Document:
    same = {name: used[name] for name in ("template_id", "payer", "valuation")}
    return {**same, "template_name": used["name"], "units": part.units, "reach": part.reach, "rule": part.rule}
