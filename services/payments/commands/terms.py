"""An admin's terms for a single shop, and what a shop asks back of its deposit."""

import contextlib
from collections.abc import Mapping
from typing import Any

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.payments.model import deposits, granting
from services.payments.model.plan import Books
from services.payments.store import Store
from services.payments.store.posting import fold, post

_DRAWN = ("hold", "release", "refund")
"""Kinds of entries that a case makes; a refund that the merchant grants by itself is none of a case's."""


def set_terms(store: Store, cause: Cause, asked: Mapping[str, Any]) -> Outcome:
    """Set ``settlement_days`` and/or ``deposit_required`` of ``shop_id``, with a ``reason``; ``answer``: the terms as they are then.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT.
    """
    rules, now = policy.load("payments"), clock.business()
    most, top_up = rules.value("deposit_most", now), rules.span("deposit_top_up", now)
    _folded(store, asked["shop_id"])

    def decide(shop: Document) -> Any:
        return deposits.terms_set(shop, asked, most, now, top_up)

    return commit.change(store.shops, asked["shop_id"], cause, decide, kind="shop")


def release_deposit(store: Store, cause: Cause, shop_id: str, amount: int) -> tuple[Document, bool]:
    """Give ``amount`` (minor units) of the deposit back to available: ``{release_id, amount, deposit}``, and whether it was done before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, WRONG_STATE, INSUFFICIENT_FUNDS, IDEMPOTENCY_KEY_REUSED.
    """
    number = ids.derived_id("release", cause.id)

    def attempt() -> tuple[Document, bool]:
        known = commit.answered(store.database, cause)
        if known is not None:
            return known, True
        _folded(store, shop_id)
        shop, waiting = store.shop(shop_id), store.waiting_credits(shop_id)
        if shop is None:
            raise not_found("shop", shop_id)
        _is_quiet(store, shop_id)
        plan = deposits.released(shop, waiting, amount, number)
        left = plan.shop.set["deposit"] if plan.shop is not None else 0
        answer = {"release_id": number, "amount": amount, "deposit": left}
        remembered = Transaction(store.client).answer(store.database, cause, answer)
        post(store, plan, Books(None, shop, waiting), cause, remembered)
        return answer, False

    return commit.settled(f"the balance of shop {shop_id}", attempt)


def _folded(store: Store, shop_id: str) -> None:
    """Fold what waits for the shop, unless somebody else does at this moment."""
    with contextlib.suppress(Shortfall, Taken):
        while fold(store, shop_id):
            pass


def _is_quiet(store: Store, shop_id: str) -> None:
    """Whether no case has touched the shop's money lately. Raises Refusal WRONG_STATE."""
    now = clock.business()
    span = policy.load("payments").span("deposit_release_after", now)
    query: Document = {"refs": shop_id, "posted_at": {"$gt": now - span, "$lte": now}, "kind": {"$in": _DRAWN}}
    query["terms.cause"] = {"$ne": granting.CAUSE}
    last = store.entries.find_one(query, {"posted_at": 1})
    if last is not None:
        told = f"a case moved the shop's money within the last {span.days} days; ask again after that"
        raise Refusal("WRONG_STATE", told)
