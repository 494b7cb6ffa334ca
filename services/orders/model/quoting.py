"""A quote: what an order of some lines would cost now, from what catalog and accounts answer; and an order that keeps to one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chassis import regions
from services.chassis.errors import Refusal, Violation
from services.orders.model import addresses, amounts
from services.orders.model.checkout import Frozen

Values = Mapping[str, Any]
SUMS: Final = ("amount", "goods_amount", "discount", "freight")


def travels(asked: Values) -> dict[str, Any]:
    """How and where to the goods of an order would go, as catalog takes it: ``destination`` {province, city} where a place is said (in ``address``
    or ``destination``), ``carriers`` [{shop_id, carrier_class}] where the buyer chose: exactly what placing passes on.

    Raises Refusal INVALID_ARGUMENT naming ``carriers[i].…``, ``address.…`` or ``destination.…``.
    """
    known, name = regions.load(), "address" if asked.get("address") else "destination"
    place = {"province": "", "city": "", **(asked.get(name) or {})}
    carriers = list(asked.get("carriers", ()))
    wrong = [*addresses.wrong_carriers(carriers), *addresses.wrong_place(f"{name}.", place, known)]
    if wrong:
        raise Refusal("INVALID_ARGUMENT", f"{wrong[0].field}: {wrong[0].message}", tuple(wrong))
    found: dict[str, Any] = {"carriers": carriers} if carriers else {}
    return {**found, "destination": addresses.destination(place, known)} if place["province"].strip() else found


def kept(asked: Values) -> dict[str, Any]:
    """What a checkout that is being placed remembers of the quote it came from."""
    expected = asked.get("expected_total")
    return {} if expected is None else {"expected_total": expected}


def changed(placing: Values, lines: Sequence[Values]) -> Refusal | None:
    """The refusal of an order that would cost something else than the quote its buyer saw; None where it costs that, or nobody said."""
    expected = placing.get("expected_total")
    total = sum(line["price"] * line["quantity"] + line["freight_fee"] for line in lines)
    if expected is None or expected == total:
        return None
    message = f"it costs {total} now, not {expected}; ask for a quote again and show it to the buyer"
    info = {"expected_total": str(expected), "total": str(total)}
    return Refusal("PRICE_CHANGED", message, (Violation("expected_total", message),), info=info)


def quoted(frozen: Frozen, carriers: Mapping[str, Sequence[Values]]) -> dict[str, Any]:
    """The quote: an order a shop and the sums over all, in minor units. ``carriers``: of each shop [{carrier_class, fee, chosen}]."""
    orders = []
    for shop_id, lines in amounts.by_shop(frozen.lines).items():
        shop = frozen.shops[shop_id]
        seller = {"shop_id": shop_id, "name": shop["name"], "identity": dict(shop.get("identity", {}))}
        orders.append({"seller": seller, **amounts.priced(lines, ()), "carriers": list(carriers.get(shop_id, ()))})
    sums = {name: sum(order[name] for order in orders) for name in SUMS}
    return {**sums, "currency": frozen.lines[0]["currency"], "orders": orders}
