"""Data that agree are clean; each way of spoiling them is seen by exactly the check that is there for it."""

from contextlib import ExitStack, contextmanager

import pytest
from pyroaring import BitMap

from services.broadcast.store.bitmaps import pack
from services.chassis import clock
from services.chassis.calendar import day

NOBODY = pack(BitMap())
SOMEBODY = pack(BitMap([0, 1]))


def entry(identity: str, *postings: tuple[str, int], kind: str = "deposit") -> dict:
    """An entry of now; what it does to an order's or a shop's account is on the bill of ``s1``, the channel's is on its own."""
    kinds = [{"account": account, "kind": account, "amount": amount} for account, amount in postings]
    for posting in kinds:
        if posting["account"].startswith(("order:", "shop:")):
            posting["shop"] = "s1"
    now = clock.business()
    books = [f"s1|{day(now)}"] if any("shop" in posting for posting in kinds) else []
    books += [f"channel|{day(now)}"] if any(posting["kind"] == "channel:clearing" for posting in kinds) else []
    told = {"_id": identity, "kind": kind, "currency": "CNY", "posted_at": now}
    return {**told, "postings": kinds, "refs": [], "books": books}


def test_a_house_where_nothing_went_wrong_is_clean(standing):
    report = standing.audit()
    assert report.violations == []
    assert report.clean
    idle = {checked.check for checked in report.checks if not checked.examined}
    assert idle == {"quiet", "catalog.imports", "catalog.freight"}, "a check that looks at nothing proves nothing"


