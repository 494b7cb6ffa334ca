"""What merchants take off the price of orders that are not paid yet."""

from collections.abc import Sequence
from typing import Any

from services.chassis import clock, commit, together
from services.chassis.commit import Cause, Outcome, Transaction
from services.chassis.errors import invalid, not_found
from services.orders.commands.lifecycle import change_order
from services.orders.model import pricing
from services.orders.model.states import Actor, Step, sees
from services.orders.store import Store


def change_price(
    store: Store, cause: Cause, actor: Actor, order_id: str, goods: int | None, freight: int | None
) -> Outcome:
    """Another price for an unpaid order (fen). Answer: {order_id, amount, goods_amount, freight, price_revision}.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE.
    """
    return change_order(
        store, cause, actor, order_id, lambda found, step: pricing.change_price(found, step, goods, freight)
    )


def merge_shipping(store: Store, cause: Cause, actor: Actor, order_ids: Sequence[str]) -> tuple[list[Any], bool]:
    """Unpaid orders that travel together: ([{order_id, amount, saved}], whether it was done before); all of it in one transaction.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, WRONG_STATE.
    """
    if not 2 <= len(order_ids) <= pricing.MERGED_MOST or len(set(order_ids)) != len(order_ids):
        raise invalid("order_ids", f"name 2 to {pricing.MERGED_MOST} orders, each once")

    def attempt() -> tuple[list[Any], bool]:
        before = commit.answered(store.database, cause)
        if before is not None:
            return before["orders"], True
        known = together.find(store.orders, list(order_ids))
        for order_id in order_ids:
            if order_id not in known or not sees(known[order_id], actor):
                raise not_found("order", order_id)
        orders = [known[order_id] for order_id in order_ids]
        changes = pricing.merge(orders, Step(clock.business(), actor))
        transaction = Transaction(store.database.client)
        told = []
        for found, change in zip(orders, changes, strict=True):
            told.append(
                {
                    "order_id": found["_id"],
                    "amount": change.answer["amount"],
                    "saved": found["amount"] - change.answer["amount"],
                }
            )
            if change.set:
                transaction.change(store.orders, found, change, cause.part(found["_id"]))
        transaction.answer(store.database, cause, {"orders": told}).commit()
        return told, False

    return commit.settled("these orders", attempt)
