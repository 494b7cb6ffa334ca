"""Settling, holding, ruling and releasing on the real database; and what an order costs."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo.monitoring import CommandListener

from services.chassis import clock, ids, mongo, policy
from services.chassis.calendar import day
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.once import Result
from services.payments import commands, jobs, queries
from services.payments.jobs import topups
from services.payments.model.payable import Success
from services.payments.model.whose import Whose
from services.payments.store import FOLD_BATCH, Store, terms
from services.payments.store.days import begin_day
from services.payments.store.posting import collected
from services.payments.store.wallets import heard
from tests.backends.deposits import paid_in
from tests.backends.processes import wait_until
from tests.contract.payments.house import BUYER, SHOP

CASE = {"case_id": "case_1", "buyer_id": BUYER, "kind": "refund_only"}
OPENED = "jishi.disputes.case.opened.v1"
RULED = "jishi.disputes.case.ruled.v1"
CLOSED = "jishi.disputes.case.closed.v1"


def collect(house, *amounts) -> tuple[str, list[str]]:
    """A collected checkout without the channel's trouble."""
    checkout_id = house.checkout(*amounts)
    number = house.create(checkout_id)["out_trade_no"]
    collected(house.store, Success(number, ids.trans_id(), sum(amounts), "CNY"))
    return checkout_id, house.order_ids(checkout_id)


def test_a_case_after_settlement_takes_the_hold_then_the_deposit(house):
    house.shop()
    checkout_id, (order_id,) = collect(house, 1000)
    paid_in(house.store, SHOP, 300)
    assert house.complete(checkout_id, order_id) is Result.APPLIED
    assert house.balances() == {"available": 994, "deposit": 300, "held": 0}
    assert house.hear(OPENED, checkout_id, order_id=order_id, claim=1000, **CASE) is Result.APPLIED
    assert house.balances() == {"available": 0, "deposit": 294, "held": 1000}
    ruling = {"refund": 1000, "payer": "merchant", "decided_by": "platform"}
    assert house.hear(RULED, checkout_id, order_id=order_id, case_id="case_1", **ruling) is Result.APPLIED
    (refund,) = house.store.refunds_of({"order_id": order_id})
    assert (refund["case_id"], refund["cause"]) == ("case_1", "dispute")
    assert refund["sources"] == [{"account": "hold", "amount": 1000}]
    assert house.hear(CLOSED, checkout_id, order_id=order_id, case_id="case_1") is Result.APPLIED
    assert house.balances() == {"available": 0, "deposit": 294, "held": 0}
    house.check()


def test_every_event_twice_and_the_early_ones_first(house):
    house.shop()
    checkout_id, (first, second) = collect(house, 1000, 500)
    ruling = {"order_id": first, "case_id": "case_1", "refund": 400, "payer": "merchant"}
    assert house.hear(RULED, checkout_id, **ruling) is Result.EARLY
    assert house.hear(OPENED, checkout_id, order_id=first, claim=500, **CASE) is Result.APPLIED
    assert house.hear(OPENED, checkout_id, again=True, order_id=first, claim=500, **CASE) is Result.DONE
    house.intake.sweep()
    assert house.store.refunds_of({"order_id": first})[0]["amount"] == 400
    closed = {"order_id": second, "was_paid": True, "amount": 500, "reason": "buyer"}
    assert house.hear("jishi.orders.order.closed.v1", checkout_id, **closed) is Result.APPLIED
    assert house.hear("jishi.orders.order.closed.v1", checkout_id, again=True, **closed) is Result.DONE
    rejected = {"order_id": second, "amount": 500}
    assert house.hear("jishi.orders.order.payment_rejected.v1", checkout_id, **rejected) is Result.DONE
    assert house.complete(checkout_id, first) is Result.APPLIED
    assert house.complete(checkout_id, first) is Result.DONE
    assert house.complete(checkout_id, second) is Result.STALE
    assert house.hear(CLOSED, checkout_id, order_id=first, case_id="case_1") is Result.APPLIED
    assert sorted(row["amount"] for row in house.store.refunds_of({"checkout_id": checkout_id})) == [400, 500]
    house.check()


