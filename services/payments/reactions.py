"""What payments does when it hears of orders, disputes and shops, and when a payable's time has come."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from services.chassis import clock, commit
from services.chassis.commit import Cause, Transaction
from services.chassis.decisions import Change, Decision, Verdict, apply
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler, Timer, timer_on_document
from services.payments.model import (
    cases,
    deposits,
    escrow,
    granting,
    packets,
    payable,
    purse,
    repricing,
    settling,
    sharing,
)
from services.payments.model.plan import Books, Plan
from services.payments.store import FOLD_BATCH, Store
from services.payments.store.posting import fold_most, post
from services.payments.store.terms import collecting_terms, settlement_terms

Planner = Callable[[Books, Mapping[str, Any]], Plan | Decision]
Teller = Callable[[Database, Event], Mapping[str, Any]]


def _books(database: Database, event: Event) -> Books:
    """The payable; for a case or a refund of a settled order also the shop's balances and waiting credits."""
    store = Store(database)
    found = store.payable(event.data["checkout_id"])
    takes = "case_id" in event.data or "refund_id" in event.data
    if not takes or not cases.needs_shop(found, event.data["order_id"]):
        return Books(found)
    shop_id = event.data["shop_id"]
    # What is pending or frozen first, then the credits: what matures in between is a credit then, or moves the row that is taken from. One that is folded in between changes the shop's version, and the write is decided again.
    pending, sharing_row = store.pending(event.data["order_id"]), store.sharing(event.data["order_id"])
    waiting = store.waiting_credits(shop_id)
    return Books(found, store.shop(shop_id), waiting, pending, sharing_row)


def _as_told(_database: Database, event: Event) -> Mapping[str, Any]:
    return event.data


def _on_books(event_type: str, name: str, planner: Planner, told: Teller = _as_told) -> Handler:
    """A handler whose effect is a plan over the books, written in one transaction with the delivery's ``handled`` row.

    ``told(database, event)``: the fact as the planner is to see it, where it lacks terms that are ours.
    """

    def decide(books: Books, event: Event) -> Decision:
        plan = planner(books, event.data)
        return plan if isinstance(plan, Decision) else apply()

    def write(delivery: Delivery, books: Books, _decision: Decision) -> None:
        store, event = Store(delivery.database), delivery.event
        if len(books.credits) == FOLD_BATCH:
            fold_most(store, event.data["shop_id"])
            raise commit.Shortfall  # more credits waited than one look shows: decide again with all of them
        plan = planner(books, told(delivery.database, event))
        if isinstance(plan, Plan):
            first = Transaction(store.client).handled(delivery.database, delivery.row_id, waited=delivery.waited)
            post(store, plan, books, delivery.cause, first)

    return Handler(event_type, name, _books, decide, write, entity=lambda event: str(event.data["checkout_id"]))


def _load_shop(database: Database, event: Event) -> Document | None:
    return Store(database).shop(event.data["shop_id"])


def _decide_shop(shop: Document | None, event: Event) -> Decision:
    if shop is None:
        return apply()
    changed = purse.shop_changed(shop, event.data, event.sequence)
    return apply(changed) if isinstance(changed, Change) else changed


def _keep_shop(delivery: Delivery, shop: Document | None, _decision: Decision) -> None:
    rows, event = Store(delivery.database).shops, delivery.event
    if shop is None:
        commit.create(rows, purse.new_shop(event.data, event.sequence), delivery.cause)
        return

    def again(found: Document) -> Change | None:
        decision = _decide_shop(found, event)
        return decision.change if decision.verdict is Verdict.APPLY else None

    commit.change(rows, shop["_id"], delivery.cause, again, fetch=False)


def _follow_price(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    return repricing.order_repriced(books, data, clock.wall_ms())


def _payable_due(document: Document, now: datetime) -> Change | None:
    return payable.on_timer(document, now, clock.wall_ms())


def _mature(database: Database, document: Document, now: datetime, cause: Cause) -> None:
    plan = settling.matured(document, now)
    if isinstance(plan, Plan):
        post(Store(database), plan, Books(None), cause)


def _top_up_due(database: Database, document: Document, now: datetime, cause: Cause) -> None:
    store, shop_id = Store(database), document["_id"]
    fold_most(store, shop_id)
    waiting, shop = store.waiting_credits(shop_id), store.shop(shop_id)
    plan = deposits.due(shop, waiting, now) if shop is not None else None
    if shop is not None and isinstance(plan, Plan):
        post(store, plan, Books(None, shop, waiting), cause)


def _expire(database: Database, document: Document, now: datetime, cause: Cause) -> None:
    store = Store(database)
    wallet = store.wallets.find_one({"_id": document["giver"]}) if document.get("giver") else None
    plan = packets.expired(document, now, wallet)
    if isinstance(plan, Plan):
        post(store, plan, Books(None), cause)


def _unfreeze(database: Database, document: Document, now: datetime, cause: Cause) -> None:
    store, plan = Store(database), sharing.on_timer(document, now)
    if isinstance(plan, Plan):
        post(store, plan, Books(store.payable(document["checkout_id"])), cause)


HANDLERS: Final = (
    Handler(
        "jishi.accounts.shop.changed.v1",
        "keep_shop",
        _load_shop,
        _decide_shop,
        _keep_shop,
        entity=lambda event: str(event.data["shop_id"]),
    ),
    _on_books("jishi.orders.order.closed.v1", "refund_closed_order", escrow.order_closed),
    _on_books(
        "jishi.orders.order.payment_rejected.v1",
        "refund_rejected_share",
        escrow.payment_rejected,
        told=collecting_terms,
    ),
    _on_books("jishi.orders.order.completed.v1", "settle_order", escrow.order_completed, told=settlement_terms),
    _on_books("jishi.orders.order.refund_granted.v1", "refund_line", granting.granted),
    _on_books("jishi.orders.order.repriced.v1", "follow_price", _follow_price),
    _on_books("jishi.disputes.case.opened.v1", "hold_for_case", cases.opened),
    _on_books("jishi.disputes.case.ruled.v1", "refund_ruling", cases.ruled),
    _on_books("jishi.disputes.case.closed.v1", "release_hold", cases.closed),
)
TIMERS: Final = (
    timer_on_document("payables", _payable_due),
    Timer(settling.ROWS, _mature),
    Timer("shops", _top_up_due),
    Timer(packets.ROWS, _expire),
    Timer(sharing.ROWS, _unfreeze),
)
