"""What the catalog does when it hears of a fact, a reservation outlives its checkout, or the time of a publish has come."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from services.catalog.model import feeding, fetches, shelves, stock, viewing, windows
from services.catalog.model.chunks import decide_counted
from services.catalog.model.imports import decide_import_noted
from services.catalog.store import SERVICE, Store
from services.catalog.store import reserving as writes
from services.catalog.store.viewing import count as count_views
from services.catalog.store.viewing import count_products as count_product_views
from services.chassis import clock, commit, policy, together
from services.chassis.commit import Cause, Taken, Transaction
from services.chassis.decisions import Change, Decision, Fact
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler, Timer, keep_copy, timer_on_document

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
    wanted, units = stock.summed(lines), windows.units_wanted(lines)
    transaction = Transaction(store.client)
    if reservation is None or delivery.waited:  # else the part of the reservation itself tells that it was done
        transaction.handled(delivery.database, delivery.row_id, waited=delivery.waited)
    if not held and _short(store, stock.needs(lines)):
        told = {"checkout_id": data["checkout_id"], "order_id": data["order_id"], "reason": "out_of_stock"}
        fact = Fact("jishi.catalog.reservation.failed.v1", told, data["order_id"])
        _end_part(store, transaction, delivery, reservation, stock.FAILED, (fact,))
        transaction.commit()
        return
    _end_part(store, transaction, delivery, reservation, stock.SOLD)
    for sku_id, quantity in sorted(wanted.items()):
        take = writes.sell_reserved if held else writes.sell_available
        take(store, transaction, sku_id, quantity)
    for unit, quantity in sorted(units.items() if not held else ()):
        writes.take_units(store, transaction, unit, quantity)
    if reservation is not None and not held:
        writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.TAKE_ANYWAY)
    sold = [{**move, "ref": data["order_id"], "shop_id": shop_id} for move in _moves(wanted, -1)]
    if sold:  # a presale takes nothing from stock
        transaction.gather(store.movements, {"kind": "sold", "at": clock.business()}, "movements", sold)
    together.commit(transaction)


def _short(store: Store, wanted: Mapping[str, int]) -> bool:
    left = store.left_of(wanted)
    return any(left.get(key, 0) < quantity for key, quantity in wanted.items())


def decide_closed(reservation: Document | None, event: Event) -> Decision:
    """See ``stock.decide_closed``."""
    return stock.decide_closed(reservation, event.data["shop_id"], was_paid=event.data["was_paid"])


def apply_closed(delivery: Delivery, reservation: Document | None, _decision: Decision) -> None:
    """Held lines are available again, sold ones are on hand again; a checkout without reservation may not reserve any more."""
    store, data, shop_id = Store(delivery.database), delivery.event.data, delivery.event.data["shop_id"]
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    if reservation is not None and data["was_paid"]:
        lines = stock.coming_back(reservation, shop_id, data["lines"])
        _end_part(store, transaction, delivery, reservation, stock.RETURNED, also=stock.with_back(reservation, lines))
        _bring_back(store, transaction, reservation, lines, data["order_id"], data)
    elif reservation is not None and (shops := stock.held_by(reservation, shop_id)):
        _let_go(store, transaction, reservation, shops, delivery.cause)
    else:
        _end_part(store, transaction, delivery, reservation, stock.RELEASED)
    transaction.commit()


def decide_returned(reservation: Document | None, event: Event) -> Decision:
    """See ``stock.decide_returned``."""
    return stock.decide_returned(reservation, event.data["shop_id"], event.data["return_id"])


def apply_returned(delivery: Delivery, reservation: Document, _decision: Decision) -> None:
    """Units of an order that goes on are on hand again; the reservation remembers with which refund."""
    store, data = Store(delivery.database), delivery.event.data
    lines = stock.coming_back(reservation, data["shop_id"], data["lines"])
    known = [*reservation.get("returns", ()), data["return_id"]]
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    change = Change(set={"returns": known, **stock.with_back(reservation, lines)})
    transaction.change(store.reservations, reservation, change, delivery.cause)
    _bring_back(store, transaction, reservation, lines, data["return_id"], data)
    transaction.commit()


def _bring_back(
    store: Store,
    transaction: Transaction,
    reservation: Document,
    lines: Sequence[Mapping[str, Any]],
    name: str,
    data: Mapping[str, Any],
) -> None:
    """What was sold is there to be bought again; one movement row under ``name``."""
    wanted = stock.summed(lines)
    for sku_id, quantity in sorted(wanted.items()):
        writes.take_back(store, transaction, sku_id, quantity)
    _give_back(store, transaction, lines)
    writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.GIVE_BACK)
    transaction.insert(store.movements, _returned(name, data, wanted))


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
    _give_back(store, transaction, lines)
    writes.count_purchases(store, transaction, reservation, lines, writes.Purchase.GIVE_BACK)


def _give_back(store: Store, transaction: Transaction, lines: Sequence[Mapping[str, Any]]) -> None:
    for unit, quantity in sorted(windows.units_wanted(lines).items()):
        writes.give_units(store, transaction, unit, quantity)


def _end_part(
    store: Store,
    transaction: Transaction,
    delivery: Delivery,
    reservation: Document | None,
    part: str,
    facts: tuple[Fact, ...] = (),
    *,
    also: Mapping[str, Any] | None = None,
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
        Change(set={f"parts.{shop_id}": part, **(also or {})}, facts=facts, **_timer(left)),
        delivery.cause,
    )


def _timer(held: list[str]) -> dict[str, Any]:
    return {} if held else {"due": None}


def _returned(name: str, data: Mapping[str, Any], wanted: Mapping[str, int]) -> Document:
    """One row for all SKUs of an order, under an id that follows from its cause, kept for ever."""
    return {
        "_id": f"returned:{name}",
        "shop_id": data["shop_id"],
        "kind": "returned",
        "ref": data["order_id"],
        "movements": _moves(wanted, 1),
        "at": clock.business(),
    }


def _moves(wanted: Mapping[str, int], sign: int) -> list[Document]:
    return [{"sku_id": sku_id, "delta": sign * quantity} for sku_id, quantity in wanted.items()]


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
    """See ``imports.decide_import_noted``."""
    return decide_import_noted(shop, event.data)


def apply_completed(delivery: Delivery, _shop: Document | None, _decision: Decision) -> None:
    """The shop remembers when its catalog was last brought up to date."""
    store, data = Store(delivery.database), delivery.event.data
    noted = {"import_id": data["import_id"], "at": data["end_time"]}
    older = {"$or": [{"last_import": None}, {"last_import.at": {"$lt": data["end_time"]}}]}
    transaction = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
    transaction.update(store.shops, {"_id": data["shop_id"], **older}, {"$set": {"last_import": noted}}).commit()


def load_fetching(database: Database, event: Event) -> dict[str, Document | None]:
    """The import, and the work on its pictures."""
    import_id = event.data["import_id"]
    return {
        "import": database["imports"].find_one({"_id": import_id}),
        "fetching": database["image_fetches"].find_one({"_id": import_id}),
    }


def decide_fetching(found: Mapping[str, Any], event: Event) -> Decision:
    """See ``fetches.decide_wanted``."""
    return fetches.decide_wanted(found, event.data)


def apply_fetching(delivery: Delivery, found: Mapping[str, Any], _decision: Decision) -> None:
    """The work begins, once: its id is the import's."""
    job = found["import"]
    row = fetches.begun(job["_id"], job["shop_id"], clock.wall_ms())
    with contextlib.suppress(Taken):
        commit.create(delivery.database["image_fetches"], row, delivery.cause, natural=True)


