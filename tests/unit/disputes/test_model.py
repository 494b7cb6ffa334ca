"""维权: the machine is the table; an actor and a timer never both win; money moves once."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal
from services.disputes import model
from services.disputes.commands import rules_at
from services.disputes.model import CLOSED, TABLE, State, Step

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
RULES = rules_at(NOW)
ORDER = {"order_id": "1", "checkout_id": "c", "shop_id": "s", "state": "paid", "amount": 250_000, "refunded": 0}
RULING = {
    "liability": "merchant",
    "remedy": "refund_full",
    "payer": "merchant",
    "reason_code": "R1",
    "reasoning": "not as shown",
}


def new_case(claim: int = 0, order: dict | None = None) -> dict:
    order = order or ORDER
    body = model.opened(order, claim, "torn", "refund_only", RULES, Step(NOW, "buyer", "b"))
    parties = {"order_id": "1", "checkout_id": "c", "shop_id": "s", "buyer_id": "b", "open_order": "1"}
    return {"_id": "case", **parties, **body}


def after(case: dict, change: model.Change) -> dict:
    moved = {**case, **change.set, "timeline": case["timeline"] + change.push.get("timeline", [])}
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


@pytest.mark.parametrize(("note", "evidence"), [("", ["x"]), ("no", []), ("no", ["x" * 501]), ("no", ["x"] * 10)])
def test_a_refusal_needs_a_reason_and_evidence(note, evidence):
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        model.refuse(new_case(), step(note=note), evidence, RULES)


def queued(claim: int = 0) -> dict:
    case = after(new_case(claim), model.refuse(new_case(claim), step(), ["photo"], RULES))
    return after(case, model.escalate(case, step("buyer", "b")))


def test_a_small_ruling_moves_money_at_once():
    assert model.rule(queued(20_000), RULING, step("platform", "a1"), RULES).set["state"] == "executing"


def test_a_middle_ruling_waits_for_the_appeal_window_or_the_losers_word():
    case = queued(20_001)
    change = model.rule(case, RULING, step("platform", "a1"), RULES)
    assert (change.set["state"], change.due, change.facts) == ("adjudicated", NOW + timedelta(days=7), ())
    ruled = after(case, change)
    with pytest.raises(Refusal, match="merchant, who lost"):
        model.accept_ruling(ruled, step("buyer", "b"))
    assert model.accept_ruling(ruled, step("merchant", "m")).set["state"] == "executing"
    assert model.overdue(ruled, NOW).set["state"] == "executing"


def test_a_large_ruling_needs_a_second_person():
    case = queued()
    ruled = after(case, model.rule(case, RULING, step("platform", "a1"), RULES))
    assert ruled["state"] == "wait_second_person"
    with pytest.raises(Refusal, match="second person"):
        model.confirm_ruling(ruled, step("platform", "a1"), RULES)
    assert model.confirm_ruling(ruled, step("platform", "a2"), RULES).set["state"] == "adjudicated"


@pytest.mark.parametrize("missing", ["liability", "remedy", "reason_code", "reasoning", "payer"])
def test_a_ruling_says_who_what_and_why(missing):
    with pytest.raises(Refusal, match=missing):
        model.rule(queued(), {**RULING, missing: ""}, step("platform", "a1"), RULES)


def refunded(amount: int, case_id: str = "case") -> SimpleNamespace:
    return SimpleNamespace(data={"case_id": case_id, "amount": amount, "refund_id": "r", "refunded_at": NOW})


def test_a_refund_of_no_case_is_no_news_and_one_that_came_too_soon_waits():
    assert model.decide_refunded(None, refunded(1, "")).verdict is Verdict.STALE
    assert model.decide_refunded(None, refunded(1)).verdict is Verdict.EARLY
    assert model.decide_refunded(new_case(), refunded(1)).verdict is Verdict.EARLY


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
        what=st.sampled_from(["accept", "escalate", "withdraw", "accept_ruling"]),
    )
    def act(self, actor, what):
        self.do(lambda case: getattr(model, what)(case, step(actor)))

    @rule()
    def refuse(self):
        self.do(lambda case: model.refuse(case, step(), ["photo"], RULES))

    @rule(remedy=st.sampled_from(["refund_full", "refund_partial", "none"]), who=st.sampled_from(["a1", "a2"]))
    def arbitrate(self, remedy, who):
        self.do(lambda case: model.rule(case, {**RULING, "remedy": remedy, "amount": 50}, step("platform", who), RULES))

    @rule(who=st.sampled_from(["a1", "a2"]))
    def second(self, who):
        self.do(lambda case: model.confirm_ruling(case, step("platform", who), RULES))

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
TestHistories.settings = settings(max_examples=200, stateful_step_count=15, deadline=None)
