"""A shop's deposit (保证金)."""

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Taken, Transaction
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document
from services.payments.model import ledger
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Books, Credit, Plan
from services.payments.model.purse import purse_of
from services.payments.store import Store
from services.payments.store.posting import post


def pay_deposit(store: Store, cause: Cause, shop_id: str, amount: int) -> tuple[Document, bool]:
    """The merchant pays ``amount`` (minor units) into the shop's deposit: the journal entry, and whether it was there before.

    ``shop`` beside the entry's fields: the shop's balances right after it, which are remembered for a repetition.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, IDEMPOTENCY_KEY_REUSED.
    """
    most = policy.load("payments").value("deposit_most", clock.business())
    if not 0 < amount <= most:
        raise invalid("amount", f"must be 1 to {most} fen")
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    entry = Entry(
        ids.derived_id("deposit", cause.id),
        "deposit",
        shop["currency"],
        (Posting(ledger.BANK, -amount), Posting(ledger.deposit(shop_id), amount)),
        (shop_id,),
    )
    replayed = False
    credit = Credit(entry.id, shop_id, "deposit", amount)
    try:
        remembered = Transaction(store.client).answer(store.database, cause, _balances_with(store, shop, credit))
        post(store, Plan(entries=(entry,), credits=(credit,)), Books(None), cause, remembered)
    except Taken:
        replayed = True
    found = store.entry(entry.id)
    if found is None:
        raise Refusal("UNAVAILABLE", "the deposit is being written; try again", retry_after_s=1)
    if replayed and cause.hash and found["hash"] != cause.hash:
        raise Refusal("IDEMPOTENCY_KEY_REUSED", "this idempotency key was used with another request; use a new key")
    return {**found, "shop": commit.answered(store.database, cause)}, replayed


def _balances_with(store: Store, shop: Document, credit: Credit) -> Document:
    """The shop's balances with all credits that wait and this one."""
    waiting = store.waiting_credits(shop["_id"], limit=0)
    own = {"pocket": credit.pocket, "amount": credit.amount}
    shop_id = shop["_id"]
    beside = {"pending": store.pending_of(shop_id), "withdrawing": store.withdrawing_of(shop_id)}
    told = {"_id": shop_id, "currency": shop["currency"], **beside}
    return {**told, **purse_of(shop).credited([*waiting, own]).fields()}
