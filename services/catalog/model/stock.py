"""Stock and reservations.

Stock of a SKU: ``on_hand`` (what the shop has), ``reserved`` (held for unpaid checkouts), available = on_hand − reserved ≥ 0. A SKU
starts with ``initial``; every change of on_hand after that is a movement, and initial + Σ movements = on_hand.

A reservation belongs to a checkout. Its lines are grouped in *parts*, one a shop, because each shop has its own child order that is
paid or closed on its own: held → sold → returned; held → released; released → sold (a late payment) or failed. Units of a sold part may
come back one by one: ``back`` of a reservation says how many of each SKU did, ``returns`` with which refunds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.catalog.model import windows
from services.catalog.model.products import sku_text
from services.catalog.model.quotes import Load
from services.chassis.decisions import DONE, EARLY, STALE, Decision, apply
from services.chassis.errors import Refusal, Violation

HELD: Final = "held"
SOLD: Final = "sold"
RELEASED: Final = "released"
RETURNED: Final = "returned"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to buy: a SKU of a product and how many."""

    product_id: str
    sku_id: str
    quantity: int


def summed(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of each SKU's stock the lines want together: the same SKU on two lines counts once, summed; a presale takes none."""
    wanted: dict[str, int] = {}
    for line in filter(windows.from_stock, lines):
        wanted[line["sku_id"]] = wanted.get(line["sku_id"], 0) + line["quantity"]
    return wanted


def check_lines(lines: list[Line], most: int) -> None:
    """Raises Refusal INVALID_ARGUMENT for no lines, more than ``most`` of them, or a quantity below 1."""
    found = [
        Violation(f"lines[{n}].quantity", "must be at least 1") for n, line in enumerate(lines) if line.quantity < 1
    ]
    if not lines or len(lines) > most:
        found.append(Violation("lines", f"between 1 and {most} lines"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def on_sale(
    line: Line, number: int, product: Mapping[str, Any] | None, shop: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The product and the SKU of a line that can be bought. Raises Refusal NOT_FOR_SALE naming ``lines[number]``."""
    listing: Mapping[str, Any] = product["listing"] if product else {}
    sku = next((sku for sku in listing.get("skus", ()) if sku["sku_id"] == line.sku_id), None)
    if product is None or sku is None or product["state"] != "listed" or shop is None or shop["state"] != "open":
        why = "is not on sale in an open shop; take it out of the basket"
        path = f"lines[{number}].{'sku_id' if product and not sku else 'product_id'}"
        info = {"product_id": line.product_id, "sku_id": line.sku_id}
        raise Refusal("NOT_FOR_SALE", f"lines[{number}]: {line.product_id} {why}", (Violation(path, why),), info=info)
    return product, sku


def load_of(line: Line, number: int, product: Mapping[str, Any] | None, shop: Mapping[str, Any] | None) -> Load:
    """The line as something to be carried. Raises Refusal NOT_FOR_SALE naming ``lines[number]``."""
    product, sku = on_sale(line, number, product, shop)
    freight = product["listing"]["freight"]
    return Load(number, product["shop_id"], freight, line.quantity, sku["weight_g"], sku["volume_cm3"])


def freeze(
    line: Line, number: int, product: Mapping[str, Any] | None, shop: Mapping[str, Any] | None, now: datetime
) -> dict[str, Any]:
    """The line as the buyer saw it at ``now``: names, prices and version, and the sale window it is bought in.

    Raises Refusal NOT_FOR_SALE naming ``lines[number]``.
    """
    product, sku = on_sale(line, number, product, shop)
    listing = product["listing"]
    images = listing["images"]
    return {
        "product_id": line.product_id,
        "sku_id": line.sku_id,
        "quantity": line.quantity,
        "shop_id": product["shop_id"],
        "name": listing["name"],
        "image": sku["image"] or (images[0] if images else ""),
        "sku_text": sku_text(sku["values"]),
        "price": sku["price"],
        "original_price": sku["original_price"],
        "product_version": product["listing_version"],
        "currency": product["currency"],
        "freight_kind": listing["freight"]["kind"],
        "merchant_sku": sku["merchant_sku"],
        "weight_g": sku["weight_g"],
        "buy_limit": listing["buy_limit"],
        "category_id": listing["category_id"],
        "options": [{"name": axis, "value": value} for axis, value in zip(listing["axes"], sku["values"], strict=True)],
        "external_id": product["external_id"],
        **windows.frozen(sku, windows.running(product, now).get(line.sku_id)),
        **({"fulfilment": listing["fulfilment"]} if listing.get("fulfilment") else {}),
    }


def needs(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """All that the lines take: units of stock by SKU id, and units of sale windows by their own ids."""
    return summed(lines) | windows.units_wanted(lines)


def out_of_stock(lines: Sequence[Mapping[str, Any]], left: Mapping[str, int]) -> Refusal | None:
    """The refusal that names every line that is short, or None when all would fit. ``left``: what there is of ``needs``."""
    short = {key for key, quantity in needs(lines).items() if left.get(key, 0) < quantity}
    found, info = [], {}
    for number, line in enumerate(lines):
        keys = needs([line]).keys()
        if keys & short:
            most = min(left.get(key, 0) for key in keys)
            where = " in this sale" if "window" in line else ""
            found.append(Violation(f"lines[{number}].quantity", f"only {most} left{where}; take fewer"))
            info[line["sku_id"]] = str(most)
    if not found:
        return None
    return Refusal("OUT_OF_STOCK", f"{found[0].field}: {found[0].message}", tuple(found), info=info)


def over_limit(lines: Sequence[Mapping[str, Any]], bought: Mapping[str, int]) -> Refusal | None:
    """The refusal that names every line above a limit for one buyer (每人限购), or None. ``bought``: key of a limit → units held or bought."""
    wanted = limited(lines)
    found = tuple(
        Violation(f"lines[{number}].quantity", f"at most {most} for one buyer, {bought.get(key, 0)} taken already")
        for number, line in enumerate(lines)
        for key, most in limits_of(line).items()
        if bought.get(key, 0) + wanted[key] > most
    )
    return Refusal("BUY_LIMIT_REACHED", f"{found[0].field}: {found[0].message}", found) if found else None


def limits_of(line: Mapping[str, Any]) -> dict[str, int]:
    """The limits for one buyer that a line falls under: of its product, by product id; of its sale window, by window id."""
    found = {line["product_id"]: line["buy_limit"]} if line["buy_limit"] else {}
    if "window" in line and line["window"]["buyer_limit"]:
        found[line["window_id"]] = line["window"]["buyer_limit"]
    return found


def limited(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many units the lines want under each limit for one buyer."""
    wanted: dict[str, int] = {}
    for line in lines:
        for key in limits_of(line):
            wanted[key] = wanted.get(key, 0) + line["quantity"]
    return wanted


def purchase_id(key: str, buyer_id: str) -> str:
    """The id of the row that counts what a buyer has under a limit."""
    return f"{key}:{buyer_id}"


# ------------------------------------------------------------------------------------------------------------------- events


def decide_paid(reservation: Mapping[str, Any] | None, shop_id: str) -> Decision:
    """``order.paid``: the shop's part is sold. APPLY also when it had been released, or was never there: the stock is taken anew, and
    where it is gone the catalog answers with ``reservation.failed``, because money came with the fact.
    """
    part = _part(reservation, shop_id)
    return DONE if part in (SOLD, RETURNED, FAILED) else apply()


def decide_closed(reservation: Mapping[str, Any] | None, shop_id: str, *, was_paid: bool) -> Decision:
    """``order.closed``: an unpaid part is released, a sold one comes back. Without ``shop_id`` the whole checkout is released.

    Nothing reserved yet: the checkout id is closed for a late ReserveStock. A paid order whose payment has not been seen waits.
    """
    if not shop_id:
        return apply() if reservation is None or HELD in reservation["parts"].values() else DONE
    part = _part(reservation, shop_id)
    if was_paid:
        return {None: EARLY, HELD: EARLY, RELEASED: EARLY, SOLD: apply()}.get(part, DONE)
    if part == SOLD:
        return STALE
    return apply() if part in (None, HELD) else DONE


def decide_returned(reservation: Mapping[str, Any] | None, shop_id: str, return_id: str) -> Decision:
    """``order.goods_returned``: units of a sold part come back, once for each refund, also when the order has closed meanwhile. What was never
    sold cannot come back.
    """
    part = _part(reservation, shop_id)
    if reservation is None or part in (None, HELD, RELEASED):
        return EARLY
    if part == FAILED:
        return STALE
    return DONE if return_id in reservation.get("returns", ()) else apply()


def coming_back(
    reservation: Mapping[str, Any], shop_id: str, units: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The shop's lines that come back, as many of each as ``units`` {sku_id, quantity} say and were not back yet."""
    wanted: dict[str, int] = {}
    for unit in units:
        wanted[unit["sku_id"]] = wanted.get(unit["sku_id"], 0) + unit["quantity"]
    found = [
        {**line, "quantity": min(line["quantity"], wanted.get(line["sku_id"], 0))}
        for line in kept_of(reservation, [shop_id])
    ]
    return [line for line in found if line["quantity"] > 0]


def kept_of(reservation: Mapping[str, Any], shops: Iterable[str]) -> list[dict[str, Any]]:
    """The lines of these shops without what came back. A checkout has one line of a SKU."""
    back: Mapping[str, int] = reservation.get("back", {})
    return [
        {**line, "quantity": line["quantity"] - back.get(line["sku_id"], 0)} for line in lines_of(reservation, shops)
    ]


def with_back(reservation: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The fields of a reservation of which these lines come back."""
    back: Mapping[str, int] = reservation.get("back", {})
    return {f"back.{line['sku_id']}": back.get(line["sku_id"], 0) + line["quantity"] for line in lines}


def _part(reservation: Mapping[str, Any] | None, shop_id: str) -> str | None:
    found = (reservation or {}).get("parts", {}).get(shop_id)
    return str(found) if found else None


def held_parts(reservation: Mapping[str, Any]) -> list[str]:
    """The shops whose lines are still held."""
    return [shop for shop, part in reservation["parts"].items() if part == HELD]


def held_by(reservation: Mapping[str, Any], shop_id: str) -> list[str]:
    """The shops whose lines are still held, or of these only ``shop_id`` where it is given."""
    return [shop for shop in held_parts(reservation) if shop_id in ("", shop)]


def lines_of(reservation: Mapping[str, Any], shops: Iterable[str]) -> list[Mapping[str, Any]]:
    """The lines of these shops."""
    wanted = set(shops)
    return [line for line in reservation["lines"] if line["shop_id"] in wanted]
