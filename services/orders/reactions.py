"""What orders does when it hears of a fact, or a deadline passes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from services.chassis import clock, commit, together
from services.chassis.commit import Cause, Shortfall, Transaction
from services.chassis.decisions import DONE, STALE, Change, Decision, Verdict
from services.chassis.decisions import apply as apply_decision
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler, Timer, timer_on_document
from services.orders.model import checkout, events, facts, order, pricing
from services.orders.model.states import CATALOG, DISPUTES, ORDERS, PAYMENTS, Actor, Order, Step
from services.orders.store.checkouts import Checkouts
from services.orders.store.placing import KEPT

Decide = Callable[[Order | None, Mapping[str, Any], Step], Decision]


def checkout_of(event: Event) -> str:
    """What early events wait for: all events of one checkout wake each other, since its payment comes for all of its orders."""
    return str(event.data["checkout_id"])


def step_of(event: Event, actor: Actor) -> Step:
    """When and by which event; the moment is only written down, never decided by."""
    return Step(clock.business(), actor, event.id)


def on_order(event_type: str, name: str, actor: Actor, decide: Decide) -> Handler:
    """A handler whose whole effect is the order that the event names: one read, one conditional write."""

    def load(database: Database, event: Event) -> Document | None:
        return database["orders"].find_one({"_id": event.data["order_id"]})

    def asked(state: Order | None, event: Event) -> Decision:
        return decide(state, event.data, step_of(event, actor))

    def apply(delivery: Delivery, state: Document, decision: Decision) -> None:
        if decision.change is None or not commit.write(
            delivery.database["orders"], state, decision.change, delivery.cause
        ):
            raise Shortfall

    return Handler(event_type, name, load, asked, apply, entity=checkout_of)


# ----------------------------------------------------------------------------------------------------------------- payments


def load_paid(database: Database, event: Event) -> dict[str, Document]:
    """The orders that a payment pays for, by id."""
    wanted = [share["order_id"] for share in event.data["shares"]]
    return together.find(database["orders"], wanted)


def decide_paid(orders: Mapping[str, Order], event: Event) -> Decision:
    """payment.succeeded: see ``events.all_paid``."""
    return events.all_paid(orders, event.data, step_of(event, PAYMENTS))


def apply_paid(delivery: Delivery, orders: Mapping[str, Document], _decision: Decision) -> None:
    """Every child takes its share or rejects it with an event of its own: one order in one write, several in one transaction."""
    rows, data = delivery.database["orders"], delivery.event.data
    step = step_of(delivery.event, PAYMENTS)
    decisions = [
        (share["order_id"], events.paid(orders.get(share["order_id"]), share, data, step)) for share in data["shares"]
    ]
    changes = [
        (orders[order_id], decision.change)
        for order_id, decision in decisions
        if decision.verdict is Verdict.APPLY and decision.change is not None
    ]
    transaction = Transaction(delivery.database.client)
    for found, change in changes:
        transaction.change(rows, found, change, delivery.cause, by_letter=True)
    if len(data["shares"]) > 1:  # one order remembers by itself what was applied to it
        transaction.handled(delivery.database, delivery.row_id, waited=delivery.waited)
    together.commit(transaction)


# ------------------------------------------------------------------------------------------------------------------- prices


def load_carried(database: Database, event: Event) -> dict[str, Document]:
    """The orders whose freight the closed one paid, by id."""
    return together.find(database["orders"], list(event.data["carries"]))


def _uncarried(orders: Mapping[str, Order], event: Event) -> Sequence[tuple[Order, Change]]:
    found = [orders[order_id] for order_id in event.data["carries"] if order_id in orders]
    return pricing.uncarried(found, event.data["order_id"], step_of(event, ORDERS))


def decide_carried(orders: Mapping[str, Order], event: Event) -> Decision:
    """order.carrier_closed: see ``pricing.uncarried``."""
    if not orders:
        return STALE
    return apply_decision() if _uncarried(orders, event) else DONE


def apply_carried(delivery: Delivery, orders: Mapping[str, Document], _decision: Decision) -> None:
    """All of them in one transaction: none is to travel with an order that closed."""
    rows, transaction = delivery.database["orders"], Transaction(delivery.database.client)
    for found, change in _uncarried(orders, delivery.event):
        if change.set:
            transaction.change(rows, dict(found), change, delivery.cause)
    transaction.handled(delivery.database, delivery.row_id, waited=delivery.waited).commit()


# ------------------------------------------------------------------------------------------------------------------ placing


def give_up(database: Database, row: Document, _now: datetime, cause: Cause) -> None:
    """Of the checkouts whose placing began together: those that did not come to be are abandoned, and what they may hold comes back.

    Each is written under the command that wanted it, so that a repetition hears of it, and once however often this runs.
    """
    checkouts = Checkouts(database)
    known = checkouts.found(placing["_id"] for placing in row["placings"])
    for placing in row["placings"]:
        if placing["_id"] not in known:
            asked = Cause(placing["created_by"], placing["created_hash"])
            told = (facts.released(placing["_id"], "abandoned"),)
            checkouts.end({**placing, **checkout.abandoned()}, asked, told)
    commit.change(
        database["placings"],
        row["_id"],
        cause,
        lambda _: Change(set={"expire_at": clock.wall() + KEPT}, due=None),
        fetch=False,
    )


HANDLERS: Final = (
    Handler(
        "jishi.payments.payment.succeeded.v1", "take_payment", load_paid, decide_paid, apply_paid, entity=checkout_of
    ),
    Handler("jishi.orders.order.carrier_closed.v1", "uncarry_freight", load_carried, decide_carried, apply_carried),
    on_order("jishi.payments.refund.succeeded.v1", "note_refund", PAYMENTS, events.refunded),
    on_order("jishi.catalog.reservation.failed.v1", "close_without_stock", CATALOG, events.ran_out),
    on_order("jishi.disputes.case.opened.v1", "enter_dispute", DISPUTES, events.case_opened),
    on_order("jishi.disputes.case.closed.v1", "leave_dispute", DISPUTES, events.case_closed),
)
TIMERS: Final = (timer_on_document("orders", order.overdue), Timer("placings", give_up))