CHANGES = [
    ("stock.on_hand", "catalog.stock", {}, {"$inc": {"initial": 1}}),
    ("stock.on_hand", "catalog.movements", {"kind": "adjusted"}, {"$inc": {"delta": 1}}),
    ("stock.on_hand", "catalog.chunks", {"movements.0": {"$exists": True}}, {"$set": {"movements": []}}),
    ("stock.reserved", "catalog.stock", {}, {"$inc": {"reserved": 1, "available": -1}}),
    ("stock.available", "catalog.stock", {}, {"$inc": {"available": 1}}),
    ("stock.movements", "catalog.movements", {"kind": "sold"}, {"$set": {"movements.0.ref": "another order"}}),
    ("stock.movements", "catalog.movements", {"kind": "returned"}, {"$set": {"ref": "another order"}}),
    (
        "stock.movements",
        "orders.orders",
        {"line_refunds.0": {"$exists": True}},
        {"$set": {"line_refunds.0.restocked": 0}},
    ),
    (
        "stock.sold",
        "orders.orders",
        {"close_reason": "buyer", "paid": {"$gt": 0}},
        {"$set": {"close_reason": "out_of_stock"}},
    ),
    ("stock.limits", "catalog.purchases", {}, {"$inc": {"quantity": 1}}),
    ("stock.windows", "catalog.window_units", {"taken": 2}, {"$inc": {"taken": 1, "left": -1}}),
    ("stock.windows", "catalog.window_units", {"taken": 2}, {"$inc": {"quantity": 1}}),
    ("seal.sealed", "payments.entries", {"kind": "deposit"}, {"$set": {"cause": "somebody else's"}}),
    ("seal.sealed", "payments.blocks", {}, {"$set": {"previous": "f" * 64}}),
    ("seal.sealed", "payments.blocks", {}, {"$pop": {"entries": 1}}),
    ("seal.summed", "payments.sums", {"span": "month"}, {"$inc": {"moved.CNY.deposit.credits": 1}}),
    ("seal.summed", "payments.sums", {"span": "day"}, {"$inc": {"moved.CNY.escrow.debits": 1}}),
    ("bills.billed", "payments.entries", {"kind": "collect"}, {"$push": {"books": "s3|2026-01-05"}}),
    ("bills.billed", "payments.entries", {"kind": "settle"}, {"$set": {"books": []}}),
    ("bills.billed", "payments.entries", {"kind": "refund"}, {"$push": {"books": "channel|2026-01-06"}}),
    ("ledger.commissions", "orders.orders", {"state": "completed"}, {"$inc": {"commission_bp": 100}}),
    ("ledger.withdrawn", "payments.withdrawals", {"state": "paid"}, {"$inc": {"amount": 1}}),
    ("ledger.withdrawn", "payments.withdrawals", {"state": "failed"}, {"$inc": {"fee": 1}}),
    ("ledger.withdrawn", "payments.withdrawals", {"state": "paid"}, {"$set": {"state": "processing"}}),
    ("ledger.balances", "payments.shops", {"_id": "s2"}, {"$inc": {"available": 1}}),
    ("ledger.balances", "payments.shops", {"_id": "s2"}, {"$set": {"held.x": 5}}),
    ("ledger.collected", "payments.payables", {"state": "paid"}, {"$inc": {"payments.0.amount": 1}}),
    ("ledger.payables", "payments.payables", {"state": "paid"}, {"$inc": {"amount": 1}}),
    ("ledger.payables", "payments.payables", {"state": "open"}, {"$inc": {"shares.0.settled": 1}}),
    ("ledger.shares", "orders.orders", {"state": "paid"}, {"$inc": {"rejected": 1}}),
    ("ledger.refunded", "payments.refunds", {"cause": "paid_twice"}, {"$set": {"state": "pending"}}),
    ("ledger.refunded", "payments.refunds", {"cause": "paid_twice"}, {"$set": {"total": 1}}),
    ("ledger.refunded", "payments.refunds", {"cause": "cancelled"}, {"$inc": {"sources.0.amount": 1}}),
    ("orders.states", "orders.orders", {"state": "paid"}, {"$set": {"timeline.1.actor": "merchant"}}),
    ("orders.states", "orders.orders", {"state": "paid"}, {"$set": {"timeline.1.action": "shipped"}}),
    ("orders.timers", "orders.orders", {"state": "awaiting_payment"}, {"$unset": {"due_at": ""}}),
    ("orders.timers", "orders.orders", {"state": "shipped"}, {"$unset": {"due_at": ""}}),
    ("orders.timers", "orders.orders", {"redemptions.0": {"$exists": True}}, {"$unset": {"due_at": ""}}),
    ("orders.sent", "orders.orders", {"state": "shipped"}, {"$inc": {"parcels.0.lines.0.quantity": 1}}),
    ("orders.sent", "orders.orders", {"state": "shipped"}, {"$set": {"parcels.0.parcel": 2}}),
    ("orders.sent", "orders.orders", {"state": "shipped"}, {"$set": {"parcels.0.lines": []}}),
    ("orders.vouchers", "orders.orders", {"redemptions.0": {"$exists": True}}, {"$set": {"redemptions.0.voucher": 9}}),
    ("orders.checkouts", "orders.checkouts", {"checkouts.state": "placed"}, {"$inc": {"checkouts.0.amount": 1}}),
    ("orders.payments", "payments.payables", {"state": "open"}, {"$inc": {"amount": 1, "shares.0.amount": 1}}),
    ("orders.refunds", "orders.orders", {"refunds.0": {"$exists": True}}, {"$inc": {"refunds.0.amount": 1}}),
    ("orders.refunds", "orders.orders", {"refunds.0": {"$exists": True}}, {"$inc": {"refunded": -1}}),
    ("orders.overlays", "orders.orders", {"state": "shipped"}, {"$set": {"in_dispute": True}}),
    ("orders.overlays", "orders.orders", {"in_dispute": True}, {"$set": {"cases": [], "in_dispute": False}}),
    ("orders.cases", "disputes.cases", {"state": "closed_refund_full"}, {"$inc": {"refunded": 1}}),
    ("orders.cases", "disputes.cases", {"state": "closed_refund_full"}, {"$set": {"timeline.1.action": "withdraw"}}),
    ("broadcast.charged", "broadcast.shards", {"account_id": "a1"}, {"$set": {"received.2026-01.2": NOBODY}}),
    ("broadcast.charged", "broadcast.shards", {"account_id": "a1"}, {"$unset": {"received": ""}}),
    ("broadcast.quotas", "broadcast.quotas", {"account_id": "a3"}, {"$inc": {"jobs": 1}}),
    ("broadcast.quotas", "broadcast.quotas", {"account_id": "a1"}, {"$inc": {"history": -1}}),
    ("broadcast.delivered", "broadcast.chunks", {}, {"$set": {"delivered": SOMEBODY}}),
    ("broadcast.delivered", "broadcast.chunks", {}, {"$set": {"errors": SOMEBODY}}),
    ("broadcast.delivered", "broadcast.jobs", {"state": "sent"}, {"$inc": {"sent_count": 1}}),
    ("broadcast.followers", "broadcast.followers", {"account_id": "a3"}, {"$set": {"state": "left"}}),
    ("broadcast.followers", "broadcast.followers", {"account_id": "a3"}, {"$set": {"muted": True}}),
    ("broadcast.followers", "broadcast.tag_shards", {}, {"$set": {"members": NOBODY}}),
    ("broadcast.followers", "broadcast.shards", {"account_id": "a3"}, {"$set": {"next": 2}}),
    ("events.handled", "catalog.handled", {"state": "done"}, {"$set": {"state": "parked", "error": "gave up"}}),
    ("events.handled", "catalog.handled", {"state": "done"}, {"$set": {"state": "waiting", "early": True}}),
    ("events.outboxes", "orders.orders", {}, {"$set": {"outbox": [{"id": "e"}], "outbox_at": 5}}),
    ("events.outboxes", "orders.orders", {}, {"$set": {"outbox": [{"id": "e"}]}}),
    ("events.overdue", "orders.orders", {"state": "awaiting_payment"}, {"$set": {"due_at": 5}}),
    ("events.jobs", "payments.refunds", {}, {"$set": {"next_at": 5}}),
    ("events.jobs", "payments.refunds", {}, {"$set": {"next_at": 1 << 50, "job_error": "ValueError: no"}}),
    ("events.decided", "broadcast.event_log", {}, {"$set": {"envelope.type": "jishi.orders.order.eaten.v1"}}),
]


