"""The ledger against the channel's own bill: what differs is named, posted to suspense, and taken back once it is resolved."""

import contextlib
import secrets
from collections import Counter

import pytest

from services.chassis import clock
from services.chassis.calendar import day
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments.commands import reconciling as commands
from services.payments.jobs import reconciling as jobs
from services.payments.model import ledger
from services.payments.provider import APPID
from services.payments.queries.reconciling import reconciliation
from services.payments.store import days


@pytest.fixture
def house(house, channel_process):
    """A house whose channel has no trade of another test on its bill."""
    house.database.client[f"{channel_process.prefix}channel"]["trades"].delete_many({})
    return house


def today():
    return day(clock.wall())


def asked_now(house, cst_day):
    commands.reconcile(house.store, Cause(f"cmd:{secrets.token_hex(8)}", "body"), cst_day)


def run(house, cst_day, keep=lambda **_: None):
    row = house.store.reconciliations.find_one({"_id": cst_day})
    jobs.reconcile(house.store, house.channel, row, keep)


def reconciled(house, cst_day):
    """Asked for and done: the report and its differences."""
    asked_now(house, cst_day)
    run(house, cst_day)
    told, rows, rest = reconciliation(house.store, cst_day, "", 0)
    assert rest == ""
    return told, rows


def account(house, name):
    entries = house.store.entries.find({})
    return ledger.balances(entries).get((name, "CNY"), 0)


def of_the_day(house, cst_day):
    """What ``channel:clearing`` holds of one channel day."""
    entries = house.store.entries.find({"books": f"channel|{cst_day}"})
    return -ledger.balances(entries).get((ledger.CLEARING, "CNY"), 0)


def at_the_channel(house, total):
    """A payment that the channel took for a number this house never gave; the trade's number."""
    number = f"X{secrets.token_hex(8)}"
    body = {
        "appid": APPID,
        "mchid": house.channel._credential().mchid,
        "description": "别家",
        "out_trade_no": number,
        "notify_url": "http://127.0.0.1:9/nobody",
        "amount": {"total": total, "currency": "CNY"},
    }
    code = house.channel._call("POST", "/v3/pay/transactions/native", body)["code_url"]
    assert house.http.post(code + "/pay", json={"payer": "o", "notify": {"copies": 0}}).status_code == 200
    return number


def refunded_at_the_channel(house, trade_no, amount, total):
    """A refund that the channel gave and this house never asked for; its number."""
    number = f"X{secrets.token_hex(8)}"
    row = {"_id": number, "out_trade_no": trade_no, "cause": "x", "amount": amount, "total": total, "currency": "CNY"}
    assert house.channel.refund(row)["status"] == "SUCCESS"
    return number


def trade_of(house, checkout_id):
    return house.store.payable(checkout_id)["payments"][0]["out_trade_no"]


def unheard(house, amount):
    """A payment of ours that was made and never told."""
    payment = house.create(house.checkout(amount))
    assert house.pay(payment, notify={"copies": 0}).status_code == 200


def ten_differences(house):
    """Ten differences of the six kinds, beside payments and refunds on which both agree."""
    house.paid(500)
    returned = house.paid(600)
    (order_id,) = house.order_ids(returned)
    house.hear("jishi.orders.order.closed.v1", returned, order_id=order_id, was_paid=True, amount=600)
    house.send_refunds()
    for scripted in (888_811, 888_812, 888_812, 888_813, 888_813, 888_814):
        house.paid(scripted)  # missing in the bill, double, double, amount, amount, late
    unheard(house, 700)  # missing in the ledger
    at_the_channel(house, 1100)  # unknown
    for amount in (40, 50):  # refund only
        refunded_at_the_channel(house, trade_of(house, house.paid(900)), amount, 900)


EXPECTED = {"missing": 2, "double": 2, "amount": 2, "late": 1, "unknown": 1, "refund_only": 2}


def test_ten_differences_of_six_kinds_are_named_and_posted_none_else_and_only_once(house):
    ten_differences(house)
    told, rows = reconciled(house, today())
    assert told["kinds"] == EXPECTED
    assert (told["differences"], told["open"], told["state"]) == (10, 10, "done")
    assert Counter(row["kind"] for row in rows) == EXPECTED
    assert told["matched"] == 7, "two payments, a refund, two that stand there twice, two that were refunded unasked"
    assert {(row["kind"], row["missing_in"]) for row in rows if row["missing_in"]} == {
        ("missing", "ledger"),
        ("missing", "channel"),
    }
    for row in rows:
        entry = house.store.entry(row["entry_id"])
        assert row["difference_id"] in entry["refs"]
        assert sum(p["amount"] for p in entry["postings"] if p["account"] == ledger.SUSPENSE) == row["amount"]
    theirs = told["channel"]["paid"] - told["channel"]["refunded"]
    # The payment that was never told has been asked for and collected meanwhile: that is the ledger's own, later movement.
    assert of_the_day(house, today()) == theirs + 700
    assert account(house, ledger.SUSPENSE) == sum(row["amount"] for row in rows)
    before = list(house.store.entries.find({"kind": "suspend"}))
    told, rows = reconciled(house, today())
    assert list(house.store.entries.find({"kind": "suspend"})) == before
    (healed,) = [row for row in rows if row["state"] == "resolved"]
    assert (healed["kind"], healed["missing_in"], healed["resolution"]) == ("missing", "ledger", "corrected")
    assert (told["open"], told["differences"]) == (9, 10)
    assert of_the_day(house, today()) == theirs
    house.check()


