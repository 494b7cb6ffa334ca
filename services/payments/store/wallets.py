"""Wallets in the database: one document a buyer, which debits guard; its credits stand beside the entry that makes them."""

import contextlib
from typing import Any, Final

from services.chassis import clock, commit
from services.chassis.commit import Cause, Taken, Transaction
from services.chassis.decisions import Decision
from services.chassis.mongo import Document
from services.payments.model import deposits, refund, wallet
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from services.payments.store import Store
from services.payments.store.posting import collected, post

CURRENCY: Final = "CNY"


def balance(store: Store, buyer_id: str) -> int:
    """What is in the buyer's wallet, in fen."""
    found = store.wallets.find_one({"_id": buyer_id})
    return int(found["balance"]) if found is not None else 0


def opened(store: Store, buyer_id: str) -> None:
    """See to it that the buyer has a wallet. One that began with a part of a red packet was made by that."""
    empty = {"_id": buyer_id, "currency": CURRENCY, "balance": 0}
    with contextlib.suppress(Taken):
        commit.create(store.wallets, empty, Cause(f"wallet:{buyer_id}"), natural=True)


def debited(store: Store, writing: Transaction, buyer_id: str, amount: int) -> Transaction:
    """Take ``amount`` out; the transaction falls short where there is less."""
    enough: Document = {"_id": buyer_id, "balance": {"$gte": amount}}
    return writing.update(store.wallets, enough, {"$inc": {"balance": -amount, "version": 1}})


def heard(store: Store, success: Success) -> Document | None:
    """Take a success the channel told of, of a payment, of a top-up or of a shop's deposit; what it belongs to, None for an unknown trade.

    Raises Refusal CONDITION_UNMET (another amount), VERSION_CONFLICT.
    """
    if success.out_trade_no.startswith(deposits.PAID_IN):
        if store.topups.find_one({"_id": success.out_trade_no}, {"_id": 1}) is None:
            return None
        return commit.settled(f"deposit {success.out_trade_no}", lambda: _paid_in(store, success))
    if not success.out_trade_no.startswith(wallet.TOPPED_UP):
        return collected(store, success)
    row = store.topups.find_one({"_id": success.out_trade_no})
    if row is None:
        return None
    opened(store, row["buyer_id"])
    return commit.settled(f"top-up {row['_id']}", lambda: _topped_up(store, success))


def _paid_in(store: Store, success: Success) -> Document:
    row: dict[str, Any] = store.topups.find_one({"_id": success.out_trade_no}) or {}
    told = deposits.paid_in(row, success, clock.business())
    if isinstance(told, Decision):
        return row
    change, plan = told
    cause = Cause(f"chn:{success.transaction_id}")
    post(store, plan, Books(None), cause, Transaction(store.client).change(store.topups, row, change, cause))
    return {**row, **change.set}


def _topped_up(store: Store, success: Success) -> Document:
    row: dict[str, Any] = store.topups.find_one({"_id": success.out_trade_no}) or {}
    told = wallet.topped_up(row, success, clock.business())
    if isinstance(told, Decision):
        return row
    change, entry = told
    cause = Cause(f"chn:{success.transaction_id}")
    writing = Transaction(store.client).change(store.topups, row, change, cause)
    writing.update(store.wallets, {"_id": row["buyer_id"]}, {"$inc": {"balance": success.amount, "version": 1}})
    post(store, Plan(entries=(entry,)), Books(None), cause, writing)
    return {**row, **change.set}


def redirect(store: Store, refund_id: str, why: str) -> None:
    """Pay a refund that the channel refused for good into its buyer's wallet, once. Raises Refusal VERSION_CONFLICT."""
    row: Document = store.refund(refund_id) or {}
    opened(store, row["buyer_id"])
    commit.settled(f"refund {refund_id}", lambda: _redirected(store, refund_id, why))


def _redirected(store: Store, refund_id: str, why: str) -> None:
    row: Document = store.refund(refund_id) or {}
    told = refund.redirected(row, why, clock.business())
    if told is None:
        return
    change, entry = told
    cause = Cause(f"job:redirect:{refund_id}")
    writing = Transaction(store.client).change(store.refunds, row, change, cause)
    writing.update(store.wallets, {"_id": row["buyer_id"]}, {"$inc": {"balance": row["amount"], "version": 1}})
    post(store, Plan(entries=(entry,)), Books(None), cause, writing)
