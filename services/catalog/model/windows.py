"""Sale windows: a time in which SKUs of a product are sold on terms of their own.

Two kinds:

- *flash* (秒杀): at a lower price, so many units of the stock at most. When they are gone the SKU is sold out until the window ends: nobody
  pays another price than the one that was shown.
- *presale* (预售): before the goods are there, from a quantity of its own that touches no stock, with a promised day of shipping.

A window's terms stand in its product (``windows``: those not over yet), so that whoever reads the product has them; what is taken of a SKU
stands in a row of its own (*units*), which every reservation moves. ``revision`` is in both: terms that were changed meanwhile take nothing.
Times are UTC, of the business clock; a window holds from its start until just before its end, and needs nobody to end it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.errors import Refusal, Violation, wrong_state

FLASH: Final = "flash"
PRESALE: Final = "presale"
OPEN: Final = "open"
CANCELLED: Final = "cancelled"
FIXED: Final = ("starts_at", "buyer_limit", "ship_by")
"""What stays as it is once buyers could see it."""

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a window may be; the values are policy. Days; units."""

    windows: int
    skus: int
    days: int
    ahead_days: int
    ship_days: int
    units: int
    price: int


def unit_id(window_id: str, sku_id: str) -> str:
    """The id of the row that counts what a window has sold of a SKU."""
    return f"{window_id}:{sku_id}"


def stage(window: Values, now: datetime) -> str:
    """upcoming, running, ended or cancelled."""
    if window["state"] == CANCELLED:
        return CANCELLED
    if now < window["starts_at"]:
        return "upcoming"
    return "running" if now < window["ends_at"] else "ended"


def terms(window: Values) -> dict[str, Any]:
    """What of a window stands in its product."""
    names = ("kind", "starts_at", "ends_at", "buyer_limit", "ship_by", "revision")
    prices = {item["sku_id"]: item["price"] for item in window["items"]}
    return {"window_id": window["_id"], **{name: window[name] for name in names}, "prices": prices}


def coming(product: Values, now: datetime) -> list[Values]:
    """The terms of the product's windows that run or will run."""
    return [found for found in product.get("windows", ()) if now < found["ends_at"]]


def running(product: Values, now: datetime) -> dict[str, Values]:
    """SKU id → the terms on which it is sold now, where it is in a window. Windows of one SKU never overlap."""
    found: dict[str, Values] = {}
    for each in coming(product, now):
        if each["starts_at"] <= now:
            found.update(dict.fromkeys(each["prices"], each))
    return found


def price(sku: Values, held: Values) -> int:
    """Minor units, in a window. A flash sale is never dearer than the SKU is anyway, whatever became of its price since."""
    wanted = int(held["prices"][sku["sku_id"]])
    return min(wanted, int(sku["price"])) if held["kind"] == FLASH else wanted


def available(stock: int, held: Values, left: int) -> int:
    """Units that can be bought in a window: ``stock`` available, ``left`` of the window."""
    return left if held["kind"] == PRESALE else min(stock, left)


# ------------------------------------------------------------------------------------------------------------------ writing