def load_feed(database: Database, event: Event) -> dict[str, Document | None]:
    """The row of the feed that the event came to, and the copy of its shop."""
    return {
        "row": database["search_feed"].find_one({"_id": event.id}, {"at": 1}),
        "shop": database["shops"].find_one({"_id": event.data["shop_id"]}, {"sequence": 1}),
    }


def decide_feed(found: Mapping[str, Any], event: Event) -> Decision:
    """See ``feeding.decide_row``."""
    return feeding.decide_row(found, event.type, event.sequence)


def apply_feed(delivery: Delivery, _found: Mapping[str, Any], _decision: Decision) -> None:
    """The search index of every machine reads it; of the products that it names those that are milestones of lists are so as they are now."""
    event, store = delivery.event, Store(delivery.database)
    row = feeding.row(event.type, event.data, clock.wall())
    store.milestones.note(row["product_ids"])
    row |= {"_id": event.id, "at": clock.wall_ms()}
    transaction = Transaction(store.client)
    if delivery.waited:  # else the row itself tells that it was done
        transaction.handled(delivery.database, delivery.row_id, waited=True)
    transaction.insert(store.search_feed, row).commit()


def shop_of(event: Event) -> str:
    """What early chunks wait for: the copy of their shop."""
    return str(event.data["shop_id"])


# -------------------------------------------------------------------------------------------------------------------- views


def load_batch(database: Database, event: Event) -> Document | None:
    """The batch of views."""
    return database["view_batches"].find_one({"_id": event.data["batch_id"]})


def decide_views(batch: Document | None, _event: Event) -> Decision:
    """See ``viewing.decide_recorded``."""
    return viewing.decide_recorded(batch)


def apply_views(delivery: Delivery, batch: Document, _decision: Decision) -> None:
    """The days of shops and products gain what the batch says, once: the batch remembers that it was counted, and may go some days later."""
    database, data = delivery.database, delivery.event.data
    rules, now = policy.load(SERVICE), clock.business()
    batch_kept, kept = rules.value("view_batch", now)["kept_s"], rules.value("view_days", now)
    sets_end, counts_end = (
        clock.wall() + timedelta(seconds=kept[name]) for name in ("visitors_kept_s", "products_kept_s")
    )
    counted = {"counted": True, "expire_at": clock.wall() + timedelta(seconds=batch_kept)}
    transaction = Transaction(database.client)
    if delivery.waited:  # else the batch itself tells that it was counted, and a row a second is spared
        transaction.handled(database, delivery.row_id, waited=True)
    transaction.change(database["view_batches"], batch, Change(set=counted), delivery.cause)
    count_views(database, transaction, data["day"], data["views"], sets_end)
    count_product_views(database, transaction, data["day"], data["views"], (counts_end, sets_end))
    transaction.commit()


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
        "jishi.orders.order.goods_returned.v1",
        "return_units",
        load_reservation,
        decide_returned,
        apply_returned,
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
    Handler("jishi.catalog.import.completed.v1", "fetch_images", load_fetching, decide_fetching, apply_fetching),
    Handler("jishi.catalog.views.recorded.v1", "count_views", load_batch, decide_views, apply_views),
    Handler("jishi.catalog.import.chunk_applied.v1", "feed_chunk", load_feed, decide_feed, apply_feed),
    Handler("jishi.catalog.product.moved.v1", "feed_product", load_feed, decide_feed, apply_feed),
    Handler("jishi.accounts.shop.changed.v1", "feed_shop", load_feed, decide_feed, apply_feed, entity=shop_of),
)
TIMERS: Final = (Timer("reservations", expire), timer_on_document("shelves", shelves.decide_publish))