@pytest.mark.parametrize(
    ("check", "name", "query", "update"), CHANGES, ids=[f"{one[0]}-{n}" for n, one in enumerate(CHANGES)]
)
def test_a_changed_document_is_found(standing, check, name, query, update):
    # Whatever is done to an entry, its seal sees it too; what was taken from a block is still in the sums.
    also = {"seal.sealed"} if name == "payments.entries" else {"seal.summed"} if "$pop" in update else set()
    with standing.changed(name, query, update):
        assert set(standing.failing()) == {check, *also}


def test_goods_reserved_for_nobody_are_found(standing):
    with standing.invented(
        "catalog.reservations", {"_id": "chk", "buyer_id": "b", "lines": [], "parts": {"s1": "sold"}}
    ):
        assert standing.failing() == ["stock.owned"]


def test_an_import_with_a_gap_is_found(standing):
    counts = {"created": 3, "updated": 0, "unchanged": 0, "failed": 0}
    job = {"_id": "imp", "state": "completed", "total": 3, "next_chunk": 2, **counts}
    chunk = {"_id": "imp:run:0", "number": 0, "movements": [], **counts}
    with standing.invented("catalog.imports", job), standing.invented("catalog.chunks", chunk):
        assert standing.failing() == ["catalog.imports"]
        with standing.invented("catalog.chunks", {**chunk, "_id": "imp:run:1", "number": 1, "created": 0}):
            assert standing.failing() == []


@pytest.mark.parametrize(
    ("product", "template"),
    [
        ({}, {"state": "deleted"}),
        ({}, {"_id": "s2:7"}),
        ({"freight_key": "s1:8"}, {}),
        ({"listing": {"freight": {"kind": "free", "fee": 0}}}, {}),
    ],
)
def test_a_product_that_has_lost_its_freight_template_is_found(standing, product, template):
    freight = {"kind": "template", "fee": 0, "template_id": 7}
    sound = {"_id": "p7", "shop_id": "s1", "state": "listed", "freight_key": "s1:7"}
    sound |= {"external_id": "tea", "listing": {"skus": [], "freight": freight}}
    there = {"_id": "s1:7", "shop_id": "s1", "template_id": 7, "state": "active"}
    product = {**product, "listing": {"skus": [], **product["listing"]}} if "listing" in product else product
    name = {"_id": "s1/product/tea", "product_id": "p7"}
    with (
        standing.invented("catalog.names", name),
        standing.invented("catalog.products", sound),
        standing.invented("catalog.freight_templates", there),
    ):
        assert standing.failing() == []
    with (
        standing.invented("catalog.names", name),
        standing.invented("catalog.products", {**sound, **product}),
        standing.invented("catalog.freight_templates", {**there, **template}),
    ):
        assert standing.failing() == ["catalog.freight"]


