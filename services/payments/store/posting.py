"""How a plan is written: everything it does in one transaction, each part guarded by a version or an id derived from its cause."""

import random
import time
from datetime import timedelta
from typing import Final

from services.chassis import clock, commit, policy, together
from services.chassis.calendar import day
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Decision
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.payments.model import bookkeeping, deposits, purse, wallet
from services.payments.model import refund as refunds
from services.payments.model.fees import TAKING
from services.payments.model.ledger import CLEARING
from services.payments.model.payable import Success, collect
from services.payments.model.plan import Books, Plan, Row
from services.payments.store import FOLD_BATCH, FOLDED_KEPT_S, Store
from services.payments.store.days import begin_day

PATIENCE_S: Final = 5.0


def post(store: Store, plan: Plan, books: Books, cause: Cause, transaction: Transaction | None = None) -> None:
    """Write ``plan``, which was made from ``books``; ``transaction`` may hold first writes (the delivery's ``handled`` row).

    Raises Shortfall or Taken when another writer was faster, or the cause was applied before: read and decide again.
    """
    plan = wallet.to_wallet(plan)
    writing = transaction or Transaction(store.client)
    now, wall = clock.business(), clock.wall_ms()
    if plan.payable is not None and books.payable is not None:
        writing.change(store.payables, dict(books.payable), plan.payable, cause, by_letter=True)
    if plan.shop is not None and books.shop is not None:
        top_up = policy.load("payments").span("deposit_top_up", now)
        writing.change(store.shops, dict(books.shop), deposits.watched(books.shop, plan.shop, now, top_up), cause)
    owned = bookkeeping.owners(books.payable)
    for entry in plan.entries:
        written = {
            "cause": cause.id,
            "causation": cause.causation,
            "hash": cause.hash,
            "posted_at": now,
            "written_at": wall,
        }
        document = bookkeeping.document(entry, owned, now, clock.moment(wall))
        if rule := TAKING.get(entry.kind):
            document["terms"][rule] = policy.load("payments").version(rule, now)
        writing.insert(store.entries, {**document, **written})
    _back(writing, store, plan, cause)
    for credit in plan.credits:
        fold_at = wall + policy.load("payments").value("fold_after", now) * 1000
        told: Document = {"_id": credit.id, "pocket": credit.pocket, "amount": credit.amount, "case_id": credit.case_id}
        writing.insert(
            store.credits, {**told, "shop_id": credit.shop_id, "waiting": credit.shop_id, "next_at": fold_at}
        )
    for row in plan.rows:
        _beside(writing, store, row, cause)
    for credit_id in plan.folded:
        gone = {"expire_at": clock.wall() + timedelta(seconds=FOLDED_KEPT_S)}
        condition = {"_id": credit_id, "waiting": {"$exists": True}}
        writing.update(store.credits, condition, {"$set": gone, "$unset": {"waiting": "", "next_at": ""}})
    for entry in plan.entries:
        if any(posting.account == CLEARING for posting in entry.postings):
            begin_day(store, day(clock.wall()))
            break
    together.commit(writing)


def _back(writing: Transaction, store: Store, plan: Plan, cause: Cause) -> None:
    now, wall = clock.business(), clock.wall_ms()
    for refund in plan.refunds:
        document, facts = refunds.row(refund, now, wall)
        writing.insert(store.refunds, commit.prepare(store.refunds, document, cause.part(refund.id), facts=facts))
        if wallet.is_spent(refund.out_trade_no) and refund.amount:
            writing.update(store.wallets, {"_id": refund.buyer_id}, {"$inc": {"balance": refund.amount, "version": 1}})


def _beside(writing: Transaction, store: Store, row: Row, cause: Cause) -> None:
    rows, document = store.database[row.collection], dict(row.document)
    if row.change is not None:
        writing.change(rows, document, row.change, cause)
    else:
        writing.insert(rows, commit.prepare(rows, document, cause.part(f"{rows.name}:{document['_id']}"), due=row.due))


def collected(store: Store, success: Success) -> Document | None:
    """Take a success the channel told of, once, whoever tells it how often; the payable after it, None for an unknown trade.

    Raises Refusal CONDITION_UNMET (another amount), VERSION_CONFLICT (others were faster for five seconds).
    """
    cause = Cause(f"chn:{success.transaction_id}")
    until = time.monotonic() + PATIENCE_S
    opened = store.opened.taken(success.out_trade_no)
    while True:
        payable, opened = opened or store.by_trade_no(success.out_trade_no), None
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


def own_books(store: Store, shop_id: str) -> tuple[Document, list[Document]]:
    """What a debit of a shop's own money looks at: its balances, and the credits that wait, which fit into one batch.

    Raises Refusal NOT_FOUND, Shortfall after folding where more waited: read again.
    """
    waiting, shop = store.waiting_credits(shop_id), store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    if len(waiting) == FOLD_BATCH:
        fold_most(store, shop_id)
        raise Shortfall
    return shop, waiting


def fold_most(store: Store, shop_id: str) -> None:
    """Fold until what waits fits into one batch: a debit looks at no more."""
    while len(store.waiting_credits(shop_id)) == FOLD_BATCH:
        fold(store, shop_id)