def test_many_orders_settle_to_one_shop_at_once_and_fold_in_batches(house):
    house.shop()
    done = [collect(house, 100) for _ in range(8)]
    version = house.store.shop(SHOP)["version"]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda one: house.complete(one[0], one[1][0]), done))
    assert set(results) == {Result.APPLIED}
    assert house.store.shop(SHOP)["version"] == version, "settling does not touch the shop's document"
    assert house.balances()["available"] == 8 * 99
    house.check()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: jobs.fold_all(house.store, SHOP, lambda: None), range(3)))
    jobs.fold_all(house.store, SHOP, lambda: None)
    assert house.store.waiting_credits(SHOP) == []
    assert house.store.shop(SHOP)["available"] == 8 * 99
    house.check()


def test_a_debit_sees_all_credits_however_many_wait(house):
    house.shop()
    for _ in range(FOLD_BATCH + 5):
        paid_in(house.store, SHOP, 10)
    checkout_id, (order_id,) = collect(house, 100_000)
    house.complete(checkout_id, order_id)
    assert house.hear(OPENED, checkout_id, order_id=order_id, claim=100_000, **CASE) is Result.APPLIED
    assert house.balances() == {"available": 0, "deposit": (FOLD_BATCH + 5) * 10 - 600, "held": 100_000}
    house.check()


def test_a_deposit_is_only_what_the_channel_was_paid(house):
    def asked(key, amount, body="h"):
        return commands.open_deposit(house.store, house.channel, Cause(f"cmd:{once}{key}", body), SHOP, amount)

    once = ids.secret()  # the channel remembers the numbers of other tests

    with pytest.raises(Refusal, match="NOT_FOUND"):
        asked(0, 300)
    house.shop()
    first, replayed = asked(1, 300)
    again, is_again = asked(1, 300)
    assert (replayed, is_again, again["_id"]) == (False, True, first["_id"])
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        asked(1, 400, "other")
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        asked(2, 0)
    assert house.balances()["deposit"] == 0, "a word is no money"
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        heard(house.store, Success(first["_id"], "t_other", 30_000, "CNY"))
    assert house.pay(first, notify={"copies": 3}).status_code == 200
    wait_until(lambda: house.balances()["deposit"] == 300, "the channel to tell")
    for row in list(house.store.topups.find({"_id": first["_id"]})):
        topups.ask(house.store, house.channel, row)
    assert house.balances()["deposit"] == 300
    assert house.store.entries.count_documents({"kind": "deposit"}) == 1
    house.check()


def test_a_payment_into_a_deposit_that_nobody_told_of_is_asked_for(house):
    house.shop()
    row, _ = commands.open_deposit(house.store, house.channel, Cause(f"cmd:{ids.secret()}", "h"), SHOP, 300)
    assert house.pay(row, notify={"copies": 0}).status_code == 200
    topups.ask(house.store, house.channel, house.store.topups.find_one({"_id": row["_id"]}))
    assert house.balances()["deposit"] == 300


def test_a_deposit_out_of_available_takes_no_more_than_is_there_and_once(house):
    house.shop()
    checkout_id, (order_id,) = collect(house, 1000)
    house.complete(checkout_id, order_id)
    for replayed in (False, True):
        assert commands.move_deposit(house.store, Cause("cmd:m", "h"), SHOP, 900)[1] is replayed
    assert house.balances() == {"available": 94, "deposit": 900, "held": 0}
    with pytest.raises(Refusal, match="INSUFFICIENT_FUNDS"):
        commands.move_deposit(house.store, Cause("cmd:n", "h"), SHOP, 95)
    house.check()


def test_a_shop_is_kept_as_accounts_last_told(house):
    house.shop()
    house.shop()
    told = {"account_id": "a", "name": "新名", "state": "suspended", "currency": "CNY"}
    house.hear("jishi.accounts.shop.changed.v1", **told)
    house.sequence -= 2
    assert house.hear("jishi.accounts.shop.changed.v1", **told | {"name": "旧名"}) is Result.STALE
    assert house.store.shop(SHOP)["name"] == "新名"