@pytest.mark.parametrize(
    "named",
    [
        {"s1/product/tea": {"product_id": "p7"}},
        {"s1/product/tea": {"product_id": "p7"}, "s1/sku/T1": {"product_id": "p7", "sku_id": "another"}},
        {
            "s1/product/tea": {"product_id": "p7"},
            "s1/sku/T1": {"product_id": "p7", "sku_id": "k1"},
            "s1/sku/T2": {"product_id": "p7", "sku_id": "k1"},
        },
    ],
)
def test_a_product_that_its_names_do_not_find_is_found(standing, named):
    skus = [{"sku_id": "k1", "merchant_sku": "T1"}, {"sku_id": "k2", "merchant_sku": ""}]
    product = {"_id": "p7", "shop_id": "s1", "external_id": "tea", "state": "listed"}
    product |= {"listing": {"skus": skus, "freight": {"kind": "free"}}}
    with ExitStack() as there:
        there.enter_context(standing.invented("catalog.products", product))
        for name, row in named.items():
            there.enter_context(standing.invented("catalog.names", {"_id": name, **row}))
        assert standing.failing() == ["catalog.names"]


def test_an_account_below_zero_is_found(standing):
    with standing.invented("payments.entries", entry("x", ("platform:penalty", -5), ("platform:fee", 5))):
        assert standing.failing() == ["ledger.signs"]
        found = {violation.subject for violation in standing.audit().violations}
    assert found == {"platform:penalty CNY"}


@pytest.mark.parametrize(
    ("kind", "account", "amount"),
    [
        ("collect", "channel:clearing", 5),
        ("refund", "channel:clearing", -5),
        ("deposit", "bank:clearing", 5),
        ("payout", "bank:clearing", -5),
        ("settle", "channel:clearing", -5),
        ("collect", "bank:clearing", -5),
    ],
)
def test_money_that_moves_the_wrong_way_through_a_clearing_account_is_found(standing, kind, account, amount):
    other = "platform:indemnity" if amount > 0 else "platform:fee"
    with standing.invented("payments.entries", entry("x:x", (account, amount), (other, -amount), kind=kind)):
        report = standing.audit()
    found = {violation.subject for violation in report.violations if violation.check == "ledger.clearing"}
    assert found == {"x:x"}


def test_a_channel_that_gave_back_more_than_it_took_is_found(standing):
    sides = ("channel:clearing", 10**9), ("platform:indemnity", -(10**9))
    with standing.invented("payments.entries", entry("refund:x", *sides, kind="refund")):
        report = standing.audit()
    found = {violation.subject for violation in report.violations if violation.check == "ledger.clearing"}
    assert found == {"channel:clearing CNY"}


@pytest.mark.parametrize(("state", "lost"), [("paid", "payout:w"), ("failed", "withdraw-back:w")])
def test_a_withdrawal_that_ended_without_its_entry_is_found(standing, state, lost):
    row = {"_id": "w", "shop_id": "s1", "currency": "CNY", "amount": 5, "fee": 1, "state": state}
    with standing.invented("payments.withdrawals", row):
        report = standing.audit()
        assert [violation.check for violation in report.violations] == ["ledger.withdrawn"]
        assert [violation.subject for violation in report.violations] == [lost]


def test_money_left_in_suspense_is_found(standing):
    posted = entry("x", ("suspense", 5), ("channel:clearing", -5), kind="suspend")
    with standing.invented("payments.entries", posted):
        assert standing.failing() == ["ledger.signs"]
        found = {"_id": "2026-01-05:payment:x:0", "state": "open", "amount": 5, "currency": "CNY"}
        with standing.invented("payments.differences", found):
            assert standing.failing() == [], "reconciliation put it there and nobody has resolved it"


def test_escrow_of_a_finished_order_is_found(standing):
    order = standing.cancelled
    with ExitStack() as spoiled:
        change = {"$inc": {"shares.0.escrow": 5}}
        spoiled.enter_context(standing.changed("payments.payables", {"_id": order["checkout_id"]}, change))
        came = entry("x", ("bank:clearing", -5), (f"order:{order['_id']}:escrow", 5))
        spoiled.enter_context(standing.invented("payments.entries", came))
        assert standing.failing() == ["ledger.clearing", "ledger.escrow"], "nothing comes from the bank by itself"


def test_a_hold_of_a_closed_case_is_found(standing):
    account = f"shop:s1:hold:{standing.settled_case}"
    held = entry("x", ("bank:clearing", -5), (account, 5))
    held["postings"][1]["kind"] = "shop:hold"
    with ExitStack() as spoiled:
        change = {"$set": {f"held.{standing.settled_case}": 5}}
        spoiled.enter_context(standing.changed("payments.shops", {"_id": "s1"}, change))
        spoiled.enter_context(standing.invented("payments.entries", held))
        assert standing.failing() == ["ledger.clearing", "ledger.holds"], "nothing comes from the bank by itself"


