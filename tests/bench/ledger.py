"""Payments' ledger alone on the stack's database: postings against the same documents written bare, and orders of one shop that settle
against as many of as many shops.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from pymongo import InsertOne

from services.chassis import clock, commit, events, ids, mongo
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.chassis.settings import Settings
from services.payments.model import ledger, payable, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Credit, Plan
from services.payments.store import COLLECTIONS, Store
from services.payments.store.posting import collected, post
from services.payments.worker import WORKER
from tests.bench.bare import at_once
from tests.bench.report import Report
from tests.bench.world import Bench

POSTING_THREADS: Final = 16
SETTLING_THREADS: Final = 32
POSTED_GOAL: Final = 0.6
ONE_SHOP_GOAL: Final = 0.8
AMOUNT: Final = 10_000
"""Fen."""


def measure(bench: Bench, report: Report) -> None:
    """In databases of their own, so that nothing of the stack works on them."""
    settings = Settings(mongo_uri=bench.stack.mongo_uri, embedded=True, db_prefix="bench_ledger_")
    with mongo.connect(settings, pool=SETTLING_THREADS + 4) as client:
        clock.see(clock.open_sandbox(mongo.database(client, settings, "jishi")))
        books = mongo.database(client, settings, "payments")
        mongo.declare(books, COLLECTIONS)
        postings(books, bench.sizes.posted, report)
        settling(books, bench.sizes.settled, report)


def postings(database: mongo.Database, count: int, report: Report) -> None:
    """Entries of two postings, each with the credit that a shop's balance is folded from."""
    store = Store(database)

    def posted(number: int) -> None:
        identity = f"settle:{number}"
        sides = (Posting(ledger.CLEARING, -AMOUNT), Posting(ledger.available(f"s{number % 200}"), AMOUNT))
        entry = Entry(identity, "settle", "CNY", sides, (f"o{number}",))
        credit = Credit(identity, f"s{number % 200}", "available", AMOUNT)
        post(store, Plan(entries=(entry,), credits=(credit,)), Books(None), Cause(f"evt:{identity}"))

    rate = at_once(posted, range(count), POSTING_THREADS)
    entry = store.entry("settle:0")
    credit = store.credits.find_one({"_id": "settle:0"})
    assert entry is not None
    assert credit is not None
    if store.entries.count_documents({}) != count:
        raise RuntimeError("postings were lost or doubled")

    def bare(number: int) -> None:
        there = [(entry, store.entries), (credit, store.credits)]
        writes = [InsertOne({**row, "_id": f"bare:{number}"}, namespace=rows.full_name) for row, rows in there]
        store.client.bulk_write(writes)

    plain = at_once(bare, range(count), POSTING_THREADS)
    note = f"{POSTING_THREADS} threads; two documents each"
    report.add("ledger postings", rate, "postings/s", note=note)
    report.add("  the same documents written bare", plain, "postings/s")
    report.add("  ledger postings against bare", rate / plain, "ratio", POSTED_GOAL)


def settling(database: mongo.Database, count: int, report: Report) -> None:
    """``count`` completed orders that settle at the same time: of one shop, and each of a shop of its own."""
    every = at_once(*_completed(database, "every", count, lambda number: f"shop{number}"), SETTLING_THREADS)
    one = at_once(*_completed(database, "one", count, lambda _: "the-shop"), SETTLING_THREADS)
    report.add(f"orders of {count} shops settle", every, "orders/s", note=f"concurrency {SETTLING_THREADS}")
    report.add("  orders of one shop settle", one, "orders/s")
    report.add("  one shop against as many", one / every, "ratio", ONE_SHOP_GOAL)


def _completed(
    database: mongo.Database, name: str, count: int, shop_of: Callable[[int], str]
) -> tuple[Callable[[int], None], range]:
    """How order ``number`` is heard to be completed, all of them being paid; and the numbers."""
    store = Store(database)
    for shop_id in {shop_of(number) for number in range(count)}:
        told = {"shop_id": shop_id, "account_id": "a", "name": "茶铺", "state": "open", "currency": "CNY"}
        commit.create(store.shops, purse.new_shop(told, 1), Cause(f"bench:{shop_id}"))
    for number in range(count):
        _paid(store, f"{name}-{number}", shop_of(number))
    intake = Intake("payments", database, WORKER.handlers, Presence("payments", "bench", "worker"))

    def heard(number: int) -> None:
        checkout_id = f"{name}-{number}"
        data = {"checkout_id": checkout_id, "order_id": f"o-{checkout_id}", "shop_id": shop_of(number)}
        fact = Fact("jishi.orders.order.completed.v1", {**data, "commission_bp": 60})
        envelope = events.pack(
            fact, entity=f"x:{checkout_id}", subject=checkout_id, sequence=1, causation="", traceparent=""
        )
        result = intake.receive("settle_order", json.dumps(envelope).encode())
        if result is not Result.APPLIED:
            raise RuntimeError(f"{checkout_id}: {result}")

    return heard, range(count)


def _paid(store: Store, checkout_id: str, shop_id: str) -> None:
    number = f"p-{checkout_id}"
    shares = [{"order_id": f"o-{checkout_id}", "shop_id": shop_id, "amount": AMOUNT}]
    pay_by = clock.business() + timedelta(minutes=30)
    told: dict[str, Any] = {"checkout_id": checkout_id, "buyer_id": "b", "currency": "CNY", "amount": AMOUNT}
    attempt = payable.placed(payable.attempt(number, "native", AMOUNT), {})
    terms = payable.Terms(timedelta(minutes=1), timedelta(hours=2), 10, ())
    row = payable.opened({**told, "pay_by": pay_by, "shares": shares}, attempt, terms)
    commit.create(store.payables, row, Cause(f"cmd:{checkout_id}"), natural=True)
    collected(store, Success(number, ids.trans_id(), AMOUNT, "CNY"))