def test_questions_are_answered_to_those_who_may_ask(house):
    house.shop()
    checkout_id, (order_id, _) = collect(house, 1000, 500)
    house.hear("jishi.orders.order.closed.v1", checkout_id, order_id=order_id, was_paid=True, amount=1000)
    asked = {"checkout_id": checkout_id, "order_id": ""}
    assert len(queries.refunds(house.store, asked, BUYER, None)) == 1
    assert queries.refunds(house.store, asked, "somebody", None) == []
    assert queries.refunds(house.store, asked, None, "shop_of_others") == []
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        queries.refunds(house.store, {"checkout_id": "", "order_id": ""}, BUYER, None)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.payment(
            house.store, Whose("buyer", "somebody"), house.store.payable(checkout_id)["payments"][0]["payment_id"]
        )
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.balance(house.store, "shop_of_others")


def test_the_journal_is_read_in_pages_and_every_entry_names_its_cause(house):
    house.shop()
    checkout_id, orders = collect(house, 1000, 500)
    for order_id in orders:
        house.complete(checkout_id, order_id)
    first, rest = queries.entries(house.store, checkout_id, None, 2)
    second, end = queries.entries(house.store, checkout_id, rest, 2)
    assert [entry["kind"] for entry in (*first, *second)] == ["collect", "settle", "settle"]
    assert end is None
    assert first[0]["cause"].startswith("chn:")
    assert first[1]["cause"].startswith("evt:payments.settle_order:")
    assert first[1]["terms"]["commission_bp"] == "60"
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        queries.entries(house.store, "", None, 2)


def test_the_trial_balance_notices_a_changed_figure(house):
    house.shop()
    checkout_id, _ = collect(house, 1000, 500)
    house.check()
    house.store.payables.update_one({"_id": checkout_id}, {"$inc": {"shares.0.escrow": 1}})
    assert queries.trial_balance(house.store)[1] is False


def test_an_unpaid_payable_closes_by_its_timer(house):
    from services.payments.worker import WORKER

    checkout_id = house.checkout(700)
    house.create(checkout_id)
    timer = next(one for one in WORKER.timers if one.collection == "payables")
    for minutes, due in ((29, 30), (2, 150), (120, None)):
        clock.see(clock.offset_ms() + minutes * 60_000)
        document = house.store.payable(checkout_id)
        timer.fire(house.database, document, clock.business(), Cause(f"tmr:{document['version']}"))
        after = house.store.payable(checkout_id)
        pay_by = clock.ms(house.orders.checkouts[checkout_id]["pay_by"])
        assert ("due_at" in after) == (due is not None)
        assert due is None or abs(after["due_at"] - pay_by - (due - 30) * 60_000) <= 1
    assert after["state"] == "closed"
    assert after["next_at"] > 0


class Counting(CommandListener):
    """Counts what goes to the database."""

    def __init__(self):
        self.names: list[str] = []
        self.writes = 0

    def started(self, event):
        self.names.append(event.command_name)
        size = {"insert": "documents", "update": "updates", "bulkWrite": "ops"}.get(event.command_name)
        self.writes += len(event.command[size]) if size else 0

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def took(self) -> tuple[int, int]:
        """Commands and writes since asked last."""
        found = len(self.names), self.writes
        self.names, self.writes = [], 0
        return found


def test_what_a_paid_and_settled_order_costs_payments(house, monkeypatch):
    """Part of the budget of the whole house for placing and paying an order (``tests/contract/bench``)."""
    policy.load("payments")
    monkeypatch.setattr(terms, "FRESH_S", 600)
    terms.own_days(house.database)  # read twice a second, for all orders together
    counting = Counting()
    from pymongo import MongoClient

    with MongoClient(house.settings.mongo_uri, tz_aware=True, event_listeners=[counting]) as client:
        database = mongo.database(client, house.settings, "payments")
        house.store, house.intake.database = Store(database), database
        house.intake._rows = database["handled"]
        begin_day(house.store, day(clock.wall()))  # one insert a process and day
        checkout_id = house.checkout(1000)
        house.shop()
        house.store.shop_names([SHOP])  # one find a process, shop and minute
        counting.took()
        number = house.create(checkout_id)["out_trade_no"]
        assert counting.took() <= (2, 1), "create: one find, one insert"
        collected(house.store, Success(number, ids.trans_id(), 1000, "CNY"))
        assert counting.took() <= (3, 3), (
            "notification: one find, one transaction of payable, entry and letter, and its commit"
        )
        house.complete(checkout_id, house.order_ids(checkout_id)[0])
        assert counting.took() <= (3, 4), "settle: one find, one transaction of four writes and its commit"
