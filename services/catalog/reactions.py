"""What the catalog does when it hears of a fact, or a reservation outlives its checkout."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from services.catalog.model import stock
from services.catalog.model.chunks import decide_counted, decide_import_noted
from services.catalog.store import Store
from services.catalog.store import reserving as writes
from services.chassis import clock, commit, together
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change, Decision, Fact
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler, Timer, keep_copy

# ------------------------------------------------------------------------------------------------------------- reservations


def checkout_of(event: Event) -> str:
    """What early events wait for: payment and end of a checkout's orders wake each other."""
    return str(event.data["checkout_id"])


def load_reservation(database: Database, event: Event) -> Document | None:
    """The reservation of the event's checkout."""
    checkout_id = event.data["checkout_id"]
    return together.find(database["reservations"], [checkout_id]).get(checkout_id)


def decide_paid(reservation: Document | None, event: Event) -> Decision:
    """See ``stock.decide_paid``."""
    return stock.decide_paid(reservation, event.data["shop_id"])


def apply_paid(delivery: Delivery, reservation: Document | None, _decision: Decision) -> None:
    """The shop's lines are sold: from what was held, or else from what is left; when too little is left the order is told."""
    store, data, shop_id = Store(delivery.database), delivery.event.data, delivery.event.data["shop_id"]
    held = reservation is not None and reservation["parts"].get(shop_id) == stock.HELD
    known = stock.lines_of(reservation, [shop_id]) if reservation else []
    lines = known or [{**line, "shop_id": shop_id, "buy_limit": 0} for line in data["lines"]]
    wanted = stock.summed(lines)
    transaction = Transaction(store.client)
    if reservation is None or delivery.waited:  # else the part of the reservation itself tells that it was done
        transaction.handled(delivery.database, delivery.row_id, waited=delivery.waited)
    if not held and _short(store, wanted):
        told = {"checkout_id": data["checkout_id"], "order_id": data["order_id"], "reason": "out_of_stock"}
        fact = Fact("jishi.catalog.reservation.failed.v1", told, data["order_id"])
        _end_part(store, transaction, delivery, reservation, stock.FAILED, (fact,))
        transaction.commit()
        return
    _end_part(store, transaction, delivery, reservation, stock.SOLD)
    for sku_id, quantity in sorted(wanted.items()):
        take = writes.sell_reserved if held else writes.sell_available
        take(store, transaction, sku_id, quantity)
    if reservation is not None and not held:
        writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.TAKE_ANYWAY)
    transaction.insert(store.movements, _movement(data, shop_id, wanted, "sold", -1))
    together.commit(transaction)


def _short(store: Store, wanted: Mapping[str, int]) -> bool:
    found = store.stock_by_id(wanted)
    return any(sku_id not in found or found[sku_id]["available"] < quantity for sku_id, quantity in wanted.items())


def decide_closed(reservation: Document | None, event: Event) -> Decision:
    """See ``stock.decide_closed``."""
    return stock.decide_closed(reservation, event.data["shop_id"], was_paid=event.data["was_paid"])


def apply_closed(delivery: Delivery, reservation: Document | None, _decision: Decision) -> None:
    """Held lines are available again, sold ones are on hand again; a checkout without reservation may not reserve any more."""
    store, data, shop_id = Store(delivery.database), delivery.event.data, delivery.event.data["shop_id"]
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    if reservation is not None and data["was_paid"]:
        lines = stock.lines_of(reservation, [shop_id])
        wanted = stock.summed(lines)
        _end_part(store, transaction, delivery, reservation, stock.RETURNED)
        for sku_id, quantity in sorted(wanted.items()):
            writes.take_back(store, transaction, sku_id, quantity)
        writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.GIVE_BACK)
        transaction.insert(store.movements, _movement(data, shop_id, wanted, "returned", 1))
    elif reservation is not None and (shops := stock.held_by(reservation, shop_id)):
        _let_go(store, transaction, reservation, shops, delivery.cause)
    else:
        _end_part(store, transaction, delivery, reservation, stock.RELEASED)
    transaction.commit()


def expire(database: Database, reservation: Document, _now: datetime, cause: Cause) -> None:
    """The backstop: what is still held long after pay_by is released."""
    store = Store(database)
    transaction = Transaction(store.client)
    _let_go(store, transaction, reservation, stock.held_parts(reservation), cause)
    transaction.commit()


def _let_go(store: Store, transaction: Transaction, reservation: Document, shops: list[str], cause: Cause) -> None:
    left = [shop for shop in stock.held_parts(reservation) if shop not in shops]
    parts = {f"parts.{shop}": stock.RELEASED for shop in shops}
    transaction.change(store.reservations, reservation, Change(set=parts, **_timer(left)), cause)
    lines = stock.lines_of(reservation, shops)
    for sku_id, quantity in sorted(stock.summed(lines).items()):
        writes.release(store, transaction, sku_id, quantity)
    writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.GIVE_BACK)


