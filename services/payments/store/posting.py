"""How a plan is written: everything it does in one transaction, each part guarded by a version or an id derived from its cause."""

import random
import time
from datetime import timedelta
from typing import Final

from services.chassis import clock, commit, policy, together
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Decision
from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.payments.model import purse
from services.payments.model import refund as refunds
from services.payments.model.payable import Success, collect
from services.payments.model.plan import Books, Plan
from services.payments.store import FOLD_BATCH, FOLDED_KEPT_S, Store

PATIENCE_S: Final = 5.0


def post(store: Store, plan: Plan, books: Books, cause: Cause, transaction: Transaction | None = None) -> None:
    """Write ``plan``, which was made from ``books``; ``transaction`` may hold first writes (the delivery's ``handled`` row).

    Raises Shortfall or Taken when another writer was faster, or the cause was applied before: read and decide again.
    """
    writing = transaction or Transaction(store.client)
    if plan.payable is not None and books.payable is not None:
        writing.change(store.payables, dict(books.payable), plan.payable, cause)
    if plan.shop is not None and books.shop is not None:
        writing.change(store.shops, dict(books.shop), plan.shop, cause)
    now, wall = clock.business(), clock.wall_ms()
    for entry in plan.entries:
        written = {"cause": cause.id, "causation": cause.causation, "hash": cause.hash, "posted_at": now}
        writing.insert(store.entries, {**entry.document(), **written})
    for refund in plan.refunds:
        document, facts = refunds.row(refund, now, wall)
        writing.insert(store.refunds, commit.prepare(store.refunds, document, cause.part(refund.id), facts=facts))
    for credit in plan.credits:
        fold_at = wall + policy.load("payments").value("fold_after", now) * 1000
        row: Document = {"_id": credit.id, "pocket": credit.pocket, "amount": credit.amount, "case_id": credit.case_id}
        writing.insert(store.credits, {**row, "shop_id": credit.shop_id, "waiting": credit.shop_id, "next_at": fold_at})
    for credit_id in plan.folded:
        gone = {"expire_at": clock.wall() + timedelta(seconds=FOLDED_KEPT_S)}
        condition = {"_id": credit_id, "waiting": {"$exists": True}}
        writing.update(store.credits, condition, {"$set": gone, "$unset": {"waiting": "", "next_at": ""}})
    together.commit(writing)


def collected(store: Store, success: Success) -> Document | None:
    """Take a success the channel told of, once, whoever tells it how often; the payable after it, None for an unknown trade.

    Raises Refusal CONDITION_UNMET (another amount), VERSION_CONFLICT (others were faster for five seconds).
    """
    cause = Cause(f"chn:{success.transaction_id}")
    until = time.monotonic() + PATIENCE_S
    while True:
        payable = store.by_trade_no(success.out_trade_no)
        if payable is None:
            return None
        plan = collect(payable, success, clock.business())
        if isinstance(plan, Decision):
            return payable
        try:
            post(store, plan, Books(payable), cause)
            return payable
        except (Shortfall, Taken):
            if time.monotonic() > until:
                message = f"payable {payable['_id']} kept changing; tell it again"
                raise Refusal("VERSION_CONFLICT", message, retry_after_s=1) from None
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 - spreads writers, no secret


def fold(store: Store, shop_id: str) -> int:
    """Fold one batch of the credits that wait into the shop's balances; answers how many. Raises Shortfall when others write too."""
    shop = store.shop(shop_id)
    rows = store.waiting_credits(shop_id)
    plan = purse.fold(shop, rows) if shop is not None else None
    if shop is None or not isinstance(plan, Plan):
        return 0
    post(store, plan, Books(None, shop), Cause(f"fold:{shop_id}:{shop['version']}"))
    return len(rows)


def fold_most(store: Store, shop_id: str) -> None:
    """Fold until what waits fits into one batch: a debit looks at no more."""
    while len(store.waiting_credits(shop_id)) == FOLD_BATCH:
        fold(store, shop_id)