def test_a_refund_without_its_entry_is_found(standing):
    with ExitStack() as spoiled:
        lost = spoiled.enter_context(standing.lost("payments.entries", {"kind": "refund"}))
        other = {**lost, "_id": "refund:of another number"}
        spoiled.enter_context(standing.invented("payments.entries", other))
        assert standing.failing() == ["ledger.refunds", "seal.sealed", "seal.summed"]
        found = {one.subject for one in standing.audit().violations if one.check != "seal.summed"}
    assert found == {lost["_id"].partition(":")[2], "of another number", f"missing: {lost['_id']}"}


def test_an_entry_that_does_not_balance_is_found(standing):
    with standing.changed("payments.entries", {"kind": "deposit"}, {"$inc": {"postings.0.amount": -1}}):
        assert standing.failing() == ["ledger.balanced", "seal.sealed"]


def test_a_lost_entry_is_found_wherever_it_is_missed(standing):
    with standing.lost("payments.entries", {"kind": "collect"}):
        assert set(standing.failing()) >= {"ledger.balances", "ledger.collected", "ledger.shares"}


@pytest.mark.parametrize(
    ("check", "name", "query"),
    [
        ("orders.origins", "orders.checkouts", {"checkouts.state": "placed"}),
        ("stock.products", "catalog.products", {"state": "listed"}),
    ],
)
def test_a_lost_document_to_which_others_point_is_found(standing, check, name, query):
    with standing.lost(name, query):
        assert check in standing.failing()


def test_a_case_that_payments_does_not_know_is_found(standing):
    field = f"cases.{standing.open_case}.order_id"
    with standing.changed("payments.payables", {field: {"$exists": True}}, {"$set": {field: "another"}}):
        assert standing.failing() == ["orders.known_cases"]


def test_an_event_without_its_effect_is_found_and_named(standing):
    with _lost_message(standing):
        report = standing.audit()
    assert [violation.check for violation in report.violations] == ["events.decided"]
    assert report.violations[0].subject.startswith("broadcast.tell_shipped:")
    assert report.violations[0].found == "apply"
    (pair,) = [pair for pair in report.pairs if pair.handler == "broadcast.tell_shipped"]
    assert pair.verdicts == {"apply": 1, "done": 2}


def test_an_event_that_came_too_early_for_ever_is_found(standing):
    told = standing.rows("disputes.event_log").find_one({"envelope.type": "jishi.disputes.case.closed.v1"})
    envelope = {**told["envelope"], "id": "invented", "data": {**told["envelope"]["data"], "case_id": "unknown"}}
    with standing.invented("disputes.event_log", {**told, "_id": "invented", "envelope": envelope}):
        report = standing.audit()
    assert {violation.found for violation in report.violations} == {"early"}
    assert {violation.check for violation in report.violations} == {"events.decided"}


def test_a_delivery_that_a_person_gave_up_is_told_apart(standing):
    with _lost_message(standing) as order_id:
        event = standing.rows("orders.event_log").find_one(
            {"envelope.subject": order_id, "envelope.type": "jishi.orders.order.shipped.v1"}
        )
        row = {"_id": f"broadcast.tell_shipped:{event['_id']}", "state": "done"}
        with standing.invented("broadcast.handled", row):
            assert _verdicts(standing) == {"recorded": 1, "done": 2}
        with standing.invented("broadcast.handled", {**row, "dropped_at": clock.wall()}):
            assert _verdicts(standing) == {"dropped": 1, "done": 2}


@contextmanager
def _lost_message(standing):
    """An order whose message that it was shipped is not in the inbox."""
    inbox = standing.rows("broadcast.inbox")
    row = inbox.find_one({"messages.kind": "shipped"})
    message = next(each for each in row["messages"] if each["kind"] == "shipped")
    with standing.changed("broadcast.inbox", {"_id": row["_id"]}, {"$pull": {"messages": {"_id": message["_id"]}}}):
        yield message["reference"]


def _verdicts(standing) -> dict[str, int]:
    report = standing.audit()
    assert report.clean
    return dict(next(pair.verdicts for pair in report.pairs if pair.handler == "broadcast.tell_shipped"))
