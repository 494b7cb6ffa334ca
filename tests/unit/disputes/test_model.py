"""维权: the machine is the table; an actor and a timer never both win; money moves once."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.decisions import KEEP, Verdict
from services.chassis.errors import Refusal
from services.disputes import model
from services.disputes.commands import rules_at
from services.disputes.model import CLOSED, TABLE, State, Step
from tests.examples import examples

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
RULES = rules_at(NOW)
PARTIES = {"order_id": "1", "checkout_id": "c", "shop_id": "s"}
ORDER = {**PARTIES, "state": "paid", "amount": 250_000, "refunded": 0, "refunds": [], "currency": "CNY"}
RULING = {
    "liability": "merchant",
    "remedy": "refund_full",
    "payer": "merchant",
    "reason_code": "R1",
}


def new_case(
    claim: int = 0, order: dict | None = None, earlier: tuple = (), note: str = "torn", kind: str = "refund_only"
) -> dict:
    body = model.opened(order or ORDER, earlier, claim, kind, RULES, Step(NOW, "buyer", "b", note))
    return {"_id": "case", **PARTIES, "buyer_id": "b", "open_order": "1", **body}


def after(case: dict, change: model.Change) -> dict:
    moved = {**case, **change.set, **{name: case.get(name, []) + more for name, more in change.push.items()}}
    for name in change.unset:
        moved.pop(name, None)
    return moved


def step(actor: str = "merchant", identity: str = "m", note: str = "because") -> Step:
    return Step(NOW, actor, identity, note)


def test_every_state_can_be_reached_and_every_closed_state_is_final():
    reached = {State.WAIT_MERCHANT}.union(*TABLE.values())
    assert reached == set(State)
    assert not {state for state, _ in TABLE} & CLOSED


def test_a_claim_is_what_is_left_unless_less_is_asked():
    assert new_case()["claim"] == 250_000
    assert new_case(100)["claim"] == 100
    assert new_case(order={**ORDER, "refunded": 249_999})["claim"] == 1


def test_a_refund_of_an_earlier_case_counts_once_whether_orders_has_heard_of_it_or_not():
    earlier = ({"_id": "first", "refunded": 50_000},)
    assert new_case(earlier=earlier)["claim"] == 200_000
    heard = {**ORDER, "refunded": 50_000, "refunds": [{"case_id": "first", "amount": 50_000}]}
    assert new_case(order=heard, earlier=earlier)["claim"] == 200_000


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "exchange"}, "kind"),
        ({"note": " "}, "reason"),
        ({"note": "x" * 501}, "reason"),
        ({"earlier": tuple({"_id": str(n), "refunded": 0} for n in range(5))}, "cases_per_order|at most 5 times"),
    ],
)
def test_a_claim_says_what_it_is_about(wrong, named):
    with pytest.raises(Refusal, match=named):
        new_case(**wrong)


@pytest.mark.parametrize("claim", [-1, 250_001])
def test_more_than_was_paid_cannot_be_claimed(claim):
    with pytest.raises(Refusal, match="amount"):
        new_case(claim)


@pytest.mark.parametrize("state", ["awaiting_payment", "closed"])
def test_only_a_paid_order_can_be_claimed_on(state):
    with pytest.raises(Refusal, match="WRONG_STATE"):
        new_case(order={**ORDER, "state": state})


def test_the_claim_window_ends_fifteen_days_after_completion():
    done = {**ORDER, "state": "completed"}
    assert new_case(order={**done, "completed_at": NOW - timedelta(days=15)})
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        new_case(order={**done, "completed_at": NOW - timedelta(days=15, seconds=1)})


def test_silence_of_the_merchant_agrees_and_silence_of_the_buyer_ends_it():
    agreed = model.overdue(new_case(), NOW)
    assert agreed.set["state"] == "executing"
    assert agreed.facts[0].data["refund"] == 250_000
    refused = after(new_case(), model.refuse(new_case(), step(), ["photo"], RULES))
    ended = model.overdue(refused, NOW)
    assert ended.set["state"] == "closed_rejected"
    assert ended.facts[0].data["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("note", "evidence"), [("", ["x"]), ("no", []), ("no", ["x" * 501]), ("no", ["x"] * 10), ("no", [" "])]
)
def test_a_refusal_needs_a_reason_and_evidence(note, evidence):
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        model.refuse(new_case(), step(note=note), evidence, RULES)


def queued(claim: int = 0) -> dict:
    case = after(new_case(claim), model.refuse(new_case(claim), step(), ["photo"], RULES))
    return after(case, model.escalate(case, step("buyer", "b"), RULES))


def test_a_small_ruling_moves_money_at_once():
    assert model.rule(queued(20_000), RULING, step("platform", "a1"), RULES).set["state"] == "executing"


def test_a_middle_ruling_waits_for_the_appeal_window_or_the_losers_word():
    case = queued(20_001)
    change = model.rule(case, RULING, step("platform", "a1"), RULES)
    assert (change.set["state"], change.due, change.facts) == ("adjudicated", NOW + timedelta(days=7), ())
    ruled = after(case, change)
    with pytest.raises(Refusal, match=r"who lost \(merchant\)"):
        model.accept_ruling(ruled, step("buyer", "b"))
    assert model.accept_ruling(ruled, step("merchant", "m")).set["state"] == "executing"
    assert model.overdue(ruled, NOW).set["state"] == "executing"


def test_where_both_lost_something_both_must_give_up_their_appeal():
    case = queued()
    partial = {**RULING, "remedy": "refund_partial", "amount": 60_000}
    ruled = after(case, model.rule(case, partial, step("platform", "a1"), RULES))
    assert model.losers(ruled) == {"buyer", "merchant"}
    half = model.accept_ruling(ruled, step("merchant", "m"))
    assert (half.set["state"], half.due, half.facts) == ("adjudicated", KEEP, ())
    waiting = after(ruled, half)
    assert model.accept_ruling(waiting, step("merchant", "m")).set["state"] == "adjudicated"
    assert model.accept_ruling(waiting, step("buyer", "b")).set["state"] == "executing"
    assert model.overdue(waiting, NOW).set["state"] == "executing"


def test_where_nobody_lost_the_money_moves_at_once():
    case = queued(50_000)
    generous = {**RULING, "liability": "none", "payer": "platform"}
    assert model.rule(case, generous, step("platform", "a1"), RULES).set["state"] == "executing"
    large = queued()
    ruled = after(large, model.rule(large, generous, step("platform", "a1"), RULES))
    assert ruled["state"] == "wait_second_person"
    assert model.confirm_ruling(ruled, step("platform", "a2"), RULES).set["state"] == "executing"


def test_a_ruling_that_gives_nothing_ends_when_the_buyer_accepts_it():
    case = queued(100)
    ruled = after(case, model.rule(case, {**RULING, "remedy": "none"}, step("platform", "a1"), RULES))
    ended = model.accept_ruling(ruled, step("buyer", "b"))
    assert (ended.set["state"], ended.facts[0].data["outcome"]) == ("closed_rejected", "rejected")


@pytest.mark.parametrize("amount", [0, 250_000])
def test_a_partial_refund_is_less_than_the_claim(amount):
    with pytest.raises(Refusal, match="amount"):
        model.rule(queued(), {**RULING, "remedy": "refund_partial", "amount": amount}, step("platform", "a1"), RULES)


def test_a_large_ruling_needs_a_second_person():
    case = queued()
    ruled = after(case, model.rule(case, RULING, step("platform", "a1"), RULES))
    assert ruled["state"] == "wait_second_person"
    with pytest.raises(Refusal, match="second person"):
        model.confirm_ruling(ruled, step("platform", "a1"), RULES)
    assert model.confirm_ruling(ruled, step("platform", "a2"), RULES).set["state"] == "adjudicated"


def test_a_second_person_who_disagrees_sends_the_case_back_for_another_ruling():
    case = queued()
    ruled = after(case, model.rule(case, RULING, step("platform", "a1"), RULES))
    with pytest.raises(Refusal, match="second person"):
        model.reject_ruling(ruled, step("platform", "a1"), RULES)
    with pytest.raises(Refusal, match="reason"):
        model.reject_ruling(ruled, step("platform", "a2", " "), RULES)
    change = model.reject_ruling(ruled, step("platform", "a2", "only the strap is torn"), RULES)
    assert (change.set, change.due, change.facts) == ({"state": "platform_queued"}, None, ())
    back = after(ruled, change)
    assert "ruling" not in back
    assert [(row["ruling"]["ruled_by"], row["rejected_by"]) for row in back["rejected_rulings"]] == [("a1", "a2")]
    assert (back["timeline"][-1]["action"], back["timeline"][-1]["note"]) == ("reject_ruling", "only the strap is torn")
    less = {**RULING, "remedy": "refund_partial", "amount": 20_000}
    assert model.rule(back, less, step("platform", "a2"), RULES).set["state"] == "executing"


@pytest.mark.parametrize("case", [new_case(), queued(), queued(20_001)], ids=["open", "queued", "smaller"])
def test_only_a_ruling_that_waits_for_a_second_person_is_rejected(case):
    if case["claim"] == 20_001:
        case = after(case, model.rule(case, RULING, step("platform", "a1"), RULES))
    with pytest.raises(Refusal, match="WRONG_STATE"):
        model.reject_ruling(case, step("platform", "a2"), RULES)


def test_a_ruling_has_its_reasoning():
    with pytest.raises(Refusal, match="reasoning"):
        model.rule(queued(), RULING, step("platform", "a1", ""), RULES)


@pytest.mark.parametrize("missing", ["liability", "remedy", "reason_code", "payer"])
def test_a_ruling_says_who_what_and_why(missing):
    with pytest.raises(Refusal, match=missing):
        model.rule(queued(), {**RULING, missing: ""}, step("platform", "a1"), RULES)


def refunded(amount: int, case_id: str = "case") -> SimpleNamespace:
    return SimpleNamespace(data={"case_id": case_id, "amount": amount, "refund_id": "r", "refunded_at": NOW})


def test_a_refund_of_no_case_is_no_news_and_one_that_came_too_soon_waits():
    assert model.decide_refunded(None, refunded(1, "")).verdict is Verdict.STALE
    assert model.decide_refunded(None, refunded(1)).verdict is Verdict.EARLY
    assert model.decide_refunded(new_case(), refunded(1)).verdict is Verdict.EARLY


@pytest.mark.parametrize(
    ("amount", "state"), [(250_000, "closed_refund_full"), (1, "closed_refund_partial"), (0, "closed_refund_partial")]
)
def test_a_case_closes_with_what_reached_the_buyer(amount, state):
    agreed = after(new_case(), model.accept(new_case(), step()))
    change = model.decide_refunded(agreed, refunded(amount)).change
    assert (change.set["state"], change.set["refunded"], change.facts[0].data["refunded"]) == (state, amount, amount)


class Histories(RuleBasedStateMachine):
    """Any order of actions, refusals, silences and repeated refund news."""

    @initialize(claim=st.sampled_from([0, 100, 20_001, 150_000]))
    def begin(self, claim):
        self.case = new_case(claim)
        self.ruled: list[int] = []
        self.closed = 0

    def do(self, act) -> None:
        try:
            change = act(self.case)
        except Refusal:
            return
        assert State(change.set["state"]) in set().union(
            *(to for (at, _), to in TABLE.items() if at == self.case["state"])
        )
        for fact in change.facts:
            if fact.type.endswith("ruled.v1"):
                self.ruled.append(fact.data["refund"])
            else:
                self.closed += 1
        self.case = after(self.case, change)

    @rule(
        actor=st.sampled_from(["buyer", "merchant", "platform"]),
        what=st.sampled_from(["accept", "withdraw", "accept_ruling"]),
    )
    def act(self, actor, what):
        self.do(lambda case: getattr(model, what)(case, step(actor)))

    @rule()
    def escalate(self):
        self.do(lambda case: model.escalate(case, step("buyer"), RULES))

    @rule()
    def refuse(self):
        self.do(lambda case: model.refuse(case, step(), ["photo"], RULES))

    @rule(remedy=st.sampled_from(["refund_full", "refund_partial", "none"]), who=st.sampled_from(["a1", "a2"]))
    def arbitrate(self, remedy, who):
        self.do(lambda case: model.rule(case, {**RULING, "remedy": remedy, "amount": 50}, step("platform", who), RULES))

    @rule(who=st.sampled_from(["a1", "a2"]))
    def second(self, who):
        self.do(lambda case: model.confirm_ruling(case, step("platform", who), RULES))

    @rule(who=st.sampled_from(["a1", "a2"]))
    def disagree(self, who):
        self.do(lambda case: model.reject_ruling(case, step("platform", who), RULES))

    @precondition(lambda self: self.case["state"] in ("wait_merchant", "merchant_rejected", "adjudicated"))
    @rule()
    def silence(self):
        self.do(lambda case: model.overdue(case, NOW))

    @rule(twice=st.booleans())
    def money_arrives(self, twice):
        if self.case["state"] != "executing":
            return
        event = refunded(self.ruled[-1])
        decision = model.decide_refunded(self.case, event)
        assert decision.verdict is Verdict.APPLY
        self.do(lambda _: decision.change)
        if twice:
            assert model.decide_refunded(self.case, event).verdict is Verdict.DONE

    @invariant()
    def money_moves_at_most_once_and_never_more_than_claimed(self):
        if hasattr(self, "case"):
            assert len(self.ruled) <= 1
            assert all(0 < amount <= self.case["claim"] for amount in self.ruled)

    @invariant()
    def a_case_closes_exactly_once(self):
        if hasattr(self, "case"):
            assert self.closed == (self.case["state"] in CLOSED)
            assert ("open_order" in self.case) == (self.case["state"] not in CLOSED)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=examples(200), stateful_step_count=15, deadline=None)
