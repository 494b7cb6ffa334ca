"""Goods: what the catalog has, holds and has sold, against its own movements and reservations and against the orders."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.catalog.model import stock
from services.catalog.model import windows as sale_windows
from services.cli.audit.report import Finding, Wrong, compared
from services.cli.audit.sheet import Sheet
from services.cli.audit.world import Check, World, batches, by_id, scan
from services.orders.model.states import State

GAVE_BACK: Final = ("lines", "line_refunds", "refunds", "stock_back")
"""What of an order tells what of it came back to stock."""


def on_hand(world: World) -> Iterator[Finding]:
    """Every SKU: initial + Σ movements = on hand."""
    catalog = world.database("catalog")
    with Sheet() as sheet:
        for row in scan(catalog, "stock", ("initial", "on_hand")):
            sheet.expect(row["_id"], row["initial"])
            sheet.find(row["_id"], row["on_hand"])
        for row in scan(catalog, "movements", ("sku_id", "delta", "movements")):
            for movement in row.get("movements", (row,)):
                sheet.expect(movement["sku_id"], movement["delta"])
        for chunk in scan(catalog, "chunks", ("movements",)):
            for movement in chunk["movements"]:
                sheet.expect(movement["sku_id"], movement["delta"])
        yield from sheet.findings()


def products(world: World) -> Iterator[Finding]:
    """Every SKU that is kept belongs to a product that is there, deleted ones included."""
    catalog = world.database("catalog")
    for batch in batches(scan(catalog, "stock", ("product_id",))):
        known = by_id(catalog, "products", {row["product_id"] for row in batch}, ("state",))
        for row in batch:
            there = row["product_id"] if row["product_id"] in known else "none"
            yield compared(f"product of SKU {row['_id']}", row["product_id"], there)


def reserved(world: World) -> Iterator[Finding]:
    """Every SKU: Σ live reservation lines = reserved."""
    catalog = world.database("catalog")
    with Sheet() as sheet:
        for row in scan(catalog, "stock", ("reserved",)):
            sheet.find(row["_id"], row["reserved"])
        for reservation in scan(catalog, "reservations", ("lines", "parts")):
            lines = stock.lines_of(reservation, stock.held_parts(reservation))
            for sku_id, quantity in stock.summed(lines).items():
                sheet.expect(sku_id, quantity)
        yield from sheet.findings()


def available(world: World) -> Iterator[Finding]:
    """Every SKU: available = on hand - reserved, and neither of the three is negative."""
    for row in scan(world.database("catalog"), "stock", ("on_hand", "reserved", "available")):
        if min(row["on_hand"], row["reserved"], row["available"]) < 0:
            yield Wrong(
                row["_id"], "nothing below 0", {name: row[name] for name in ("on_hand", "reserved", "available")}
            )
        else:
            yield compared(row["_id"], row["on_hand"] - row["reserved"], row["available"])


def movements(world: World) -> Iterator[Finding]:
    """Every sold part of a reservation has its movements; what came back to stock is what its order says came back, by refunds and by its end;
    and nothing else moved under an order.
    """
    catalog, orders = world.database("catalog"), world.database("orders")
    with Sheet() as sheet:
        for batch in batches(scan(catalog, "reservations", ("lines", "parts", "back"))):
            known = _orders_of(orders, [row["_id"] for row in batch], GAVE_BACK)
            for reservation in batch:
                for shop_id, part in reservation["parts"].items():
                    if part in (stock.SOLD, stock.RETURNED):
                        order = known.get((reservation["_id"], shop_id), {"_id": "no order"})
                        yield _moved(sheet, order, reservation, shop_id)
        for row in scan(catalog, "movements", ("kind", "ref", "movements")):
            if row["kind"] in ("sold", "returned"):
                for movement in row["movements"]:  # what was sold stands with that of other orders
                    ref = movement.get("ref") or row["ref"]
                    sheet.find(f"{row['kind']}:{ref}:{movement['sku_id']}", movement["delta"])
        yield from sheet.findings()


def _moved(sheet: Sheet, order: Mapping[str, Any], reservation: Mapping[str, Any], shop_id: str) -> Finding:
    """What must have moved under an order, on the sheet; and whether the reservation knows what came back of it."""
    lines, units = stock.lines_of(reservation, [shop_id]), gave_back(order)
    for sku_id, quantity in stock.summed(lines).items():
        sheet.expect(f"sold:{order['_id']}:{sku_id}", -quantity)
    back = stock.coming_back({**reservation, "back": {}}, shop_id, units)
    for sku_id, quantity in stock.summed(back).items():
        sheet.expect(f"returned:{order['_id']}:{sku_id}", quantity)
    told = {line["sku_id"]: line["quantity"] for line in back}
    known = reservation.get("back", {})
    found = {line["sku_id"]: known[line["sku_id"]] for line in lines if known.get(line["sku_id"])}
    return compared(f"what came back of order {order['_id']}", told, found)


def _orders_of(
    orders: Any, checkout_ids: list[str], fields: tuple[str, ...] = ()
) -> dict[tuple[str, str], dict[str, Any]]:
    found = scan(orders, "orders", ("checkout_id", "shop_id", *fields), {"checkout_id": {"$in": checkout_ids}})
    return {(row["checkout_id"], row["shop_id"]): row for row in found}


def gave_back(order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an order says came back to stock: [{sku_id, quantity}], by refunds of lines, by rulings, and when it closed."""
    rows = [
        *({"line": row["line"], "quantity": row.get("restocked", 0)} for row in order.get("line_refunds", ())),
        *(row for refund in order.get("refunds", ()) for row in refund.get("restocked", ())),
        *order.get("stock_back", ()),
    ]
    return [{"sku_id": order["lines"][row["line"] - 1]["sku_id"], "quantity": row["quantity"]} for row in rows]


