"""What buyers and merchants do to an order that is there."""

from collections.abc import Callable

from services.chassis import clock, commit
from services.chassis.commit import Cause, Outcome
from services.chassis.decisions import Change
from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.orders.model import order
from services.orders.model.states import Actor, Step, sees
from services.orders.store import Store

Decide = Callable[[Document, Step], Change | None]


def cancel(store: Store, cause: Cause, actor: Actor, order_id: str, reason: str, code: str = "") -> Outcome:
    """End an order before anything of it is sent. Answer: {order_id, state, closed_at, refund_amount (minor units)}.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE.
    """
    return change_order(store, cause, actor, order_id, lambda found, step: order.cancel(found, step, reason, code))


def confirm(store: Store, cause: Cause, actor: Actor, order_id: str) -> Outcome:
    """The buyer has the goods. Answer: {order_id, state, completed_at}. Raises Refusal as ``cancel``."""
    return change_order(store, cause, actor, order_id, order.confirm)


def extend(store: Store, cause: Cause, actor: Actor, order_id: str) -> Outcome:
    """More time for the buyer, once. Answer: {order_id, auto_confirm_at}. Raises Refusal as ``cancel``, CONDITION_UNMET."""
    return change_order(store, cause, actor, order_id, order.extend)


def change_order(store: Store, cause: Cause, actor: Actor, order_id: str, decide: Decide) -> Outcome:
    """One conditional write of what ``decide(order, step)`` asks for, once it is known that the order is the actor's.

    Raises Refusal NOT_FOUND, and what ``decide`` raises.
    """
    step = Step(clock.business(), actor)

    def owned(found: Document) -> Change | None:
        if not sees(found, actor):
            raise not_found("order", order_id)
        return decide(found, step)

    return commit.change(store.orders, order_id, cause, owned, kind="order", fetch=False)
