"""Stock and reservations.

Stock of a SKU: ``on_hand`` (what the shop has), ``reserved`` (held for unpaid checkouts), available = on_hand − reserved ≥ 0. A SKU
starts with ``initial``; every change of on_hand after that is a movement, and initial + Σ movements = on_hand.

A reservation belongs to a checkout. Its lines are grouped in *parts*, one a shop, because each shop has its own child order that is
paid or closed on its own: held → sold → returned; held → released; released → sold (a late payment) or failed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.catalog.model.products import freight_fee, sku_text
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
    """How many of each SKU the lines want together: the same SKU on two lines counts once, summed."""
    wanted: dict[str, int] = {}
    for line in lines:
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


def freeze(
    line: Line, number: int, product: Mapping[str, Any] | None, shop: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The line as the buyer saw it: names, prices, version and freight. Raises Refusal NOT_FOR_SALE naming ``lines[number]``."""
    listing: Mapping[str, Any] = product["listing"] if product else {}
    sku = next((sku for sku in listing.get("skus", ()) if sku["sku_id"] == line.sku_id), None)
    if product is None or sku is None or product["state"] != "listed" or shop is None or shop["state"] != "open":
        why = "is not on sale in an open shop; take it out of the basket"
        path = f"lines[{number}].{'sku_id' if product and not sku else 'product_id'}"
        info = {"product_id": line.product_id, "sku_id": line.sku_id}
        raise Refusal("NOT_FOR_SALE", f"lines[{number}]: {line.product_id} {why}", (Violation(path, why),), info=info)
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
        "freight_fee": freight_fee(listing["freight"]),
        "merchant_sku": sku["merchant_sku"],
        "weight_g": sku["weight_g"],
        "buy_limit": listing["buy_limit"],
    }


def out_of_stock(lines: Sequence[Mapping[str, Any]], available: Mapping[str, int]) -> Refusal | None:
    """The refusal that names every line whose SKU is short, or None when all would fit. ``available``: SKU → units."""
    wanted = summed(lines)
    short = {sku for sku, quantity in wanted.items() if available.get(sku, 0) < quantity}
    found = tuple(
        Violation(f"lines[{number}].quantity", f"only {available.get(line['sku_id'], 0)} left; take fewer")
        for number, line in enumerate(lines)
        if line["sku_id"] in short
    )
    if not found:
        return None
    info = {sku: str(available.get(sku, 0)) for sku in sorted(short)}
    return Refusal("OUT_OF_STOCK", f"{found[0].field}: {found[0].message}", found, info=info)


def over_limit(lines: Sequence[Mapping[str, Any]], bought: Mapping[str, int]) -> Refusal | None:
    """The refusal that names every line above the product's buy limit (每人限购), or None. ``bought``: product → units held or bought."""
    wanted = limited(lines)
    found = tuple(
        Violation(
            f"lines[{number}].quantity",
            f"at most {line['buy_limit']} for one buyer, {bought.get(line['product_id'], 0)} taken already",
        )
        for number, line in enumerate(lines)
        if line["buy_limit"] and bought.get(line["product_id"], 0) + wanted[line["product_id"]] > line["buy_limit"]
    )
    return Refusal("BUY_LIMIT_REACHED", f"{found[0].field}: {found[0].message}", found) if found else None


def limited(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many units the lines want of each product that has a buy limit."""
    wanted: dict[str, int] = {}
    for line in lines:
        if line["buy_limit"]:
            wanted[line["product_id"]] = wanted.get(line["product_id"], 0) + line["quantity"]
    return wanted


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