def dying_after(steps):
    left = iter(range(steps))

    def keep(*, yielding=True):
        if yielding and next(left, None) is None:
            raise SystemExit

    return keep


def test_a_run_that_dies_anywhere_is_done_by_the_next_one(house, monkeypatch):
    monkeypatch.setattr("services.payments.jobs.sides.BATCH", 3)
    ten_differences(house)
    asked_now(house, today())
    deaths = 0
    while house.store.reconciliations.find_one({"_id": today()})["state"] != "done":
        with contextlib.suppress(SystemExit):  # one difference or one part further each time
            run(house, today(), dying_after(2))
        deaths += 1
    assert 5 < deaths < 20
    told, _ = reconciled(house, today())
    assert told["kinds"] == EXPECTED
    assert house.store.entries.count_documents({"kind": "suspend"}) == 10
    house.check()


def test_what_is_asked_for_while_a_run_is_under_way_is_not_forgotten(house):
    house.paid(500)
    asked_now(house, today())

    def meanwhile(**_):
        if house.store.reconciliations.find_one({"_id": today()})["version"] == 2:
            asked_now(house, today())

    run(house, today(), meanwhile)
    row = house.store.reconciliations.find_one({"_id": today()})
    assert (row["state"], row["next_at"] <= clock.wall_ms()) == ("pending", True)


def test_a_late_payment_is_taken_back_by_the_other_days_run(house):
    house.paid(888_814)
    tomorrow = days.next_day(today())
    _, (late,) = reconciled(house, today())
    assert (late["kind"], late["other_date"], late["state"], late["amount"]) == ("late", tomorrow, "open", -888_814)
    run(house, tomorrow)  # the day was planned by the run of the day before
    _, (other,), _ = reconciliation(house.store, tomorrow, "", 0)
    assert (other["kind"], other["state"], other["resolution"], other["amount"]) == (
        *("late", "resolved"),
        *("other_day", 888_814),
    )
    _, (late,) = reconciled(house, today())
    assert (late["state"], late["resolution"]) == ("resolved", "other_day")
    assert account(house, ledger.SUSPENSE) == 0
    assert house.store.entries.count_documents({"kind": {"$in": ["suspend", "clear"]}}) == 2


def test_a_person_ends_a_difference_once_and_says_why(house):
    at_the_channel(house, 1100)
    at_the_channel(house, 1200)
    _, rows = reconciled(house, today())
    kept, undone = sorted(rows, key=lambda row: row["amount"])
    asked = {"date": today(), "difference_id": kept["difference_id"], "resolution": "absorbed", "note": "付款人找不到"}
    first, replayed = commands.resolve(house.store, Cause("cmd:end", "body"), asked)
    again, replay = commands.resolve(house.store, Cause("cmd:end", "body"), asked)
    assert (replayed, replay, first) == (False, True, again)
    assert account(house, ledger.FEE) == 1100
    with pytest.raises(Refusal, match="WRONG_STATE"):
        commands.resolve(house.store, Cause("cmd:other", "body"), asked)
    other = {**asked, "difference_id": undone["difference_id"]}
    for wrong in ({"note": " "}, {"resolution": "other_day"}):
        with pytest.raises(Refusal) as refused:
            commands.resolve(house.store, Cause("cmd:wrong", "body"), {**other, **wrong})
        assert refused.value.violations[0].field in wrong
    commands.resolve(house.store, Cause("cmd:undo", "body"), {**other, "resolution": "corrected", "note": "渠道已冲正"})
    assert account(house, ledger.SUSPENSE) == 0
    with pytest.raises(Refusal, match="NOT_FOUND"):
        commands.resolve(house.store, Cause("cmd:none", "body"), {**asked, "difference_id": "2026-01-01:x:y:0"})
    house.check()


def test_a_day_that_moved_money_is_planned_by_itself_and_asked_for_once_per_key(house):
    assert house.store.reconciliations.find_one({"_id": today()}) is None
    days._begun.clear()
    house.paid(500)
    row = house.store.reconciliations.find_one({"_id": today()})
    assert row["next_at"] == days.due_at(today()) > clock.wall_ms()
    first, replayed = commands.reconcile(house.store, Cause("cmd:now", "body"), today())
    run(house, today())
    again, replay = commands.reconcile(house.store, Cause("cmd:now", "body"), today())
    assert (replayed, replay, first) == (False, True, again)
    row = house.store.reconciliations.find_one({"_id": today()})
    assert (row["state"], row["next_at"]) == ("done", days.due_at(today())), (
        "the day is not over: it is looked at again"
    )
    with pytest.raises(Refusal) as refused:
        commands.reconcile(house.store, Cause("cmd:future", "body"), days.next_day(today()))
    assert refused.value.violations[0].field == "date"
