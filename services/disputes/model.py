"""The rules of 维权: who may do what in which state, what each step does to the money, and when a state ends by itself.

The whole machine is one declared table (``TABLE``). An actor and a timer racing on the same version: exactly one wins, because
every step is one conditional write. Amounts are fen; times are UTC datetimes of the business clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from services.chassis.decisions import DONE, EARLY, KEEP, STALE, Change, Decision, Fact, Keep, apply
from services.chassis.errors import Refusal, invalid, wrong_state

Case = Mapping[str, Any]
"""A case as stored: state, claim, refunded, ruling, rejected_rulings, timeline, parties; see store.py."""


class State(StrEnum):
    """Where a case stands."""

    WAIT_MERCHANT = "wait_merchant"
    MERCHANT_REJECTED = "merchant_rejected"
    PLATFORM_QUEUED = "platform_queued"
    WAIT_SECOND_PERSON = "wait_second_person"
    ADJUDICATED = "adjudicated"
    EXECUTING = "executing"
    CLOSED_REFUND_FULL = "closed_refund_full"
    CLOSED_REFUND_PARTIAL = "closed_refund_partial"
    CLOSED_REJECTED = "closed_rejected"
    CLOSED_WITHDRAWN = "closed_withdrawn"


CLOSED: Final = frozenset(
    {State.CLOSED_REFUND_FULL, State.CLOSED_REFUND_PARTIAL, State.CLOSED_REJECTED, State.CLOSED_WITHDRAWN}
)
OUTCOMES: Final = {
    State.CLOSED_REFUND_FULL: "refunded_full",
    State.CLOSED_REFUND_PARTIAL: "refunded_partial",
    State.CLOSED_REJECTED: "rejected",
    State.CLOSED_WITHDRAWN: "withdrawn",
}
TABLE: Final[Mapping[tuple[State, str], frozenset[State]]] = {
    (State.WAIT_MERCHANT, "accept"): frozenset({State.EXECUTING}),
    (State.WAIT_MERCHANT, "refuse"): frozenset({State.MERCHANT_REJECTED}),
    (State.WAIT_MERCHANT, "withdraw"): frozenset({State.CLOSED_WITHDRAWN}),
    (State.WAIT_MERCHANT, "overdue"): frozenset({State.EXECUTING}),
    (State.MERCHANT_REJECTED, "escalate"): frozenset({State.PLATFORM_QUEUED}),
    (State.MERCHANT_REJECTED, "withdraw"): frozenset({State.CLOSED_WITHDRAWN}),
    (State.MERCHANT_REJECTED, "overdue"): frozenset({State.CLOSED_REJECTED}),
    (State.PLATFORM_QUEUED, "withdraw"): frozenset({State.CLOSED_WITHDRAWN}),
    (State.PLATFORM_QUEUED, "rule"): frozenset({State.WAIT_SECOND_PERSON, State.ADJUDICATED, State.EXECUTING}),
    (State.WAIT_SECOND_PERSON, "confirm_ruling"): frozenset({State.ADJUDICATED, State.EXECUTING}),
    (State.WAIT_SECOND_PERSON, "reject_ruling"): frozenset({State.PLATFORM_QUEUED}),
    (State.ADJUDICATED, "accept_ruling"): frozenset({State.ADJUDICATED, State.EXECUTING, State.CLOSED_REJECTED}),
    (State.ADJUDICATED, "overdue"): frozenset({State.EXECUTING, State.CLOSED_REJECTED}),
    (State.EXECUTING, "refunded"): frozenset({State.CLOSED_REFUND_FULL, State.CLOSED_REFUND_PARTIAL}),
}
"""(state, action) → the states it may lead to. Nothing else changes a case."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy in force: windows, limits in fen, and the versions to store with the decision."""

    merchant_answer: timedelta
    buyer_escalation: timedelta
    claim_window: timedelta
    appeal_window: timedelta
    small_claim: int
    four_eyes: int
    cases_per_order: int
    text_characters: int
    evidence_pieces: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Who acts, when, and what they say."""

    at: datetime
    actor: str
    actor_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """Who acts: role is buyer, merchant or platform; ``owner`` is the buyer id or shop id that a case must belong to."""

    role: str
    identity: str
    owner: str = ""


def owns(party: Party, case: Mapping[str, Any]) -> bool:
    """Whether the party may see and touch the case: its buyer, its shop, or the platform."""
    field = {"buyer": "buyer_id", "merchant": "shop_id"}.get(party.role)
    return field is None or case[field] == party.owner


# ------------------------------------------------------------------------------------------------------------------ opening


def opened(
    order: Mapping[str, Any], earlier: Sequence[Case], claim: int, kind: str, rules: Rules, step: Step
) -> dict[str, Any]:
    """The body of a new case on ``order`` (as orders tells it), on which there were ``earlier`` cases.

    ``claim`` 0 means everything that is left. An order may be claimed on from payment until 15 days after it completed. Raises Refusal
    naming the field that is wrong or the condition that is unmet.
    """
    if kind != "refund_only":
        raise invalid("kind", "must be refund_only (仅退款); the other kinds come later")
    _check_text("reason", step.note, rules, "say in a few words what is wrong")
    if len(earlier) >= rules.cases_per_order:
        message = f"an order can be claimed on at most {rules.cases_per_order} times"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "cases_per_order"})
    if order["state"] not in ("paid", "shipped", "completed"):
        raise wrong_state("order", order["order_id"], order["state"], "paid, shipped or completed")
    completed = order.get("completed_at")
    if completed is not None and step.at > completed + rules.claim_window:
        message = f"the order completed more than {rules.claim_window.days} days ago; it can no longer be claimed on"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "claim_window"})
    left = left_of(order, earlier)
    wanted = claim or left
    if not 0 < wanted <= left:
        raise invalid("amount", f"must be 1 to {left} fen: what is left of the order's amount")
    return {
        "kind": kind,
        "state": State.WAIT_MERCHANT.value,
        "claim": wanted,
        "refunded": 0,
        "currency": order["currency"],
        "reason": step.note,
        "timeline": [entry("open", State.WAIT_MERCHANT, step)],
        "policies": list(rules.versions),
    }


def left_of(order: Mapping[str, Any], earlier: Sequence[Case]) -> int:
    """Fen of the order that did not go back yet, also not by a case whose refund orders has not heard of."""
    known = {refund["case_id"] for refund in order.get("refunds", ())}
    unheard = sum(case["refunded"] for case in earlier if case["_id"] not in known)
    return int(order["amount"] - order["refunded"] - unheard)


def _check_text(name: str, text: str, rules: Rules, wanted: str) -> None:
    if not text.strip():
        raise invalid(name, wanted)
    if len(text) > rules.text_characters:
        raise invalid(name, f"must have at most {rules.text_characters} characters")


def opened_fact(case: Case) -> Fact:
    """What the others must know of a new case."""
    names = ("order_id", "checkout_id", "shop_id", "buyer_id", "kind", "claim")
    return Fact("jishi.disputes.case.opened.v1", {"case_id": case["_id"], **{name: case[name] for name in names}})


# -------------------------------------------------------------------------------------------------------------------- steps


def accept(case: Case, step: Step) -> Change:
    """The merchant agrees: the claim goes back to the buyer."""
    return _execute(
        case, "accept", step, {"payer": "merchant", "amount": case["claim"], "reason_code": "agreed"}, "merchant"
    )


def refuse(case: Case, step: Step, evidence: list[str], rules: Rules) -> Change:
    """The merchant refuses with a reason and evidence. The buyer has ``buyer_escalation`` to ask the platform."""
    _check_text("reason", step.note, rules, "a refusal needs a reason the buyer can read")
    if not 0 < len(evidence) <= rules.evidence_pieces:
        raise invalid("evidence", f"a refusal needs 1 to {rules.evidence_pieces} pieces of evidence")
    for i, piece in enumerate(evidence):
        _check_text(f"evidence[{i}]", piece, rules, "must not be empty")
    return move(
        case, "refuse", State.MERCHANT_REJECTED, step, {"evidence": evidence}, due=step.at + rules.buyer_escalation
    )


def escalate(case: Case, step: Step, rules: Rules) -> Change:
    """The buyer asks the platform to step in (平台介入)."""
    _check_text("reason", step.note, rules, "say why the platform should step in")
    return move(case, "escalate", State.PLATFORM_QUEUED, step, due=None)


def withdraw(case: Case, step: Step) -> Change:
    """The buyer takes the claim back; the hold is released."""
    return _close(case, "withdraw", State.CLOSED_WITHDRAWN, step, 0)


def rule(case: Case, ruling: Mapping[str, Any], step: Step, rules: Rules) -> Change:
    """The platform rules. A refund above ``four_eyes`` waits for a second person; up to ``small_claim`` the money moves at once."""
    decided = checked_ruling(case, ruling, step, rules)
    if decided["amount"] > rules.four_eyes:
        return move(case, "rule", State.WAIT_SECOND_PERSON, step, {"ruling": decided}, due=None)
    if 0 < decided["amount"] <= rules.small_claim:
        return _execute(case, "rule", step, decided, "platform")
    return _adjudicated(case, "rule", step, decided, rules)


def checked_ruling(case: Case, ruling: Mapping[str, Any], step: Step, rules: Rules) -> dict[str, Any]:
    """The ruling with its amount settled. Raises Refusal naming the field; reasons are mandatory and citable."""
    for name in ("liability", "remedy", "reason_code"):
        if not ruling.get(name):
            raise invalid(name, "is required: a ruling says who is at fault, what is done and why")
    _check_text("reasoning", step.note, rules, "is required: a ruling says why, in words")
    full, partial = ruling["remedy"] == "refund_full", ruling["remedy"] == "refund_partial"
    amount = case["claim"] if full else int(ruling.get("amount", 0)) if partial else 0
    if partial and not 0 < amount < case["claim"]:
        raise invalid("amount", f"a partial refund is 1 to {case['claim'] - 1} fen")
    if amount and not ruling.get("payer"):
        raise invalid("payer", "is required when money goes back: merchant or platform")
    kept = {name: ruling[name] for name in ("liability", "remedy", "reason_code")}
    told = {"reasoning": step.note, "payer": ruling.get("payer") or "merchant", "amount": amount}
    return {**kept, **told, "ruled_by": step.actor_id, "ruled_at": step.at, "accepted_by": []}


def confirm_ruling(case: Case, step: Step, rules: Rules) -> Change:
    """A second person confirms a large ruling; the appeal window begins."""
    ruling = _others_ruling(case, step)
    return _adjudicated(case, "confirm_ruling", step, {**ruling, "confirmed_by": step.actor_id}, rules)


def reject_ruling(case: Case, step: Step, rules: Rules) -> Change:
    """The second person disagrees with a large ruling: it is kept aside with the reason, and the platform rules again."""
    _check_text("reason", step.note, rules, "say why the ruling should be another one")
    rejected = {
        "ruling": _others_ruling(case, step),
        "rejected_by": step.actor_id,
        "rejected_at": step.at,
        "reason": step.note,
    }
    moved = move(case, "reject_ruling", State.PLATFORM_QUEUED, step, due=None)
    return replace(moved, unset=(*moved.unset, "ruling"), push={**moved.push, "rejected_rulings": [rejected]})


def _others_ruling(case: Case, step: Step) -> dict[str, Any]:
    """The ruling that waits for a second person. Raises Refusal PERMISSION_DENIED where the first person asks."""
    ruling = dict(case.get("ruling", {}))
    if case["state"] == State.WAIT_SECOND_PERSON and ruling["ruled_by"] == step.actor_id:
        message = "the second person must be another one than the first"
        raise Refusal("PERMISSION_DENIED", message, info={"rule": "four_eyes"})
    return ruling


def losers(case: Case) -> frozenset[str]:
    """Who may appeal: a buyer who gets less than was claimed, a merchant who pays."""
    ruling = case.get("ruling", {})
    amount = ruling.get("amount", 0)
    buyer = {"buyer"} if amount < case["claim"] else set()
    merchant = {"merchant"} if amount and ruling["payer"] == "merchant" else set()
    return frozenset(buyer | merchant)


def accept_ruling(case: Case, step: Step) -> Change:
    """A party that lost gives up its appeal; when all who lost have, the window ends at once."""
    ruling = dict(case.get("ruling", {}))
    lost = losers(case)
    if case["state"] == State.ADJUDICATED and step.actor not in lost:
        raise Refusal("PERMISSION_DENIED", f"only who lost ({', '.join(sorted(lost))}) can give up the appeal")
    accepted = sorted({*ruling.get("accepted_by", ()), step.actor})
    if lost <= set(accepted):
        return _ended_window(case, "accept_ruling", step)
    ruling["accepted_by"] = accepted
    return move(case, "accept_ruling", State.ADJUDICATED, step, {"ruling": ruling})


def overdue(case: Case, now: datetime) -> Change | None:
    """What happens when the state's time is over: silence of the merchant agrees, silence of the buyer ends it."""
    step = Step(now, "timer", "")
    state = State(case["state"])
    if state is State.WAIT_MERCHANT:
        ruling = {"payer": "merchant", "amount": case["claim"], "reason_code": "merchant_silent"}
        return _execute(case, "overdue", step, ruling, "timer")
    if state is State.MERCHANT_REJECTED:
        return _close(case, "overdue", State.CLOSED_REJECTED, step, 0)
    if state is State.ADJUDICATED:
        return _ended_window(case, "overdue", step)
    return Change(due=None)


