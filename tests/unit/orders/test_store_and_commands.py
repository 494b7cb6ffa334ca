"""Commands, reactions and timers of orders on a real database, with catalog and accounts played by hand."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis import clock, ids, paging
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.once import Result
from services.orders import commands, queries
from services.orders.model.states import Known
from services.orders.store import Store
from tests.unit.orders import making
from tests.unit.orders.house import Accounts, Catalog, House, two_shops

BUYER = Known("buyer", making.BUYER)
MERCHANT = Known("merchant", "acc_1", "shop_1")
SHIPMENT = {"delivery_company": "003shunfeng", "delivery_track_no": "SF1234567", "is_others": False}


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


# ------------------------------------------------------------------------------------------------------------------ placing


def test_placing_costs_three_commands_and_freezes_what_the_buyer_saw(house):
    house.place("warm")
    house.counter.names.clear()
    placed = house.place("k2")
    assert house.counter.names == ["bulkWrite", "bulkWrite", "commitTransaction"]
    order = house.order(placed)
    assert order["amount"] == 2 * 1999 + 2 * 100 + 500 == placed.checkout["amount"]
    assert (order["state"], len(order["lines"]), order["openid"]) == ("awaiting_payment", 2, "oacc_of_shop_1")
    assert "due_at" in order
    notes = house.store.database["placings"]
    assert notes.count_documents({"due_at": {"$exists": True}}) == 2
    assert house.later(seconds=61) == 0
    assert notes.count_documents({"due_at": {"$exists": True}}) == 0
    assert notes.count_documents({"expire_at": {"$exists": True}}) == 2
    assert [found["state"] for found in house.checkouts()] == ["placed", "placed"]


def test_the_same_key_answers_the_same_checkout_whatever_became_of_it(house):
    catalog = Catalog()
    first = house.place("k", catalog)
    seen = queries.as_placed(first)
    house.pay(first)
    again = house.place("k", catalog)
    assert again.replayed
    shown = queries.as_placed(again)
    for name in ("checkout_id", "amount", "state", "pay_by", "freight"):
        assert shown[name] == seen[name]
    assert [order["order_id"] for order in shown["orders"]] == [order["order_id"] for order in seen["orders"]]
    assert [order["state"] for order in shown["orders"]] == ["awaiting_payment"]
    assert (catalog.calls, house.store.orders.count_documents({})) == (1, 1)
    with pytest.raises(Refusal) as caught:
        house.place("k", catalog, body="another")
    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"


def test_the_same_key_several_times_at_once_is_one_checkout_answered_to_all(house):
    """In one round, or in one after another: whoever is late is answered what the first one made."""
    catalog, answers = Catalog(), []
    calls = [lambda key=key: answers.append(house.place(key, catalog)) for key in ("k", "k", "k", "other", "other")]
    house.at_once(*calls)
    assert len(answers) == len(calls)
    told = {(placed.checkout["_id"], tuple(order["_id"] for order in placed.orders)) for placed in answers}
    assert len(told) == len(house.checkouts()) == house.store.orders.count_documents({}) == 2
    assert sum(placed.replayed for placed in answers) == 3
    assert house.later(seconds=61) == 0


def test_a_first_attempt_beside_a_repetition_of_another_is_told_apart(house):
    """What is committed together is refused because of the repetition, and then written for the other alone."""
    house.place("k")
    rows, due = house.store.database["placings"], clock.business()
    known, new = rows.find_one({})["placings"][0], {"_id": "chk_new", "created_by": "cmd:new"}
    begin, found = house.store.placings.begin, {}
    house.at_once(*(lambda one=one: found.update({one["_id"]: begin(one, due)}) for one in (known, new)))
    assert {key: each and each["state"] for key, each in found.items()} == {known["_id"]: "placed", "chk_new": None}
    assert begin(new, due) is None
    assert [[each["_id"] for each in row["placings"]] for row in rows.find({})] == [[known["_id"]], ["chk_new"]]


@pytest.mark.parametrize("where", ["catalog", "accounts", "write"])
def test_a_retry_goes_on_wherever_placing_stopped(house, where, monkeypatch):
    catalog, accounts = Catalog(), Accounts()
    away = Refusal("UNAVAILABLE", "away")
    if where == "catalog":
        catalog.failing = [away]
    elif where == "accounts":
        accounts.failing = [away]
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "place", lambda *_: (_ for _ in ()).throw(away))
            with pytest.raises(Refusal):
                house.place("k", catalog, accounts)
    if where != "write":
        with pytest.raises(Refusal) as caught:
            house.place("k", catalog, accounts)
        assert caught.value.reason == "UNAVAILABLE"
    assert house.store.orders.count_documents({}) == 0
    placed = house.place("k", catalog, accounts)
    assert house.store.orders.count_documents({}) == len(house.checkouts()) == 1
    assert list(catalog.held) == [placed.checkout["_id"]]


def test_a_refusal_is_remembered_and_has_no_effect(house):
    catalog = Catalog(stock=0)
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            house.place("k", catalog)
        assert (caught.value.reason, caught.value.info) == ("OUT_OF_STOCK", {"line": "0"})
        catalog.stock = 10**6
    assert catalog.calls == 1
    (found,) = house.checkouts()
    assert (found["state"], house.told(found), "due_at" in found) == ("refused", [], False)
    assert house.place("another key", catalog).checkout["state"] == "placed"


def test_a_refusal_after_reserving_gives_the_stock_back(house):
    with pytest.raises(Refusal) as caught:
        house.place("k", accounts=Accounts("suspended"))
    assert caught.value.reason == "NOT_FOR_SALE"
    (found,) = house.checkouts()
    (event,) = found["outbox"]
    assert event["data"]["checkout_id"] == found["_id"]
    assert not event["data"].get("order_id")


def test_a_placing_nobody_ended_is_given_up_and_its_stock_comes_back(house):
    accounts = Accounts()
    accounts.failing = [Refusal("UNAVAILABLE", "away")]
    with pytest.raises(Refusal):
        house.place("k", accounts=accounts)
    assert house.later(seconds=50) == 0
    assert house.later(seconds=15) == 1
    (found,) = house.checkouts()
    assert (found["state"], house.told(found)) == ("abandoned", ["closed"])
    with pytest.raises(Refusal) as caught:
        house.place("k")
    assert caught.value.reason == "WRONG_STATE"
    assert house.later(days=1) == 0


def test_a_slow_attempt_that_meets_the_end_of_its_placing_releases_what_it_holds(house):
    """The timer gives the placing up while accounts is being asked."""
    catalog, accounts = Catalog(), Accounts()
    accounts.meanwhile = lambda: house.later(seconds=61)
    with pytest.raises(Refusal) as caught:
        house.place("k", catalog, accounts)
    assert caught.value.reason == "WRONG_STATE"
    (found,) = house.checkouts()
    assert (found["state"], house.told(found)) == ("abandoned", ["closed", "closed"])
    assert house.store.orders.count_documents({}) == 0


def test_two_at_once_with_one_key_make_one_checkout(house):
    catalog, barrier, answers = Catalog(), threading.Barrier(2, timeout=20), []

    def run():
        accounts = Accounts()
        accounts.meanwhile = barrier.wait
        answers.append(house.place("k", catalog, accounts))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.checkout["_id"] for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert house.store.orders.count_documents({}) == 1


def test_an_order_number_that_is_taken_is_drawn_again(house, monkeypatch):
    taken = house.place("k1").checkout["shares"][0]["order_id"]
    drawn = iter([taken, "1000000000000000001"])
    monkeypatch.setattr(ids, "order_id", lambda: next(drawn))
    assert house.place("k2").checkout["shares"][0]["order_id"] == "1000000000000000001"


# ------------------------------------------------------------------------------------------------------------------- paying


def test_a_payment_costs_three_commands_and_comes_once(house):
    placed = house.place()
    house.counter.names.clear()
    assert house.pay(placed) is Result.APPLIED
    assert house.counter.names == ["find", "bulkWrite", "commitTransaction"]
    order = house.order(placed)
    assert (order["state"], house.told(order), order["transaction_id"]) == ("paid", ["paid"], "42")
    assert house.pay(placed) is Result.DONE
    assert house.order(placed) == order


def test_of_two_shops_the_closed_one_rejects_its_share_only(house):
    placed = house.place(catalog=two_shops())
    _, second = placed.checkout["shares"]
    commands.cancel(house.store, Cause("cmd:c"), BUYER, second["order_id"], "")
    house.counter.names.clear()
    assert house.pay(placed) is Result.APPLIED
    assert house.counter.names == ["find", "bulkWrite", "commitTransaction"]
    paid, closed = house.order(placed), house.order(placed, 1)
    assert (paid["state"], closed["state"]) == ("paid", "closed")
    assert (house.told(paid), house.told(closed)) == (["paid"], ["closed", "payment_rejected"])
    assert house.events(closed)[1]["data"]["amount"] == str(second["amount"])
    assert house.pay(placed) is Result.DONE
    assert queries.checkout(house.store, BUYER, placed.checkout["_id"])["state"] == "paid"
    refund = {
        "refund_id": "r1",
        "order_id": second["order_id"],
        "checkout_id": closed["checkout_id"],
        "amount": second["amount"],
    }
    assert house.hear("jishi.payments.refund.succeeded.v1", {**refund, "cause": "rejected"}) is Result.APPLIED
    shown = queries.order(house.store, BUYER, second["order_id"])
    assert (shown["refund_state"], shown["refunded"]) == ("refunded", second["amount"])


def test_of_two_shops_the_closed_one_is_neither_asked_for_nor_counted(house):
    placed = house.place(catalog=two_shops())
    first, second = placed.checkout["shares"]
    commands.cancel(house.store, Cause("cmd:c"), BUYER, second["order_id"], "")
    told = queries.payable(house.store, BUYER, placed.checkout["_id"])
    assert ([share["order_id"] for share in told["shares"]], told["amount"]) == ([first["order_id"]], first["amount"])
    shown = queries.checkout(house.store, BUYER, placed.checkout["_id"])
    assert (shown["amount"], len(shown["orders"])) == (first["amount"], 2)
    commands.cancel(house.store, Cause("cmd:d"), BUYER, first["order_id"], "")
    assert queries.checkout(house.store, BUYER, placed.checkout["_id"])["amount"] == first["amount"] + second["amount"]


def test_a_refund_that_comes_before_its_payment_waits_for_it(house):
    placed = house.place()
    (share,) = placed.checkout["shares"]
    refund = {
        "refund_id": "r1",
        "order_id": share["order_id"],
        "checkout_id": placed.checkout["_id"],
        "amount": share["amount"],
        "cause": "dispute",
        "case_id": "c1",
    }
    assert house.hear("jishi.payments.refund.succeeded.v1", refund) is Result.EARLY
    house.intake.sweep()
    house.pay(placed)
    assert house.intake.wake.is_set()
    house.intake.sweep()
    order = house.order(placed)
    assert (order["state"], order["close_reason"], order["refunded"]) == ("closed", "refunded", share["amount"])
    assert house.intake.sweep() == 0


# ------------------------------------------------------------------------------------------------------------- from paid to done


def test_an_unpaid_order_closes_a_minute_after_its_time(house):
    placed = house.place()
    assert house.later(minutes=30, seconds=30) == 0
    assert house.later(seconds=31) == 1
    order = house.order(placed)
    assert (order["state"], order["close_reason"]) == ("closed", "timeout")
    assert house.events(order)[0]["data"].get("was_paid", False) is False
    assert house.pay(placed) is Result.APPLIED
    assert house.told(house.order(placed)) == ["closed", "payment_rejected"]


def test_shipping_and_confirming_with_answers_that_are_remembered(house):
    placed = house.place()
    house.pay(placed)
    order_id = placed.checkout["shares"][0]["order_id"]
    shipped = commands.ship(house.store, Cause("cmd:s"), MERCHANT, order_id, SHIPMENT)
    assert shipped.answer["auto_confirm_at"] - shipped.answer["shipped_at"] == timedelta(days=10)
    confirmed = commands.confirm(house.store, Cause("cmd:c"), BUYER, order_id)
    assert confirmed.answer["state"] == "completed"
    again = commands.ship(house.store, Cause("cmd:s"), MERCHANT, order_id, SHIPMENT)
    assert (again.replayed, again.answer) == (True, shipped.answer)
    order = house.order(placed)
    assert house.told(order) == ["paid", "shipped", "completed"]
    completed = house.events(order)[2]["data"]
    assert (completed["amount"], completed["commission_bp"], completed["by"]) == (str(order["amount"]), 200, "buyer")
    assert [line["action"] for line in order["timeline"]] == ["placed", "paid", "shipped", "completed"]
    assert "due_at" not in order


def test_a_shipped_order_completes_by_itself_unless_a_dispute_is_open(house):
    placed = house.place()
    house.pay(placed)
    order_id = placed.checkout["shares"][0]["order_id"]
    commands.ship(house.store, Cause("cmd:s"), MERCHANT, order_id, SHIPMENT)
    case = {"case_id": "c1", "order_id": order_id, "checkout_id": placed.checkout["_id"]}
    assert house.hear("jishi.disputes.case.opened.v1", {**case, "kind": "refund_only"}) is Result.APPLIED
    assert queries.order(house.store, BUYER, order_id)["order_status"] == 8
    assert house.later(days=11) == 0
    with pytest.raises(Refusal):
        commands.confirm(house.store, Cause("cmd:c"), BUYER, order_id)
    assert house.hear("jishi.disputes.case.closed.v1", {**case, "outcome": "withdrawn"}) is Result.APPLIED
    assert house.later() == 1
    assert house.order(placed)["state"] == "completed"


def test_a_paid_order_that_nobody_ships_is_late_once(house):
    placed = house.place()
    house.pay(placed)
    assert house.later(hours=73) == 1
    order = house.order(placed)
    assert (order["state"], order["late_shipment"]) == ("paid", True)
    assert house.later(days=30) == 0


def test_cancelling_a_paid_order_gives_the_money_back(house):
    placed = house.place()
    house.pay(placed)
    (share,) = placed.checkout["shares"]
    with pytest.raises(Refusal) as caught:
        commands.cancel(house.store, Cause("cmd:1"), MERCHANT, share["order_id"], " ")
    assert caught.value.violations[0].field == "reason"
    outcome = commands.cancel(house.store, Cause("cmd:2"), MERCHANT, share["order_id"], "缺货")
    assert outcome.answer["refund_amount"] == share["amount"]
    event = house.events(house.order(placed))[1]["data"]
    assert (event["was_paid"], event["amount"], event["reason"]) == (True, str(share["amount"]), "merchant")
    with pytest.raises(Refusal) as caught:
        commands.cancel(house.store, Cause("cmd:3"), BUYER, share["order_id"], "")
    assert caught.value.reason == "WRONG_STATE"


def test_stock_that_is_gone_closes_the_order_and_frees_nothing(house):
    placed = house.place()
    house.pay(placed)
    order_id = placed.checkout["shares"][0]["order_id"]
    gone = {"order_id": order_id, "checkout_id": placed.checkout["_id"], "reason": "sold"}
    assert house.hear("jishi.catalog.reservation.failed.v1", gone) is Result.APPLIED
    event = house.events(house.order(placed))[1]["data"]
    assert (event["was_paid"], event["reason"], event.get("lines", [])) == (True, "out_of_stock", [])
    assert house.hear("jishi.catalog.reservation.failed.v1", gone) is Result.DONE


# ------------------------------------------------------------------------------------------------------------------ questions


def test_nobody_sees_or_moves_anothers(house):
    placed = house.place()
    house.pay(placed)
    order_id, checkout_id = placed.checkout["shares"][0]["order_id"], placed.checkout["_id"]
    strangers = [Known("buyer", "usr_2"), Known("merchant", "acc_2", "shop_2"), Known("merchant", "acc_3")]
    for number, stranger in enumerate(strangers):
        tries = [
            lambda who=stranger: queries.order(house.store, who, order_id),
            lambda who=stranger: queries.checkout(house.store, who, checkout_id),
            lambda who=stranger: queries.payable(house.store, who, checkout_id),
            lambda who=stranger, n=number: commands.cancel(house.store, Cause(f"cmd:x{n}"), who, order_id, "x"),
            lambda who=stranger, n=number: commands.ship(house.store, Cause(f"cmd:y{n}"), who, order_id, SHIPMENT),
            lambda who=stranger, n=number: commands.confirm(house.store, Cause(f"cmd:z{n}"), who, order_id),
        ]
        for attempt in tries:
            with pytest.raises(Refusal) as caught:
                attempt()
            assert caught.value.reason == "NOT_FOUND"
    assert house.order(placed)["state"] == "paid"


def test_each_is_told_what_concerns_them(house):
    placed = house.place()
    order_id = placed.checkout["shares"][0]["order_id"]
    buyer = queries.order(house.store, BUYER, order_id)
    assert ("commission_bp" in buyer, buyer["timeline"][0]["actor_id"]) == (False, "")
    merchant = queries.order(house.store, MERCHANT, order_id)
    assert (merchant["buyer_id"], merchant["commission_bp"], merchant["openid"]) == ("", 200, "oacc_of_shop_1")
    admin = queries.order(house.store, Known("arbitrator", "staff_1"), order_id)
    assert (admin["buyer_id"], admin["timeline"][0]["actor_id"]) == (making.BUYER, making.BUYER)


FAR = datetime(2999, 12, 31, tzinfo=UTC)
"""Past the last serial."""


def listed(house, actor, **asked):
    return queries.orders(
        house.store, actor, {"shop_id": "", "buyer_id": "", "page_size": 0, "page_token": "", **asked}
    )


def test_pages_by_state_and_time_neither_skip_nor_repeat(house):
    began = clock.business()
    placed = [house.place(f"k{number}") for number in range(7)]
    for number in (1, 3, 5):
        house.pay(placed[number], f"pay_{number}", number)
    newest_first = [each.checkout["shares"][0]["order_id"] for each in reversed(placed)]
    newest_first = sorted(newest_first, key=lambda order_id: -house.store.order(order_id)["serial"])
    for actor in (BUYER, MERCHANT):
        seen, token = [], ""
        while True:
            found, token = listed(house, actor, page_size=3, page_token=token)
            seen += [order["order_id"] for order in found]
            if len(seen) == 3:
                newest = house.place("k-new").checkout["shares"][0]["order_id"]
                house.store.orders.delete_one({"_id": newest})
            if not token:
                break
        assert seen == newest_first
        assert len(listed(house, actor, state="paid")[0]) == 3
        assert len(listed(house, actor, created_to=began)[0]) == 0
        assert len(listed(house, actor, created_from=began, in_dispute=False)[0]) == 7
        assert len(listed(house, actor, in_dispute=True)[0]) == 0
        assert len(listed(house, actor, created_to=FAR)[0]) == 7
        assert len(listed(house, actor, created_from=FAR)[0]) == 0
    assert listed(house, Known("buyer", "usr_2")) == ([], "")
    assert len(listed(house, Known("admin", "s"), shop_id="shop_1")[0]) == 7


def forged(last):
    return paging.encode({"buyer_id": making.BUYER, "between": [None, None]}, last)


@pytest.mark.parametrize(
    ("actor", "asked", "reason"),
    [
        (BUYER, {"page_token": "nonsense"}, "INVALID_PAGE_TOKEN"),
        (BUYER, {"page_token": forged([2**70])}, "INVALID_PAGE_TOKEN"),
        (BUYER, {"page_size": -1}, "INVALID_ARGUMENT"),
        (Known("merchant", "acc_1"), {}, "PERMISSION_DENIED"),
        (Known("admin", "s"), {}, "INVALID_ARGUMENT"),
    ],
)
def test_lists_that_are_refused(house, actor, asked, reason):
    with pytest.raises(Refusal) as caught:
        listed(house, actor, **asked)
    assert caught.value.reason == reason


def test_a_token_of_another_list_is_refused(house):
    for number in range(2):
        house.place(f"k{number}")
    _, token = listed(house, BUYER, page_size=1)
    for asked in ({"state": "paid"}, {"created_to": clock.business()}):
        with pytest.raises(Refusal) as caught:
            listed(house, BUYER, page_size=1, page_token=token, **asked)
        assert caught.value.reason == "INVALID_PAGE_TOKEN"


def test_a_payable_is_frozen_costs_one_command_and_ends_with_its_orders(house):
    placed = house.place(catalog=two_shops())
    house.counter.names.clear()
    service = Known("service", "payments")
    found = queries.payable(house.store, service, placed.checkout["_id"])
    assert house.counter.names == ["find"]
    of_each = [{"revision": 0, "openid": f"oacc_of_{share['shop_id']}"} for share in placed.checkout["shares"]]
    expected = [share | more for share, more in zip(placed.checkout["shares"], of_each, strict=True)]
    assert expected == found["shares"]
    assert (found["amount"], found["state"]) == (placed.checkout["amount"], "awaiting_payment")
    for number, share in enumerate(placed.checkout["shares"]):
        commands.cancel(house.store, Cause(f"cmd:{number}"), BUYER, share["order_id"], "")
    after = queries.payable(house.store, BUYER, placed.checkout["_id"])
    assert (after["state"], after["shares"]) == ("closed", found["shares"])
    with pytest.raises(Refusal) as caught:
        queries.payable(house.store, service, "chk_none")
    assert caught.value.reason == "NOT_FOUND"


def test_a_refused_checkout_has_no_payable(house):
    with pytest.raises(Refusal):
        house.place("k", Catalog(stock=0))
    (found,) = house.checkouts()
    with pytest.raises(Refusal) as caught:
        queries.payable(house.store, BUYER, found["_id"])
    assert (caught.value.reason, caught.value.info["state"]) == ("WRONG_STATE", "refused")
    assert queries.checkout(house.store, BUYER, found["_id"])["state"] == "refused"
