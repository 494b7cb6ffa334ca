"""Paying out of the wallet, and paying into it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Transaction
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.payments.commands.collecting import Attempted, Channel, Orders, payment_terms, place
from services.payments.model import payable, wallet
from services.payments.model.channel import ChannelRefusedError, Trade, success_of
from services.payments.model.plan import Books
from services.payments.model.repricing import check_in_step, followed
from services.payments.store import Store
from services.payments.store.posting import post
from services.payments.store.wallets import balance, debited, heard


def create(
    store: Store, orders: Orders, _channel: Channel, cause: Cause, buyer_id: str, asked: Mapping[str, Any]
) -> Attempted:
    """Pay a checkout out of the buyer's wallet: paid, or refused.

    Raises Refusal NOT_FOUND, ALREADY_PAID, PAYMENT_CLOSED, INSUFFICIENT_FUNDS, IDEMPOTENCY_KEY_REUSED.
    """
    number = ids.derived_id(wallet.SPENT.rstrip("_"), cause.id)[:32]
    known = _before(store, cause, number)
    if known is not None:
        return known
    try:
        told = orders.payable(asked["checkout_id"])
        payable.check_payable(told, buyer_id, clock.business())
        attempt = payable.attempt(number, "wallet", told["amount"], payable.named(told))
        return commit.settled(f"checkout {told['checkout_id']}", lambda: _spent(store, cause, told, attempt))
    except Refusal:  # it may be this very command, sent twice at once, that has paid it or emptied the wallet
        known = _before(store, cause, number)
        if known is None:
            raise
        return known


def _before(store: Store, cause: Cause, number: str) -> Attempted | None:
    return _done(store, cause, store.by_trade_no(number), number)


def _done(store: Store, cause: Cause, found: Document | None, number: str) -> Attempted | None:
    """What this command did to the payable when it ran before; None where it did not."""
    if found is None or number not in found["trade_nos"] or commit.recognised(store.payables, found, cause) is None:
        return None
    return Attempted(found, number, replayed=True)


def _spent(store: Store, cause: Cause, told: Mapping[str, Any], attempt: Mapping[str, Any]) -> Attempted:
    """One try: read, decide, write all of it or nothing. Raises Shortfall, Taken where others were faster; Refusal."""
    number, buyer_id, terms = attempt["out_trade_no"], told["buyer_id"], payment_terms()
    known, now = store.payable(told["checkout_id"]), clock.business()
    before = _done(store, cause, known, number)
    if before is not None:  # by this very command, a moment ago
        return before
    if known is not None:
        check_in_step(known, told)
        payable.add_attempt(known, attempt, terms.attempts, now)  # refuses what can take no further attempt
    if balance(store, buyer_id) < attempt["amount"]:
        message = f"there is less than {attempt['amount']} fen in your wallet; top it up or pay another way"
        raise Refusal("INSUFFICIENT_FUNDS", message)
    writing = debited(store, Transaction(store.client), buyer_id, attempt["amount"])
    if known is None:
        empty = {**payable.opened(told, attempt, terms), "payments": [], "trade_nos": []}
        change, plan = wallet.spend(empty, attempt, now)
        first = wallet.applied(empty, change)
        found = commit.prepare(store.payables, first, cause, facts=change.facts)
        writing.insert(store.payables, found)
    else:
        found = followed(known, told)
        change, plan = wallet.spend(found, attempt, now)
        change = replace(change, set={**change.set, "amount": found["amount"]})
        writing.change(store.payables, known, change, cause)
    post(store, plan, Books(found), cause, writing)
    return Attempted(store.by_trade_no(number) or found, number)


# ------------------------------------------------------------------------------------------------------------------------ top-ups


def create_topup(
    store: Store, channel: Channel, cause: Cause, buyer_id: str, amount: int, method: str
) -> tuple[Document, bool]:
    """Open a payment into the buyer's wallet at the channel: the top-up, and whether this command opened it before.

    Raises Refusal INVALID_ARGUMENT, CHANNEL_REFUSED, UNAVAILABLE, IDEMPOTENCY_KEY_REUSED.
    """
    rules, now = policy.load("payments"), clock.business()
    number = ids.derived_id(wallet.TOPPED_UP.rstrip("_"), cause.id)[:32]
    row = wallet.topup(number, buyer_id, amount, method, rules.value("topup_most", now))
    known = store.topups.find_one({"_id": number})
    if known is not None:
        return commit.created_before(known, cause).document, True
    trade = Trade(number, method, "集市零钱充值", amount, row["currency"], buyer_id)
    ask_at = clock.wall_ms() + int(rules.value("topup_ask_after", now)) * 1000
    life = clock.wall_ms() + int(rules.value("trade_life", now)) * 1000
    placed = {**row, **place(channel, trade, number), "next_at": ask_at, "ends_at": life}
    outcome = commit.create(store.topups, placed, cause, natural=True)
    return outcome.document, outcome.replayed


def query_topup(store: Store, channel: Channel, buyer_id: str, topup_id: str) -> Document:
    """Ask the channel what became of a top-up, and credit it where it was paid. Raises Refusal NOT_FOUND, UNAVAILABLE, CHANNEL_REFUSED."""
    row = store.topups.find_one({"_id": topup_id, "buyer_id": buyer_id})
    if row is None:
        raise not_found("top-up", topup_id)
    try:
        success = success_of(channel.trade(topup_id))
    except ChannelRefusedError as error:
        raise Refusal("CHANNEL_REFUSED", f"the payment channel refused: {error.message}") from error
    if success is not None:
        heard(store, success)
    return store.topups.find_one({"_id": topup_id}) or row