def decide_refunded(case: Case | None, event: Any) -> Decision:
    """``payments.refund.succeeded``: the money of a case reached the buyer, so the case closes."""
    data = event.data
    if not data["case_id"]:
        return STALE
    if case is None or State(case["state"]) not in (CLOSED | {State.EXECUTING}):
        return EARLY
    if State(case["state"]) in CLOSED:
        return DONE
    step = Step(data["refunded_at"], "payments", data["refund_id"])
    full = data["amount"] >= case["claim"]
    target = State.CLOSED_REFUND_FULL if full else State.CLOSED_REFUND_PARTIAL
    return apply(_close(case, "refunded", target, step, data["amount"]))


# --------------------------------------------------------------------------------------------------------------- the machine


def move(
    case: Case,
    action: str,
    target: State,
    step: Step,
    fields: Mapping[str, Any] | None = None,
    *,
    due: datetime | Keep | None = KEEP,
) -> Change:
    """The one way a case changes state. Raises Refusal WRONG_STATE for what the table does not hold."""
    state = State(case["state"])
    if target not in TABLE.get((state, action), frozenset()):
        sources = sorted({source.value for source, known in TABLE if known == action})
        raise wrong_state("case", case["_id"], state, " or ".join(sources))
    return Change(
        set={"state": target.value, **(fields or {})},
        unset=("open_order",) if target in CLOSED else (),
        push={"timeline": [entry(action, target, step)]},
        due=due,
    )


