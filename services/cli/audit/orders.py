"""Orders: their states and amounts, their payments and refunds as payments knows them, and their disputes as disputes knows them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.chassis.mongo import Database, Document
from services.cli.audit.report import Finding, Wrong, compared
from services.cli.audit.world import Check, World, batches, by_id, scan
from services.disputes import model as disputes
from services.orders.model import parcels, pricing
from services.orders.model.deadlines import next_due
from services.orders.model.order import TIMELINE_KEPT
from services.orders.model.states import TABLE, CheckoutState, Move, State
from services.orders.store.checkouts import BY_ID
from services.payments.model.payable import is_collected

MOVES: Final[Mapping[str, frozenset[Move]]] = {
    "paid": frozenset({Move.PAY}),
    "shipped": frozenset({Move.SHIP}),
    "completed": frozenset({Move.CONFIRM, Move.AUTO_CONFIRM, Move.USED}),
    "closed": frozenset({Move.CANCEL, Move.EXPIRE, Move.RUN_OUT, Move.MISS, Move.REFUND, Move.LAPSE, Move.UNDELIVERED}),
}
"""Lines of the timeline that change the state, and by which moves they may."""
WAITED_BY: Final = (
    *("state", "in_dispute", "pay_by", "ship_by", "late_shipment", "first_sent_at", "auto_confirm_at", "terms"),
    *("vouchers_until", "redemptions", "parcels.script", "parcels.lines", "lines.fulfilment", "lines.quantity"),
    *("lines.ship_by", "lines.amount", "lines.freight", "lines.freight_discount"),
    *("line_refunds.line", "line_refunds.quantity", "refunds.cause", "refunds.amount", "voided"),
)
"""What of an order tells when time moves it."""


# ---------------------------------------------------------------------------------------------------------------------- states


def states(world: World) -> Iterator[Finding]:
    """Every order came to its state by moves of the transition table, each made by one who may make it."""
    for order in scan(world.database("orders"), "orders", ("state", "timeline")):
        yield compared(f"order {order['_id']}", order["state"], reached(order["timeline"]))


def reached(timeline: list[Mapping[str, Any]]) -> str:
    """The state that a timeline leads to by the table; what is wrong with it, where it does not."""
    state = State.AWAITING_PAYMENT
    is_cut = len(timeline) >= TIMELINE_KEPT
    for line in timeline[1:] if is_cut else timeline:
        moves = MOVES.get(line["action"], frozenset())
        found = [
            row
            for row in TABLE
            if row.move in moves and line["actor"] in row.actors and (is_cut or row.source is state)
        ]
        if moves and not found:
            return f"{line['action']} by {line['actor']} from {state}"
        state = found[0].target if found else state
    return state.value


def timers(world: World) -> Iterator[Finding]:
    """Every order that time must move on has its timer set."""
    for order in scan(world.database("orders"), "orders", (*WAITED_BY, "due_at")):
        if next_due(order) is not None:
            subject = f"order {order['_id']} ({order['state']})"
            yield compared(subject, "a timer", "a timer" if order.get("due_at") else "none")


def sent(world: World) -> Iterator[Finding]:
    """Every order: no more of a line in its parcels than was bought; of one that was shipped nothing is left to send."""
    fields = ("lines", "parcels", "shipped_at", "line_refunds")
    for order in scan(world.database("orders"), "orders", fields, {"parcels.0": {"$exists": True}}):
        subject = f"order {order['_id']}"
        numbers = [parcel["parcel"] for parcel in order["parcels"]]
        yield compared(f"parcels of {subject}", list(range(1, len(numbers) + 1)), numbers)
        packed = dict.fromkeys(range(1, len(order["lines"]) + 1), 0)
        for line in (line for parcel in order["parcels"] for line in parcel["lines"]):
            packed[line["line"]] = packed.get(line["line"], 0) + line["quantity"]
        most = [min(packed[number], line["quantity"]) for number, line in enumerate(order["lines"], 1)]
        yield compared(f"what was sent of {subject}", most, list(packed.values()))
        if order.get("shipped_at"):
            yield compared(f"what is left of {subject}", {}, parcels.left(order))


def vouchers(world: World) -> Iterator[Finding]:
    """Every order of vouchers: each code redeemed at most once, none that it does not have; completed only when one was."""
    fields = ("lines", "redemptions", "state", "vouchers_until")
    for order in scan(world.database("orders"), "orders", fields, {"vouchers_until": {"$exists": True}}):
        numbers = [row["voucher"] for row in order.get("redemptions", ())]
        bought = sum(line["quantity"] for line in order["lines"])
        known = sorted({number for number in numbers if 0 < number <= bought})
        yield compared(f"vouchers of order {order['_id']}", known, sorted(numbers))
        if order["state"] == State.COMPLETED and not numbers:
            yield Wrong(f"order {order['_id']}", "a redeemed voucher", "none")


# --------------------------------------------------------------------------------------------------------------------- amounts


def checkouts(world: World) -> Iterator[Finding]:
    """Every placed checkout: its shares are its orders as they were placed, and add up to its amount."""
    orders = world.database("orders")
    for batch in batches(_placed(orders)):
        query = {"checkout_id": {"$in": [row["_id"] for row in batch]}}
        children: dict[str, dict[str, int]] = {}
        for order in scan(orders, "orders", ("checkout_id", "amount", "discounts"), query):
            later = sum(row["amount"] for row in order["discounts"] if row["kind"] in pricing.LATER)
            children.setdefault(order["checkout_id"], {})[order["_id"]] = order["amount"] + later
        for row in batch:
            shares = {share["order_id"]: share["amount"] for share in row["shares"]}
            subject = f"checkout {row['_id']}"
            found = children.get(row["_id"], {})
            yield compared(subject, shares, found) or compared(subject, row["amount"], sum(found.values()))


def _placed(orders: Database) -> Iterator[Document]:
    """The placed checkouts, out of the rows of those that were placed together."""
    placed = {"checkouts.state": CheckoutState.PLACED.value}
    for row in scan(orders, "checkouts", ("checkouts._id", "checkouts.shares", "checkouts.amount"), placed):
        yield from row["checkouts"]


def origins(world: World) -> Iterator[Finding]:
    """Every order has the checkout by which it was placed."""
    orders = world.database("orders")
    for batch in batches(scan(orders, "orders", ("checkout_id",))):
        wanted = {"$in": list({order["checkout_id"] for order in batch})}
        rows = scan(orders, "checkouts", (BY_ID,), {BY_ID: wanted})
        known = {each["_id"] for row in rows for each in row["checkouts"]}
        for order in batch:
            there = order["checkout_id"] if order["checkout_id"] in known else "none"
            yield compared(f"checkout of order {order['_id']}", order["checkout_id"], there)


def payments(world: World) -> Iterator[Finding]:
    """Every order: paid in full or not at all, with exactly its share of the payable."""
    fields = ("checkout_id", "state", "amount", "paid")
    for batch in batches(scan(world.database("orders"), "orders", fields)):
        ids = [order["checkout_id"] for order in batch]
        known = by_id(world.database("payments"), "payables", ids, ("shares", "state"))
        for order in batch:
            payable = known.get(order["checkout_id"], {"shares": (), "state": "none"})
            mine = [share for share in payable["shares"] if share["order_id"] == order["_id"]]
            shares, taken = [share["amount"] for share in mine], [is_collected(share) for share in mine]
            subject = f"order {order['_id']}"
            if order["state"] in (State.PAID, State.SHIPPED, State.COMPLETED) or order["paid"]:
                is_paid = (order["paid"], taken, shares)
                yield compared(subject, (order["amount"], [True], [order["amount"]]), is_paid)
            else:
                yield compared(subject, [order["amount"]] if shares else [], shares)


def refunds(world: World) -> Iterator[Finding]:
    """Every order: the refunds it knows of = the refunds of it that succeeded in payments, and its sums say the same."""
    fields = ("refunds", "refunded", "returned", "rejected", "paid")
    for batch in batches(scan(world.database("orders"), "orders", fields)):
        query = {"order_id": {"$in": [order["_id"] for order in batch]}, "state": "succeeded"}
        given: dict[str, dict[str, int]] = {}
        for row in scan(world.database("payments"), "refunds", ("order_id", "amount"), query):
            given.setdefault(row["order_id"], {})[row["_id"]] = row["amount"]
        for order in batch:
            known = {row["refund_id"]: row["amount"] for row in order["refunds"]}
            subject = f"order {order['_id']}"
            told = order["refunded"] + order["returned"]
            yield (
                compared(subject, given.get(order["_id"], {}), known)
                or compared(subject, sum(known.values()), told)
                or (
                    Wrong(subject, f"at most {order['paid']} refunded", order["refunded"])
                    if order["refunded"] > order["paid"]
                    else None
                )
            )


# -------------------------------------------------------------------------------------------------------------------- disputes


def overlays(world: World) -> Iterator[Finding]:
    """Every order is in dispute exactly while a case of it is open, and knows of all its cases."""
    for batch in batches(scan(world.database("orders"), "orders", ("in_dispute", "cases", "state", "paid"))):
        query = {"order_id": {"$in": [order["_id"] for order in batch]}}
        known: dict[str, dict[str, bool]] = {}
        for case in scan(world.database("disputes"), "cases", ("order_id", "state"), query):
            known.setdefault(case["order_id"], {})[case["_id"]] = case["state"] not in disputes.CLOSED
        for order in batch:
            cases = known.get(order["_id"], {})
            told = {row["case_id"]: row.get("closed_at") is None for row in order["cases"]}
            subject = f"order {order['_id']}"
            if order["paid"]:  # a case of an order that never was paid is nothing to it
                yield compared(subject, cases, told) or compared(subject, any(cases.values()), order["in_dispute"])


def cases(world: World) -> Iterator[Finding]:
    """Every case came to its state by steps of its table, and what it says was refunded is what payments gave back for it."""
    for batch in batches(scan(world.database("disputes"), "cases", ("state", "timeline", "refunded", "order_id"))):
        query = {"order_id": {"$in": [case["order_id"] for case in batch]}, "state": "succeeded"}
        given: dict[str, int] = {}
        for row in scan(world.database("payments"), "refunds", ("case_id", "amount"), query):
            given[row["case_id"]] = given.get(row["case_id"], 0) + row["amount"]
        for case in batch:
            subject = f"case {case['_id']}"
            came_to = settled(case["timeline"])
            yield compared(subject, case["state"], came_to) or compared(
                subject, given.get(case["_id"], 0), case["refunded"]
            )


def settled(timeline: list[Mapping[str, Any]]) -> str:
    """The state that a case's timeline leads to by its table; what is wrong with it, where it does not."""
    state = disputes.State.WAIT_MERCHANT
    for line in timeline[1:]:
        target = disputes.State(line["state"])
        if target is not state and target not in disputes.TABLE.get((state, line["action"]), frozenset()):
            return f"{line['action']} from {state} to {target}"
        state = target
    return state.value


def known_cases(world: World) -> Iterator[Finding]:
    """Every case is known to payments under its order, closed there exactly when it is closed here."""
    for batch in batches(scan(world.database("disputes"), "cases", ("state", "checkout_id", "order_id"))):
        ids = [case["checkout_id"] for case in batch]
        payables = by_id(world.database("payments"), "payables", ids, ("cases",))
        for case in batch:
            known = payables.get(case["checkout_id"], {}).get("cases", {}).get(case["_id"])
            found = (known["order_id"], known["state"] == "closed") if known else "unknown to payments"
            yield compared(f"case {case['_id']}", (case["order_id"], case["state"] in disputes.CLOSED), found)


CHECKS: Final[tuple[Check, ...]] = (
    states,
    timers,
    sent,
    vouchers,
    checkouts,
    origins,
    payments,
    refunds,
    overlays,
    cases,
    known_cases,
)
