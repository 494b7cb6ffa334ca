"""维权 on a real database: each step once, an actor and a timer never both, the money told exactly once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.errors import Refusal
from services.chassis.once import Result
from services.chassis.timers import Timers
from services.disputes import commands, queries
from tests.contract.disputes.house import BUYER, FIRST, MERCHANT, OTHER_BUYER, OTHER_SHOP, RULING, SECOND, fresh

DAY = timedelta(days=1)


def reason_of(act) -> str:
    """Why it was refused; "" when it was not."""
    try:
        act()
    except Refusal as refusal:
        return refusal.reason
    return ""


def test_an_agreement_pays_the_claim_and_closes_the_case(house):
    case_id = house.open(amount=30_000)["_id"]
    accepted = commands.accept(house.store, fresh(), MERCHANT, case_id).document
    assert accepted["state"] == "executing"
    assert accepted.get("due_at") is None
    assert house.refunded(case_id, 30_000) is Result.APPLIED
    assert house.refunded(case_id, 30_000) is Result.DONE
    case = house.store.case(case_id)
    assert (case["state"], case["refunded"], "open_order" in case) == ("closed_refund_full", 30_000, False)
    kinds = [
        (kind, data.get("claim") or data.get("refund") or data.get("refunded")) for kind, data in house.facts(case_id)
    ]
    assert kinds == [("opened", 30_000), ("ruled", 30_000), ("closed", 30_000)]
    assert [step["action"] for step in case["timeline"]] == ["open", "accept", "refunded"]


def test_opening_again_with_the_same_key_is_the_same_case(house):
    cause = fresh("open")
    first = house.open(cause=cause)
    assert house.open(cause=cause)["_id"] == first["_id"]
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.open(cause=fresh("open", "another body"))
    with pytest.raises(Refusal, match="ALREADY_EXISTS") as refused:
        house.open()
    assert refused.value.info == {"case_id": first["_id"]}


def test_of_many_openings_at_once_one_case_comes(house):
    with ThreadPoolExecutor(8) as pool:
        reasons = list(pool.map(lambda _: reason_of(house.open), range(8)))
    assert sorted(reasons) == ["", *["ALREADY_EXISTS"] * 7]
    assert house.store.cases.count_documents({}) == 1


def test_a_case_after_a_case_claims_what_is_left_and_the_sixth_is_refused(house):
    first = house.open(amount=200_000)["_id"]
    commands.accept(house.store, fresh(), MERCHANT, first)
    house.refunded(first, 200_000)
    assert reason_of(lambda: house.open(amount=50_001)) == "INVALID_ARGUMENT"
    assert house.open()["claim"] == 50_000
    for _ in range(3):
        commands.withdraw(house.store, fresh(), BUYER, house.store.cases.find_one({"open_order": "1"})["_id"])
        house.open()
    commands.withdraw(house.store, fresh(), BUYER, house.store.cases.find_one({"open_order": "1"})["_id"])
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        house.open()


def test_openings_and_withdrawals_at_once_never_pass_the_most_cases_an_order(house):
    """Each opening may have counted the cases before another one was opened and closed."""

    def open_and_withdraw(_) -> str:
        try:
            case_id = house.open()["_id"]
        except Refusal as refusal:
            return refusal.reason
        return reason_of(lambda: commands.withdraw(house.store, fresh(), BUYER, case_id))

    reasons: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        while (
            "CONDITION_UNMET" not in reasons
        ):  # who meets another's open case is refused, and may be all of them for a while
            reasons += pool.map(open_and_withdraw, range(60))
    assert set(reasons) <= {"", "ALREADY_EXISTS", "CONDITION_UNMET", "VERSION_CONFLICT"}
    assert reasons.count("") == house.store.cases.count_documents({}) == 5


def test_an_opening_that_another_case_overtook_counts_it_and_what_it_refunded(house, monkeypatch):
    seen, once = house.store.cases_of_order, []

    def slower(order_id):
        found = seen(order_id)
        if not once:
            once.append(order_id)
            first = house.open(amount=200_000)["_id"]
            commands.accept(house.store, fresh(), MERCHANT, first)
            house.refunded(first, 200_000)
        return found

    monkeypatch.setattr(house.store, "cases_of_order", slower)
    assert house.open()["claim"] == 50_000
    numbers = [case["number_in_order"] for case in house.store.cases.find().sort("number_in_order", 1)]
    assert numbers == ["1/1", "1/2"]


def test_what_is_not_yours_is_not_there(house):
    case_id = house.open()["_id"]
    for party in (OTHER_BUYER, OTHER_SHOP):
        with pytest.raises(Refusal, match="NOT_FOUND"):
            queries.case(house.store, party, case_id)
    assert reason_of(lambda: commands.accept(house.store, fresh(), OTHER_SHOP, case_id)) == "NOT_FOUND"
    assert reason_of(lambda: commands.withdraw(house.store, fresh(), OTHER_BUYER, case_id)) == "NOT_FOUND"
    assert reason_of(lambda: house.open("none")) == "NOT_FOUND"
    assert queries.case(house.store, FIRST, case_id)["_id"] == case_id


def test_silence_of_the_merchant_agrees_after_two_days(house):
    case_id = house.open()["_id"]
    house.wait(2 * DAY - timedelta(minutes=1))
    assert house.store.case(case_id)["state"] == "wait_merchant"
    house.wait(timedelta(minutes=2))
    case = house.store.case(case_id)
    assert (case["state"], case["timeline"][-1]["actor"]) == ("executing", "timer")
    house.wait(30 * DAY)
    assert [kind for kind, _ in house.facts(case_id)] == ["opened", "ruled"]


def test_a_refusal_gives_the_buyer_seven_days(house):
    case_id = house.open()["_id"]
    refused = commands.refuse(house.store, fresh(), MERCHANT, case_id, "没有破", ["发货照片", "签收单"]).document
    assert refused["evidence"] == ["发货照片", "签收单"]
    assert refused["due_at"] - clock.business_ms() == pytest.approx(7 * 86_400_000, abs=60_000)
    house.wait(7 * DAY + timedelta(minutes=1))
    assert house.store.case(case_id)["state"] == "closed_rejected"
    assert house.facts(case_id)[-1][1]["outcome"] == "rejected"
    assert reason_of(lambda: commands.escalate(house.store, fresh(), BUYER, case_id, "迟了")) == "WRONG_STATE"


def test_a_timer_that_saw_the_case_before_an_actor_was_faster_does_nothing(house, monkeypatch):
    """The timer has read the case as overdue; the merchant refuses; the timer's write must not end the buyer's seven days."""
    case_id = house.open()["_id"]
    clock.see(clock.offset_ms() + int((2 * DAY).total_seconds() * 1000) + 1000)
    seen_due = Timers._due

    def slower(timers, timer):
        due = seen_due(timers, timer)
        commands.refuse(house.store, fresh(), MERCHANT, case_id, "没有破", ["发货照片"])
        return due

    monkeypatch.setattr(Timers, "_due", slower)
    house.timers.sweep()
    assert house.store.case(case_id)["state"] == "merchant_rejected"
    assert [kind for kind, _ in house.facts(case_id)] == ["opened"]


def test_an_actor_and_the_timer_race_and_exactly_one_wins(house):
    won = set()
    for number in range(12):
        order_id = f"r{number}"
        house.orders.put(order_id)
        case_id = house.open(order_id)["_id"]
        clock.see(clock.offset_ms() + int((2 * DAY).total_seconds() * 1000) + 1000)
        with ThreadPoolExecutor(2) as pool:
            timer = pool.submit(house.timers.sweep)
            actor = pool.submit(
                reason_of,
                lambda case_id=case_id: commands.refuse(house.store, fresh(), MERCHANT, case_id, "没有", ["照片"]),
            )
            timer.result()
            refused = actor.result()
        case = house.store.case(case_id)
        assert (refused, case["state"]) in {("", "merchant_rejected"), ("WRONG_STATE", "executing")}
        assert len(case["timeline"]) == 2
        assert [kind for kind, _ in house.facts(case_id)].count("ruled") == (case["state"] == "executing")
        won.add(case["state"])
    print(won)


def test_a_small_ruling_pays_at_once(house):
    case_id = house.queued(20_000)
    assert house.rule(case_id)["state"] == "executing"
    assert house.facts(case_id)[-1] == (
        "ruled",
        {
            "case_id": case_id,
            "order_id": "1",
            "checkout_id": "c1",
            "shop_id": "s1",
            "buyer_id": "u1",
            "payer": "merchant",
            "refund": 20_000,
            "decided_by": "platform",
            "reason_code": "NOT_AS_DESCRIBED",
        },
    )


def test_a_larger_ruling_waits_for_the_appeal_window_unless_waived(house):
    case_id = house.queued(50_000)
    assert house.rule(case_id)["state"] == "adjudicated"
    house.wait(6 * DAY)
    assert house.store.case(case_id)["state"] == "adjudicated"
    house.wait(DAY + timedelta(minutes=1))
    assert house.store.case(case_id)["state"] == "executing"

    house.orders.put("2")
    other = house.queued(50_000, "2")
    house.rule(other, remedy="refund_partial", amount=30_000)
    commands.accept_ruling(house.store, fresh(), MERCHANT, other)
    assert house.store.case(other)["state"] == "adjudicated"
    assert house.store.case(other)["due_at"]
    commands.accept_ruling(house.store, fresh(), BUYER, other)
    assert house.store.case(other)["state"] == "executing"
    assert house.refunded(other, 30_000) is Result.APPLIED
    assert house.store.case(other)["state"] == "closed_refund_partial"


def test_a_large_ruling_needs_two_people(house):
    case_id = house.queued()
    assert house.rule(case_id)["state"] == "wait_second_person"
    assert reason_of(lambda: commands.confirm_ruling(house.store, fresh(), FIRST, case_id)) == "PERMISSION_DENIED"
    confirmed = commands.confirm_ruling(house.store, fresh(), SECOND, case_id).document
    assert (confirmed["state"], confirmed["ruling"]["confirmed_by"]) == ("adjudicated", "a2")
    assert commands.accept_ruling(house.store, fresh(), MERCHANT, case_id).document["state"] == "executing"


def test_a_rejected_ruling_is_ruled_on_again_and_kept_for_the_platform(house):
    case_id = house.queued()
    first = fresh("first ruling")
    before = commands.rule(house.store, first, FIRST, case_id, RULING).document
    assert reason_of(lambda: commands.reject_ruling(house.store, fresh(), FIRST, case_id, "错")) == "PERMISSION_DENIED"
    reject = fresh("reject")
    back = commands.reject_ruling(house.store, reject, SECOND, case_id, "只是带子断了")
    assert (back.document["state"], "ruling" in back.document) == ("platform_queued", False)
    assert house.rule(case_id, SECOND, remedy="refund_partial", amount=110_000)["state"] == "wait_second_person"
    commands.reject_ruling(house.store, fresh(), FIRST, case_id, "还是太多")

    case = house.store.case(case_id)
    kept = [(row["ruling"]["amount"], row["ruling"]["ruled_by"], row["reason"]) for row in case["rejected_rulings"]]
    assert kept == [(250_000, "a1", "只是带子断了"), (110_000, "a2", "还是太多")]
    assert queries.shown(FIRST, case)["rejected_rulings"] == case["rejected_rulings"]
    assert queries.shown(MERCHANT, case)["rejected_rulings"] == []
    again = commands.reject_ruling(house.store, reject, SECOND, case_id, "只是带子断了")
    assert (again.replayed, again.document) == (True, {**again.document, **_told(back.document)})
    assert _told(commands.rule(house.store, first, FIRST, case_id, RULING).document) == _told(before)

    assert house.rule(case_id, remedy="refund_partial", amount=20_000)["state"] == "executing"
    assert [kind for kind, _ in house.facts(case_id)] == ["opened", "ruled"]


def _told(case):
    """What an answer tells of a case and may change."""
    names = ("state", "ruling", "rejected_rulings", "timeline", "due_at")
    return {name: case[name] for name in names if case.get(name)}


def test_a_step_again_with_the_same_key_answers_the_same(house):
    case_id, cause = house.open()["_id"], fresh("refuse")
    first = commands.refuse(house.store, cause, MERCHANT, case_id, "没有破", ["发货照片"])
    commands.escalate(house.store, fresh(), BUYER, case_id, "照片为证")
    again = commands.refuse(house.store, cause, MERCHANT, case_id, "没有破", ["发货照片"])
    assert (first.replayed, again.replayed) == (False, True)
    assert len(house.store.case(case_id)["timeline"]) == 3


def test_a_refund_that_comes_too_soon_waits_and_one_of_no_case_is_no_news(house):
    case_id = house.open()["_id"]
    assert house.refunded(case_id, 250_000) is Result.EARLY
    assert house.refunded("", 5) is Result.STALE
    commands.accept(house.store, fresh(), MERCHANT, case_id)
    house.database["handled"].update_many({"state": "waiting"}, {"$set": {"next_at": clock.wall_ms()}})
    house.intake.sweep()
    assert house.store.case(case_id)["state"] == "closed_refund_full"


def test_lists_are_paged_newest_first_and_each_sees_their_own(house):
    made = []
    for number in range(7):
        house.orders.put(f"l{number}", shop_id="s1" if number % 2 else "s2")
        made.append(house.open(f"l{number}")["_id"])

    def listed(party, **asked) -> list[str]:
        found, token = [], ""
        while True:
            rows, token = queries.cases(house.store, party, {"page_size": 2, "page_token": token, **asked})
            found += [row["_id"] for row in rows]
            if not token:
                return found

    assert listed(BUYER) == made[::-1]
    assert listed(MERCHANT) == made[1::2][::-1]
    assert listed(OTHER_BUYER) == []
    assert listed(FIRST, state="wait_merchant") == made[::-1]
    assert listed(FIRST, order_id="l3") == [made[3]]
    for party, asked in ((FIRST, {}), (BUYER, {"page_size": -1}), (BUYER, {"page_token": "x"})):
        with pytest.raises(Refusal):
            listed(party, **asked)


def test_people_are_named_to_the_platform_only(house):
    case_id = house.queued()
    house.rule(case_id)
    case = house.store.case(case_id)
    merchant, buyer = queries.shown(MERCHANT, case), queries.shown(BUYER, case)
    assert (merchant["buyer_id"], buyer["buyer_id"]) == ("", "u1")
    assert (merchant["ruling"]["ruled_by"], queries.shown(SECOND, case)["ruling"]["ruled_by"]) == ("", "a1")
    assert [step["actor_id"] for step in merchant["timeline"]] == ["", "m1", "", ""]
    assert [step["actor_id"] for step in buyer["timeline"]] == ["u1", "", "u1", ""]
