"""A shop's deposit (保证金): paid in at the channel, or out of what the shop has available. Nothing is credited by word."""

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Transaction
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document
from services.payments.commands.collecting import Channel, place
from services.payments.model import deposits
from services.payments.model.channel import Trade
from services.payments.model.plan import Books
from services.payments.store import Store
from services.payments.store.posting import own_books, post


def open_deposit(store: Store, channel: Channel, cause: Cause, shop_id: str, amount: int) -> tuple[Document, bool]:
    """Open a payment of ``amount`` (minor units) into the shop's deposit at the channel: its row, and whether this command opened it before.

    The deposit is credited when the channel tells, under its signature or asked, that it was paid. Raises Refusal INVALID_ARGUMENT,
    NOT_FOUND, CHANNEL_REFUSED, UNAVAILABLE, IDEMPOTENCY_KEY_REUSED.
    """
    _check(amount)
    number = ids.derived_id(deposits.PAID_IN.rstrip("_"), cause.id)[:32]
    known = store.topups.find_one({"_id": number})
    if known is not None:
        return commit.created_before(known, cause).document, True
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    row, rules = deposits.payment(number, shop, amount), policy.load("payments")
    trade = Trade(number, row["method"], "集市店铺保证金", amount, row["currency"], "")
    wall, now = clock.wall_ms(), clock.business()
    ask_at, life = (wall + int(rules.value(name, now)) * 1000 for name in ("topup_ask_after", "trade_life"))
    placed = {**row, **place(channel, trade, number), "next_at": ask_at, "ends_at": life}
    outcome = commit.create(store.topups, placed, cause, natural=True)
    return outcome.document, outcome.replayed


def move_deposit(store: Store, cause: Cause, shop_id: str, amount: int) -> tuple[Document, bool]:
    """Put ``amount`` (minor units) of the shop's available into its deposit: ``{_id, amount}``, and whether it was done before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, INSUFFICIENT_FUNDS, IDEMPOTENCY_KEY_REUSED.
    """
    _check(amount)
    number = ids.derived_id("deposit", cause.id)
    answer = {"_id": number, "amount": amount}

    def attempt() -> tuple[Document, bool]:
        known = commit.answered(store.database, cause)
        if known is not None:
            return known, True
        shop, waiting = own_books(store, shop_id)
        remembered = Transaction(store.client).answer(store.database, cause, answer)
        plan = deposits.moved_in(shop, waiting, amount, number)
        post(store, plan, Books(None, shop, waiting), cause, remembered)
        return answer, False

    return commit.settled(f"the balance of shop {shop_id}", attempt)


def _check(amount: int) -> None:
    most = policy.load("payments").value("deposit_most", clock.business())
    if not 0 < amount <= most:
        raise invalid("amount", f"must be 1 to {most} fen")
