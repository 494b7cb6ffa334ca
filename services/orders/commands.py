"""What buyers and merchants ask orders to do."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome, Shortfall, Taken
from services.chassis.decisions import Change
from services.chassis.errors import REASONS, Refusal, not_found
from services.chassis.mongo import Document
from services.orders.model import amounts, checkout, order
from services.orders.model.checkout import Frozen
from services.orders.model.states import Actor, CheckoutState, Step, sees
from services.orders.store import Placed, Store, terms

FINAL: Final = frozenset({"FAILED_PRECONDITION", "NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS"})
"""gRPC codes of refusals that asking again does not change: placing ends with them. Others leave it to a retry."""
ID_TRIES: Final = 3


class Stock(Protocol):
    """What orders asks of catalog."""

    def reserve(self, placing: Document) -> Sequence[Mapping[str, Any]]:
        """Hold all lines of a checkout or none, idempotent by its id; answers the frozen lines. Raises Refusal."""
        ...


class Parties(Protocol):
    """What orders asks of accounts."""

    def describe(self, buyer_id: str, shop_ids: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Shops by id, and the buyer's openid by account id. Raises Refusal."""
        ...


def place(
    store: Store, stock: Stock, parties: Parties, cause: Cause, buyer_id: str, asked: Mapping[str, Any]
) -> Placed:
    """Place a checkout: ``asked`` {lines: [{product_id, sku_id, quantity}], address, notes}.

    The checkout is written first, so that a repetition finds it and goes on wherever this stopped: reserving and asking for the
    parties are idempotent, and one transaction makes the orders and ends the placing. Raises Refusal: INVALID_ARGUMENT, what
    catalog refuses with (OUT_OF_STOCK, NOT_FOR_SALE, BUY_LIMIT_REACHED; remembered, a repetition is refused the same),
    UNAVAILABLE (nothing is remembered, try again).
    """
    now = clock.business()
    rules = terms(now)
    wanted = checkout.opened(ids.new_id("chk"), buyer_id, asked, rules, now)
    outcome = commit.create(store.checkouts, wanted, cause, due=now + rules.placing_patience)
    if outcome.document["state"] != CheckoutState.PLACING:
        return _repeated(store, outcome.document)
    return _go_on(store, stock, parties, cause, outcome.document)


def _repeated(store: Store, found: Document) -> Placed:
    if found["state"] != CheckoutState.PLACED:
        raise checkout.ended(found)
    return Placed(found, store.orders_of(found["_id"]), replayed=True)


def _go_on(store: Store, stock: Stock, parties: Parties, cause: Cause, placing: Document) -> Placed:
    try:
        lines = stock.reserve(placing)
    except Refusal as refusal:
        return _refused(store, cause, placing, refusal, reserved=False)
    shops, openids = parties.describe(placing["buyer_id"], list(amounts.by_shop(lines)))
    frozen = Frozen(lines, shops, openids)
    problem = checkout.unsellable(frozen)
    if problem is not None:
        return _refused(store, cause, placing, problem, reserved=True)
    return _written(store, cause, placing, frozen)


def _written(store: Store, cause: Cause, placing: Document, frozen: Frozen) -> Placed:
    now = clock.business()
    rules = terms(placing["created_at"])
    for _ in range(ID_TRIES):
        order_ids = [ids.order_id() for _ in amounts.by_shop(frozen.lines)]
        orders = checkout.children(placing, frozen, rules, order_ids, now)
        change = checkout.placed(orders)
        try:
            inserted = store.place(placing, change, orders, cause)
        except Taken:  # an order id is another's: draw again
            continue
        except Shortfall:
            return _overtaken(store, cause, placing["_id"], reserved=True)
        return Placed({**placing, **change.set}, inserted)
    raise Refusal("UNAVAILABLE", "no free order number was found; try again", retry_after_s=1)


def _refused(store: Store, cause: Cause, placing: Document, refusal: Refusal, *, reserved: bool) -> Placed:
    """Remember a final refusal and raise it; a passing one is only raised."""
    if REASONS[refusal.reason].grpc not in FINAL:
        raise refusal
    change = checkout.refused(placing, refusal, reserved=reserved)
    if commit.write(store.checkouts, placing, change, cause.part("refused")):
        raise refusal
    return _overtaken(store, cause, placing["_id"], reserved=reserved)


def _overtaken(store: Store, cause: Cause, checkout_id: str, *, reserved: bool) -> Placed:
    """A repetition running beside this one, or the timer, ended the placing. What this one holds beyond that end is released."""
    found = store.checkout(checkout_id)
    if found is None or found["state"] == CheckoutState.PLACING:
        raise Refusal("STILL_RUNNING", "this checkout is being placed by another call; ask again", retry_after_s=1)
    if reserved and found["state"] != CheckoutState.PLACED:
        commit.change(store.checkouts, checkout_id, cause.part("let-go"), checkout.let_go, fetch=False)
    return _repeated(store, found)


# --------------------------------------------------------------------------------------------------------------- life cycle


def cancel(store: Store, cause: Cause, actor: Actor, order_id: str, reason: str) -> Outcome:
    """End an order before it is shipped. Answer: {order_id, state, closed_at, refund_amount (minor units)}.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE.
    """
    return _changed(store, cause, actor, order_id, lambda found, step: order.cancel(found, step, reason))


def ship(store: Store, cause: Cause, actor: Actor, order_id: str, parcel: Mapping[str, Any]) -> Outcome:
    """The merchant sent the goods. Answer: {order_id, state, shipped_at, auto_confirm_at}. Raises Refusal as ``cancel``."""
    return _changed(store, cause, actor, order_id, lambda found, step: order.ship(found, step, parcel))


def confirm(store: Store, cause: Cause, actor: Actor, order_id: str) -> Outcome:
    """The buyer has the goods. Answer: {order_id, state, completed_at}. Raises Refusal as ``cancel``."""
    return _changed(store, cause, actor, order_id, order.confirm)


def _changed(store: Store, cause: Cause, actor: Actor, order_id: str, decide: Any) -> Outcome:
    """Ask ``decide(order, step)`` for the change, once it is known that the order is the actor's."""
    step = Step(clock.business(), actor)

    def owned(found: Document) -> Change:
        if not sees(found, actor):
            raise not_found("order", order_id)
        wanted: Change = decide(found, step)
        return wanted

    return commit.change(store.orders, order_id, cause, owned, kind="order", fetch=False)