def entry(action: str, state: State, step: Step) -> dict[str, Any]:
    """One line of the timeline."""
    return {
        "at": step.at,
        "actor": step.actor,
        "actor_id": step.actor_id,
        "action": action,
        "state": state.value,
        "note": step.note,
    }


def _adjudicated(case: Case, action: str, step: Step, ruling: dict[str, Any], rules: Rules) -> Change:
    """The ruling stands: those who lost have ``appeal_window``; where nobody did, the money moves at once."""
    if not losers({**case, "ruling": ruling}):
        return _execute(case, action, step, ruling, "platform")
    return move(case, action, State.ADJUDICATED, step, {"ruling": ruling}, due=step.at + rules.appeal_window)


def _ended_window(case: Case, action: str, step: Step) -> Change:
    ruling = case.get("ruling", {})
    if ruling.get("amount", 0) > 0:
        return _execute(case, action, step, dict(ruling), "platform")
    return _close(case, action, State.CLOSED_REJECTED, step, 0)


def _execute(case: Case, action: str, step: Step, ruling: dict[str, Any], decided_by: str) -> Change:
    parties = {name: case[name] for name in ("order_id", "checkout_id", "shop_id", "buyer_id")}
    ruled = Fact(
        "jishi.disputes.case.ruled.v1",
        {
            "case_id": case["_id"],
            **parties,
            "payer": ruling["payer"],
            "refund": ruling["amount"],
            "decided_by": decided_by,
            "reason_code": ruling["reason_code"],
        },
    )
    moved = move(case, action, State.EXECUTING, step, {"ruling": ruling}, due=None)
    return replace(moved, facts=(ruled,))


def _close(case: Case, action: str, target: State, step: Step, refunded: int) -> Change:
    parties = {name: case[name] for name in ("order_id", "checkout_id", "shop_id")}
    closed = Fact(
        "jishi.disputes.case.closed.v1",
        {"case_id": case["_id"], **parties, "outcome": OUTCOMES[target], "refunded": refunded},
    )
    moved = move(case, action, target, step, {"refunded": refunded}, due=None)
    return replace(moved, facts=(closed,))
