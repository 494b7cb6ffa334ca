"""A shop wants its money at its bank."""

from collections.abc import Mapping
from typing import Any

from services.chassis import calendar, clock, commit, ids, policy
from services.chassis.commit import Cause
from services.chassis.mongo import Document
from services.payments.model import withdrawals
from services.payments.model.plan import Books
from services.payments.store import Store
from services.payments.store.posting import own_books, post


def limits() -> withdrawals.Limits:
    """What the policy in force allows."""
    rules, now = policy.load("payments"), clock.business()
    names = ("withdrawal_least", "withdrawal_most", "withdrawal_day_most", "withdrawal_fee")
    least, most, day_most, fee = (rules.value(name, now) for name in names)
    return withdrawals.Limits(least, most, day_most, fee, {"withdrawal_fee": rules.version("withdrawal_fee", now)})


def request_withdrawal(store: Store, cause: Cause, shop_id: str, asked: Mapping[str, Any]) -> tuple[Document, bool]:
    """Take ``amount`` (minor units) from available and send it to ``account``: the row, and whether it was there before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, WRONG_STATE, INSUFFICIENT_FUNDS, CONDITION_UNMET, IDEMPOTENCY_KEY_REUSED.
    """
    account = withdrawals.checked_account(asked.get("account", {}))
    row = {"_id": ids.derived_id("wdr", cause.id), "amount": asked["amount"], "account": account}

    def attempt() -> tuple[Document, bool]:
        known = store.withdrawals.find_one({"_id": row["_id"]})
        if known is not None:
            return commit.created_before(known, cause).document, True
        shop, waiting = own_books(store, shop_id)
        # Read after the shop: whoever withdraws meanwhile moves its version, and this is decided again.
        today = store.withdrawn_since(shop_id, calendar.day_start(clock.business()))
        plan = withdrawals.request(shop, waiting, row, limits(), clock.wall_ms(), today=today)
        post(store, plan, Books(None, shop, waiting), cause)
        written = store.withdrawals.find_one({"_id": row["_id"]})
        return written or dict(plan.rows[0].document), False

    return commit.settled(f"the balance of shop {shop_id}", attempt)