def check(said: Values, product: Values, now: datetime, limits: Limits) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field of a window that ``said`` describes: {kind, starts_at, ends_at,
    buyer_limit, ship_by, items: [{sku_id, price, quantity}]}, times None where not said.
    """
    found = [*_wrong_times(said, now, limits), *_wrong_items(said, product, limits)]
    if said["kind"] not in (FLASH, PRESALE):
        found.append(Violation("kind", f"must be {FLASH} or {PRESALE}"))
    if not 0 <= said["buyer_limit"] <= limits.units:
        found.append(Violation("buyer_limit", f"between 0 (none) and {limits.units}"))
    _refuse(found)


def _wrong_times(said: Values, now: datetime, limits: Limits) -> list[Violation]:
    starts_at, ends_at, ship_by = said["starts_at"], said["ends_at"], said["ship_by"]
    if starts_at is None or ends_at is None:
        path = "starts_at" if starts_at is None else "ends_at"
        return [Violation(path, "say when, such as 2026-01-06T12:00:00Z")]
    found = []
    if starts_at > now + timedelta(days=limits.ahead_days):
        found.append(Violation("starts_at", f"at most {limits.ahead_days} days ahead"))
    if ends_at <= max(now, starts_at):
        found.append(Violation("ends_at", "must lie after starts_at, and in the future"))
    elif ends_at > starts_at + timedelta(days=limits.days):
        found.append(Violation("ends_at", f"a window is at most {limits.days} days long"))
    if said["kind"] == PRESALE:
        if ship_by is None or ship_by < ends_at:
            found.append(Violation("ship_by", "promise a day of shipping that is not before the presale ends"))
        elif ship_by > ends_at + timedelta(days=limits.ship_days):
            found.append(Violation("ship_by", f"at most {limits.ship_days} days after the presale ends"))
    elif ship_by is not None:
        found.append(Violation("ship_by", "only a presale promises a day of shipping; leave it out"))
    return found


def check_running(said: Values, now: datetime, limits: Limits) -> None:
    """The same for a window that runs, of which only its end and its quantities can be wrong: prices stay, whatever the SKU costs now."""
    found = _wrong_times(said, now, limits)
    found += [
        Violation(f"items[{number}].quantity", f"between 1 and {limits.units} units")
        for number, item in enumerate(said["items"])
        if not 1 <= item["quantity"] <= limits.units
    ]
    _refuse(found)


def _wrong_items(said: Values, product: Values, limits: Limits) -> list[Violation]:
    items = said["items"]
    if not 0 < len(items) <= limits.skus:
        return [Violation("items", f"name between 1 and {limits.skus} SKUs")]
    known = {sku["sku_id"]: sku for sku in product["listing"]["skus"]}
    seen: set[str] = set()
    found = []
    for number, item in enumerate(items):
        path, sku = f"items[{number}]", known.get(item["sku_id"])
        if sku is None:
            found.append(Violation(f"{path}.sku_id", "is no SKU of this product; see GET /v1/products/{product_id}"))
        elif item["sku_id"] in seen:
            found.append(Violation(f"{path}.sku_id", "stands in this window already; name it once"))
        elif not 1 <= item["price"] <= limits.price:
            found.append(Violation(f"{path}.price", f"between 1 and {limits.price} minor units"))
        elif said["kind"] == FLASH and item["price"] >= sku["price"]:
            message = f"a flash sale is cheaper than usual ({sku['price']}); lower the price"
            found.append(Violation(f"{path}.price", message))
        if not 1 <= item["quantity"] <= limits.units:
            found.append(Violation(f"{path}.quantity", f"between 1 and {limits.units} units"))
        seen.add(item["sku_id"])
    return found


def placed(product: Values, window: Values, now: datetime, most: int) -> list[Values]:
    """The terms in the product with ``window`` among them, those that are over left out.

    Raises Refusal CONDITION_UNMET naming the window that one of its SKUs is in at the same time, or for more than ``most`` windows.
    """
    others = [found for found in coming(product, now) if found["window_id"] != window["_id"]]
    mine = terms(window)
    for other in others:
        shared = mine["prices"].keys() & other["prices"].keys()
        if shared and mine["starts_at"] < other["ends_at"] and other["starts_at"] < mine["ends_at"]:
            when = f"{other['starts_at']:%Y-%m-%dT%H:%M:%SZ} to {other['ends_at']:%Y-%m-%dT%H:%M:%SZ}"
            message = f"SKU {min(shared)} is in window {other['window_id']} from {when}; choose another time, or cancel that one"
            info = {"window_id": other["window_id"]}
            raise Refusal("CONDITION_UNMET", message, (Violation("starts_at", message),), info=info)
    if len(others) >= most:
        raise Refusal("CONDITION_UNMET", f"a product has at most {most} windows that are not over; cancel one first")
    return sorted([*others, mine], key=lambda found: (found["starts_at"], found["window_id"]))


def without(product: Values, window_id: str, now: datetime) -> list[Values]:
    """The terms in the product without a window, and without those that are over."""
    return [found for found in coming(product, now) if found["window_id"] != window_id]


def check_edit(window: Values, said: Values, now: datetime) -> None:
    """Whether ``window`` may become what is ``said``. Its SKUs never change. While it runs only its end and its quantities do: what
    buyers saw is kept.

    Raises Refusal WRONG_STATE, INVALID_ARGUMENT.
    """
    at = stage(window, now)
    if at not in ("upcoming", "running"):
        raise wrong_state("sale window", window["_id"], at, "upcoming or running; make a new one")
    before = {item["sku_id"]: item["price"] for item in window["items"]}
    found = []
    if sorted(item["sku_id"] for item in said["items"]) != sorted(before):
        found.append(Violation("items", "a window keeps its SKUs; cancel it and make another for others"))
    elif at == "running":
        message = "stays as it is while the window runs; cancel it and make another"
        found += [Violation(name, message) for name in FIXED if said[name] != window[name]]
        found += [
            Violation(f"items[{number}].price", message)
            for number, item in enumerate(said["items"])
            if item["price"] != before[item["sku_id"]]
        ]
    _refuse(found)


def check_cancel(window: Values, now: datetime) -> None:
    """Raises Refusal WRONG_STATE for a window that is over."""
    at = stage(window, now)
    if at == "ended":
        raise wrong_state("sale window", window["_id"], at, "upcoming or running; it has ended by itself")


def too_many_sold(items: Sequence[Values], units: Mapping[str, Values]) -> Refusal | None:
    """The refusal that names every quantity below what is sold already, or None. ``units``: SKU id → its row."""
    found = tuple(
        Violation(
            f"items[{number}].quantity", f"{units[item['sku_id']]['taken']} are sold already; not fewer than that"
        )
        for number, item in enumerate(items)
        if item["quantity"] < units[item["sku_id"]]["taken"]
    )
    return Refusal("CONDITION_UNMET", f"{found[0].field}: {found[0].message}", found) if found else None


def _refuse(found: Sequence[Violation]) -> None:
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


# ----------------------------------------------------------------------------------------------------------------- reserving


def frozen(sku: Values, held: Values | None) -> dict[str, Any]:
    """What a reserved line says of the window it was sold in; nothing outside of one."""
    if held is None:
        return {}
    kept = {name: held[name] for name in ("kind", "revision", "buyer_limit")}
    line = {"price": price(sku, held), "window_id": held["window_id"], "window": kept}
    return {**line, "ship_by": held["ship_by"]} if held["kind"] == PRESALE else line


def from_stock(line: Values) -> bool:
    """Whether a line takes goods that are there; those of a presale are not."""
    return "window" not in line or line["window"]["kind"] != PRESALE


def units_wanted(lines: Iterable[Values]) -> dict[str, int]:
    """How many units of each SKU in each window the lines want: units id → quantity."""
    wanted: dict[str, int] = {}
    for line in lines:
        if "window" in line:
            key = unit_id(line["window_id"], line["sku_id"])
            wanted[key] = wanted.get(key, 0) + line["quantity"]
    return wanted


def revisions(lines: Iterable[Values]) -> dict[str, int]:
    """units id → the revision of the terms that the lines were sold on."""
    return {
        unit_id(line["window_id"], line["sku_id"]): line["window"]["revision"] for line in lines if "window" in line
    }
