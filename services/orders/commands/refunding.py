"""What a merchant gives back without a dispute."""

from collections.abc import Mapping
from typing import Any

from services.chassis.commit import Cause, Outcome
from services.orders.commands.lifecycle import change_order
from services.orders.model import refunding
from services.orders.model.states import Actor
from services.orders.store import Store


def refund_line(store: Store, cause: Cause, actor: Actor, asked: Mapping[str, Any]) -> Outcome:
    """``asked`` {order_id, line (from 1), quantity, amount (minor units, absent: by quantity), reason, restock (absent: what was not sent)}.

    Answer: {order_id, refund_id, amount, left, restocked}. Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE, CONDITION_UNMET.
    """
    found = store.order(asked["order_id"])
    siblings = store.count_orders_of(found["checkout_id"]) if found is not None else 1
    wanted = (asked["line"], asked["quantity"], asked.get("amount"), asked["reason"])
    return change_order(
        store,
        cause,
        actor,
        asked["order_id"],
        lambda found, step: refunding.grant(found, step, *wanted, restock=asked.get("restock"), siblings=siblings),
    )