def sold(world: World) -> Iterator[Finding]:
    """Every order: its part of the reservation is where the order is (held, sold, released, returned, failed)."""
    fields = ("checkout_id", "shop_id", "state", "paid", "close_reason", "shipped_at")
    for batch in batches(scan(world.database("orders"), "orders", fields)):
        ids = [order["checkout_id"] for order in batch]
        reservations = by_id(world.database("catalog"), "reservations", ids, ("parts",))
        for order in batch:
            parts = reservations.get(order["checkout_id"], {}).get("parts", {})
            yield compared(f"order {order['_id']}", expected_part(order), parts.get(order["shop_id"]))


def expected_part(order: Mapping[str, Any]) -> str:
    """Where the goods of an order are, told from the order."""
    if order["state"] == State.AWAITING_PAYMENT:
        return stock.HELD
    if order["state"] != State.CLOSED:
        return stock.SOLD
    if not order["paid"]:
        return stock.RELEASED
    if order["close_reason"] == "out_of_stock":
        return stock.FAILED
    if order["close_reason"] == "undelivered":  # catalog is told of it, with nothing that came back
        return stock.RETURNED
    return stock.SOLD if order.get("shipped_at") else stock.RETURNED


def owned(world: World) -> Iterator[Finding]:
    """Every reservation that holds or has sold goods belongs to an order, or to a checkout that is being placed."""
    orders = world.database("orders")
    placing = {
        each["_id"]
        for row in scan(orders, "placings", ("placings._id",), {"due_at": {"$exists": True}})
        for each in row["placings"]
    }
    for batch in batches(scan(world.database("catalog"), "reservations", ("parts",))):
        known = _orders_of(orders, [reservation["_id"] for reservation in batch])
        for reservation in batch:
            waits = reservation["_id"] in placing
            for shop_id, part in reservation["parts"].items():
                if part in (stock.HELD, stock.SOLD) and not (waits and part == stock.HELD):
                    there = "an order" if (reservation["_id"], shop_id) in known else "none"
                    yield compared(f"{part} for checkout {reservation['_id']}, shop {shop_id}", "an order", there)


def limits(world: World) -> Iterator[Finding]:
    """Every buyer: what counts against the limit of a product or a sale window = what is held or was bought and kept."""
    catalog = world.database("catalog")
    with Sheet() as sheet:
        for row in scan(catalog, "purchases", ("quantity",)):
            sheet.find(row["_id"], row["quantity"])
        for reservation in scan(catalog, "reservations", ("lines", "parts", "buyer_id", "back")):
            for key, quantity in stock.limited(_kept(reservation)).items():
                sheet.expect(stock.purchase_id(key, reservation["buyer_id"]), quantity)
        yield from sheet.findings()


def windows(world: World) -> Iterator[Finding]:
    """Every SKU of a sale window: what is held or was bought and kept = taken, and no more than its quantity."""
    catalog = world.database("catalog")
    with Sheet() as sheet:
        for row in scan(catalog, "window_units", ("quantity", "taken", "left")):
            if min(row["taken"], row["left"]) < 0:
                yield Wrong(row["_id"], "nothing below 0", {name: row[name] for name in ("taken", "left")})
            yield compared(row["_id"], row["quantity"], row["taken"] + row["left"])
            sheet.find(row["_id"], row["taken"])
        for reservation in scan(catalog, "reservations", ("lines", "parts", "back")):
            for unit, quantity in sale_windows.units_wanted(_kept(reservation)).items():
                sheet.expect(unit, quantity)
        yield from sheet.findings()


def _kept(reservation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines that are held or were bought, without what came back."""
    kept = (stock.HELD, stock.SOLD, stock.RETURNED)
    return stock.kept_of(reservation, [shop_id for shop_id, part in reservation["parts"].items() if part in kept])


CHECKS: Final[tuple[Check, ...]] = (
    on_hand,
    products,
    reserved,
    available,
    movements,
    sold,
    owned,
    limits,
    windows,
)
