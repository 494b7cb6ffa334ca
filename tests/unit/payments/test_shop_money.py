"""From sale to bank: T+n, withdrawals that the bank pays, refuses and returns, deposits with a requirement."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.once import Result
from services.payments import queries
from services.payments.commands.terms import release_deposit, set_terms
from services.payments.commands.withdrawals import request_withdrawal
from services.payments.jobs.withdrawals import send_withdrawal
from services.payments.model.channel import ChannelRefusedError
from services.payments.queries import shops
from tests.backends.deposits import paid_in
from tests.unit.payments.ledger_house import SHOP

ACCOUNT = {"holder": "茶铺有限公司", "number": "6222 0000 0000 1234", "bank": "招商银行"}


class Bank:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers) -> None:
        self.answers, self.asked = list(answers), []

    def pay_out(self, row):
        self.asked.append((row["_id"], row["amount"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"state": answer, "fail_reason": "收款行退回" if answer == "FAILED" else ""}


def withdraw(books, amount, key="w"):
    return request_withdrawal(books.store, Cause(f"cmd:{key}", "h"), SHOP, {"amount": amount, "account": ACCOUNT})


def sent(books, bank) -> str:
    (row,) = books.store.withdrawals.find({"next_at": {"$gt": 0}})
    send_withdrawal(books.store, bank, row)
    return books.store.withdrawals.find_one({"_id": row["_id"]})["state"]


def purse(books) -> dict[str, int]:
    view = queries.balance_view(*queries.balance(books.store, SHOP))
    rows, balanced = queries.trial_balance(books.store)
    assert balanced, rows
    return {name: view[name] for name in ("available", "pending", "withdrawing", "deposit", "receivable")}


def test_a_withdrawal_is_paid_once_whatever_the_bank_says_on_the_way(books):
    books.earn(1000)
    row, replayed = withdraw(books, 700)
    assert (replayed, withdraw(books, 700)) == (False, (row, True))
    assert purse(books) | {"deposit": 0} == purse(books)
    assert (purse(books)["available"], purse(books)["withdrawing"]) == (300, 700)
    bank = Bank(Refusal("UNAVAILABLE", "no line"), "PROCESSING", "SUCCESS")
    assert [sent(books, bank), sent(books, bank), sent(books, bank)] == ["processing", "processing", "paid"]
    assert bank.asked == [(row["_id"], 700)] * 3
    send_withdrawal(books.store, bank, row)  # a second jobs process with an old row
    assert purse(books) == {"available": 300, "pending": 0, "withdrawing": 0, "deposit": 0, "receivable": 0}
    shown = shops.withdrawal(books.store, SHOP, row["_id"])
    assert (shown["state"], shown["account"]["number"]) == ("paid", "****1234")
    with pytest.raises(Refusal, match="NOT_FOUND"):
        shops.withdrawal(books.store, "shop_of_others", row["_id"])


@pytest.mark.parametrize("answer", ["FAILED", ChannelRefusedError("INVALID_REQUEST", "no", 400)])
def test_what_the_bank_does_not_take_is_available_again(books, answer):
    books.earn(1000)
    withdraw(books, 700)
    assert sent(books, Bank(answer)) == "failed"
    assert purse(books)["available"] == 1000
    assert purse(books)["withdrawing"] == 0


def test_withdrawals_at_once_take_no_fen_that_is_not_there(books):
    for _ in range(6):
        books.earn(100)

    def one(number):
        try:
            return withdraw(books, 150, f"w{number}")[0]["amount"]
        except Refusal as refusal:
            return 0 if refusal.reason == "INSUFFICIENT_FUNDS" else -1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 600
    assert purse(books)["available"] == 0
    page, rest = shops.withdrawals_of(books.store, SHOP, None, 3)
    assert len(page) + len(shops.withdrawals_of(books.store, SHOP, rest, 3)[0]) == 4


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 1}, "amount"),
        ({"amount": 10**9}, "amount"),
        ({"account": {**ACCOUNT, "number": "12"}}, "account.number"),
        ({"account": {**ACCOUNT, "holder": ""}}, "account.holder"),
    ],
)
def test_a_withdrawal_asked_for_wrongly_names_the_field(books, change, field):
    books.earn(1000)
    asked = {"amount": 700, "account": ACCOUNT, **change}
    with pytest.raises(Refusal) as refused:
        request_withdrawal(books.store, Cause("cmd:w", "h"), SHOP, asked)
    assert refused.value.violations[0].field == field


def test_a_day_has_its_limit_and_the_next_one_its_own(books):
    books.earn(200_000_000)
    for number in range(20):
        withdraw(books, 5_000_000, f"w{number}")
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        withdraw(books, 100, "more")
    books.pass_time(days=1)
    withdraw(books, 100, "more")


def test_what_the_bank_did_not_take_leaves_the_days_limit_as_it_was_and_comes_back_once(books):
    books.earn(200_000_000)
    for number in range(20):
        row, _ = withdraw(books, 5_000_000, f"w{number}")
    send_withdrawal(books.store, Bank("FAILED"), row)
    for _ in range(2):  # told again by a process with an old row, and by the same one with the new
        send_withdrawal(books.store, Bank("FAILED"), row)
        send_withdrawal(books.store, Bank("FAILED"), books.store.withdrawals.find_one({"_id": row["_id"]}))
    assert purse(books)["available"] == 105_000_000
    withdraw(books, 5_000_000 - 1, "less")
    with pytest.raises(Refusal, match=" 1 fen are left"):
        withdraw(books, 5_000_000, "more")
    assert purse(books)["available"] == 105_000_000 - 4_999_999


def test_what_a_shop_owes_is_taken_before_it_withdraws(books):
    books.store.shops.update_one({"_id": SHOP}, {"$set": {"receivable": 400}})
    books.earn(1000)
    with pytest.raises(Refusal, match="600 fen"):
        withdraw(books, 700)
    withdraw(books, 600, "less")
    assert (books.shop()["available"], books.shop()["receivable"]) == (0, 0)


def terms(books, key="t", **asked):
    return set_terms(books.store, Cause(f"cmd:{key}", "h"), {"shop_id": SHOP, "reason": "新店", **asked})


def top_up_is_due(books) -> None:
    from services.payments.worker import WORKER

    timer = next(one for one in WORKER.timers if one.collection == "shops")
    timer.fire(books.database, books.shop(), clock.business(), Cause(f"tmr:shops:{books.shop()['version']}"))


def test_a_deposit_that_lacks_something_is_topped_up_in_time_or_from_available(books):
    answer = terms(books, deposit_required=1000).answer
    assert answer["top_up_by"] - clock.business() > timedelta(days=2)
    paid_in(books.store, SHOP, 400)
    books.earn(250)
    shown = shops.deposit(books.store, SHOP)
    assert (shown["deposit"], shown["shortfall"], shown["overdue"]) == (400, 600, False)
    top_up_is_due(books)
    assert purse(books)["deposit"] == 400, "not yet"
    books.pass_time(days=3, seconds=1)
    top_up_is_due(books)
    assert (purse(books)["deposit"], purse(books)["available"]) == (650, 0)
    assert shops.deposit(books.store, SHOP)["overdue"] is True
    books.earn(500)
    with pytest.raises(Refusal, match="pay them in first"):
        withdraw(books, 300)
    paid_in(books.store, SHOP, 350)
    books.fold()
    assert "top_up_by" not in books.shop()
    assert "due_at" not in books.shop()
    withdraw(books, 300, "now")


def test_what_a_deposit_lacks_is_taken_from_available_when_its_time_is_over(books):
    terms(books, deposit_required=1000)
    paid_in(books.store, SHOP, 400)
    books.earn(900)
    books.pass_time(days=3, seconds=1)
    top_up_is_due(books)
    assert (purse(books)["deposit"], purse(books)["available"]) == (1000, 300)
    assert not {"top_up_by", "deposit_overdue", "due_at"} & books.shop().keys()
    withdraw(books, 300)


def test_only_what_is_above_the_requirement_is_given_back(books):
    terms(books, deposit_required=300)
    paid_in(books.store, SHOP, 1000)
    with pytest.raises(Refusal, match="700 fen"):
        release_deposit(books.store, Cause("cmd:r", "h"), SHOP, 701)
    first = release_deposit(books.store, Cause("cmd:r", "h"), SHOP, 700)
    assert release_deposit(books.store, Cause("cmd:r", "h"), SHOP, 700) == (first[0], True)
    assert (purse(books)["deposit"], purse(books)["available"]) == (300, 700)
    books.store.shops.update_one({"_id": SHOP}, {"$set": {"held": {"case_1": 5}}})
    with pytest.raises(Refusal, match="case_1"):
        release_deposit(books.store, Cause("cmd:r2", "h"), SHOP, 1)


def test_a_refund_that_the_merchant_grants_itself_does_not_lock_the_deposit(books):
    checkout_id, order_id = books.paid(500)
    books.complete(checkout_id, order_id)
    paid_in(books.store, SHOP, 1000)
    grant = {"order_id": order_id, "refund_id": "rf-m1", "line": 1, "quantity": 0, "amount": 100}
    assert books.hear("jishi.orders.order.refund_granted.v1", checkout_id, **grant) is Result.APPLIED
    assert books.store.entry("refund:rf-m1")["terms"] == {"cause": "merchant"}
    release_deposit(books.store, Cause("cmd:r", "h"), SHOP, 900)
    case = {"case_id": "case_1", "order_id": order_id, "claim": 50}
    assert books.hear("jishi.disputes.case.opened.v1", checkout_id, **case) is Result.APPLIED
    assert books.hear("jishi.disputes.case.closed.v1", checkout_id, **case) is Result.APPLIED
    with pytest.raises(Refusal, match="15 days"):
        release_deposit(books.store, Cause("cmd:r2", "h"), SHOP, 100)


def test_terms_are_named_by_field_and_remembered(books):
    for asked, field in (
        ({}, "settlement_days"),
        ({"settlement_days": 31}, "settlement_days"),
        ({"deposit_required": -1}, "deposit_required"),
    ):
        with pytest.raises(Refusal) as refused:
            terms(books, **asked)
        assert refused.value.violations[0].field == field
    assert terms(books, settlement_days=7).answer == {"settlement_days": 7}
    again = terms(books, settlement_days=7)
    assert (again.replayed, again.answer) == (True, {"settlement_days": 7})


def test_the_fee_schedule_says_what_entries_cite(books):
    rules = {rule["version"]: rule for rule in shops.fee_schedule()}
    books.store.shops.update_one({"_id": SHOP}, {"$set": {"receivable": 200}})
    books.earn(1000)
    withdraw(books, 700)
    terms(books, deposit_required=1000)
    books.pass_time(days=3, seconds=1)
    top_up_is_due(books)
    for kind, rule in (("withdraw", "withdrawal_fee"), ("net", "debts_first"), ("top_up", "deposit_top_up")):
        (entry,) = books.store.entries.find({"kind": kind})
        assert rules[entry["terms"][rule]]["in_force"] is True
    assert rules["commission_bp@2014-05-29"]["why"]