def _end_part(
    store: Store,
    transaction: Transaction,
    delivery: Delivery,
    reservation: Document | None,
    part: str,
    facts: tuple[Fact, ...] = (),
) -> None:
    """The shop's part of the reservation is ``part`` now; without a reservation a row is left that says so."""
    data = delivery.event.data
    shop_id = data["shop_id"]
    if reservation is None:
        parts = {shop_id: part} if shop_id else {}
        lines = [{**line, "shop_id": shop_id, "buy_limit": 0} for line in data["lines"]]
        row = {
            "_id": data["checkout_id"],
            "buyer_id": data.get("buyer_id", ""),
            "lines": lines,
            "parts": parts,
            "first": [],
        }
        transaction.insert(store.reservations, commit.prepare(store.reservations, row, delivery.cause, facts=facts))
        return
    left = [shop for shop in stock.held_parts(reservation) if shop != shop_id]
    transaction.change(
        store.reservations,
        reservation,
        Change(set={f"parts.{shop_id}": part}, facts=facts, **_timer(left)),
        delivery.cause,
    )


def _timer(held: list[str]) -> dict[str, Any]:
    return {} if held else {"due": None}


def _movement(data: Mapping[str, Any], shop_id: str, wanted: Mapping[str, int], kind: str, sign: int) -> Document:
    """One row for all SKUs of an order, under an id that follows from its cause, kept for ever."""
    return {
        "_id": f"{kind}:{data['order_id']}",
        "shop_id": shop_id,
        "kind": kind,
        "ref": data["order_id"],
        "movements": [{"sku_id": sku_id, "delta": sign * quantity} for sku_id, quantity in wanted.items()],
        "at": clock.business(),
    }


# ------------------------------------------------------------------------------------------------------------------- chunks


def load_chunk(database: Database, event: Event) -> dict[str, Document | None]:
    """The chunk and the copy of its shop."""
    data = event.data
    return {
        "chunk": database["chunks"].find_one({"_id": data["chunk_id"]}),
        "shop": database["shops"].find_one({"_id": data["shop_id"]}),
    }


def decide_chunk(found: Mapping[str, Any], _event: Event) -> Decision:
    """See ``chunks.decide_counted``."""
    return decide_counted(found["chunk"], found["shop"])


def apply_chunk(delivery: Delivery, found: Mapping[str, Any], _decision: Decision) -> None:
    """The shop's categories gain or lose what the chunk says, once: the chunk remembers that it was counted."""
    store, data = Store(delivery.database), delivery.event.data
    gains = {f"categories.{gain['category_id']}": gain["products"] for gain in data["categories"]}
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    transaction.change(store.chunks, found["chunk"], Change(set={"counted": True}), delivery.cause)
    if gains:
        transaction.update(store.shops, {"_id": data["shop_id"]}, {"$inc": gains})
    transaction.commit()


def load_shop(database: Database, event: Event) -> Document | None:
    """The copy of the event's shop."""
    return database["shops"].find_one({"_id": event.data["shop_id"]})


def decide_completed(shop: Document | None, event: Event) -> Decision:
    """See ``chunks.decide_import_noted``."""
    return decide_import_noted(shop, event.data)


def apply_completed(delivery: Delivery, _shop: Document | None, _decision: Decision) -> None:
    """The shop remembers when its catalog was last brought up to date."""
    store, data = Store(delivery.database), delivery.event.data
    noted = {"import_id": data["import_id"], "at": data["end_time"]}
    older = {"$or": [{"last_import": None}, {"last_import.at": {"$lt": data["end_time"]}}]}
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    transaction.update(store.shops, {"_id": data["shop_id"], **older}, {"$set": {"last_import": noted}}).commit()


def shop_of(event: Event) -> str:
    """What early chunks wait for: the copy of their shop."""
    return str(event.data["shop_id"])


HANDLERS: Final = (
    keep_copy("jishi.accounts.shop.changed.v1", "copy_shop", "shops"),
    Handler("jishi.orders.order.paid.v1", "sell_stock", load_reservation, decide_paid, apply_paid, entity=checkout_of),
    Handler(
        "jishi.orders.order.closed.v1",
        "return_stock",
        load_reservation,
        decide_closed,
        apply_closed,
        entity=checkout_of,
    ),
    Handler(
        "jishi.catalog.import.chunk_applied.v1",
        "count_categories",
        load_chunk,
        decide_chunk,
        apply_chunk,
        entity=shop_of,
    ),
    Handler(
        "jishi.catalog.import.completed.v1", "note_import", load_shop, decide_completed, apply_completed, entity=shop_of
    ),
)
TIMERS: Final = (Timer("reservations", expire),)
