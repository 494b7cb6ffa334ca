"""What parties do to a case. Each function is one command; a repetition under the same cause answers with the same case."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change, Keep
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.disputes import model
from services.disputes.model import Party, Rules, Step
from services.disputes.store import Store

TRIES: Final = 10
"""How often an opening begins again because another one was faster."""
WINDOWS: Final = ("merchant_answer", "buyer_escalation", "claim_window", "appeal_window")
NUMBERS: Final = ("small_claim", "four_eyes", "cases_per_order", "text_characters", "evidence_pieces")

CHANGING: Final = ("state", "refunded", "ruling", "evidence")
"""What is shown of a case and changes, besides its deadline and what only grows."""
GROWING: Final = {"timeline": "steps", "rejected_rulings": "rejections"}
"""Lists of a case that only grow, and under which name a command remembers how long it left them."""


class Orders(Protocol):
    """What disputes asks of orders."""

    def order(self, order_id: str) -> Mapping[str, Any]:
        """The order as its buyer may see it. Raises Refusal NOT_FOUND."""


class Speaker(Protocol):
    """Whom a token speaks for."""

    @property
    def kind(self) -> str:
        """One of buyer, merchant, arbitrator and the other staff."""

    @property
    def subject(self) -> str:
        """User id, account or staff id."""

    @property
    def shop_id(self) -> str:
        """A merchant's shop."""


def party(speaker: Speaker) -> Party:
    """Who speaks, and for whom: a buyer for themself, a merchant for the shop, everybody else for the platform."""
    if speaker.kind == "buyer":
        return Party("buyer", speaker.subject, speaker.subject)
    if speaker.kind == "merchant":
        return Party("merchant", speaker.subject, speaker.shop_id)
    return Party("platform", speaker.subject)


def open_case(store: Store, orders: Orders, cause: Cause, buyer: Party, asked: Mapping[str, Any]) -> Outcome:
    """Open a case on an order of the buyer. ``asked``: order_id, kind, amount (fen, 0 = all that is left), reason.

    Raises Refusal: NOT_FOUND, WRONG_STATE, INVALID_ARGUMENT, CONDITION_UNMET (window, too many cases), ALREADY_EXISTS (one is open),
    VERSION_CONFLICT (others kept opening and closing cases on the order meanwhile).
    """
    for _ in range(TRIES):
        before = commit.created(store.cases, cause)
        if before is not None:
            return replace(before, document=as_told(before.document, _as_opened(before.document)))
        try:
            made = _open(store, orders, cause, buyer, asked)
            return replace(made, document=as_told(made.document, _as_opened(made.document)))
        except Taken:  # another case took the number: what it refunds, and that it is open, are read again
            continue
    raise Refusal("VERSION_CONFLICT", "cases are opened on this order all the time; try again", retry_after_s=1)


def _open(store: Store, orders: Orders, cause: Cause, buyer: Party, asked: Mapping[str, Any]) -> Outcome:
    """Read, decide, insert under the next number of the order. Raises Taken where another case was faster."""
    now = clock.business()
    rules = rules_at(now)
    order = orders.order(asked["order_id"])
    earlier = store.cases_of_order(order["order_id"])
    for other in earlier:
        if "open_order" in other:  # also so that all that `earlier` refunded is known
            raise Refusal("ALREADY_EXISTS", "a case is open on this order", info={"case_id": other["_id"]})
    step = Step(now, buyer.role, buyer.identity, asked["reason"])
    body = model.opened(order, earlier, asked["amount"], asked["kind"], rules, step)
    case = {
        "_id": ids.derived_id("case", cause.id),
        "order_id": order["order_id"],
        "checkout_id": order["checkout_id"],
        "shop_id": order["shop_id"],
        "buyer_id": buyer.identity,
        "open_order": order["order_id"],
        "number_in_order": f"{order['order_id']}/{len(earlier) + 1}",
        "opened_at": now,
        "order": snapshot(order),
        **body,
    }
    return commit.create(store.cases, case, cause, facts=(model.opened_fact(case),), due=now + rules.merchant_answer)


def snapshot(order: Mapping[str, Any]) -> Document:
    """What an arbitrator must see of the order for ever, whatever happens to it later."""
    times = {name: order[name] for name in ("paid_at", "shipped_at", "completed_at") if order.get(name)}
    return {"state": order["state"], "amount": order["amount"], "lines": list(order.get("lines", ())), **times}


def accept(store: Store, cause: Cause, merchant: Party, case_id: str) -> Outcome:
    """The merchant agrees to the claim."""
    return _act(store, cause, merchant, case_id, lambda case: model.accept(case, _step(merchant)))


def refuse(store: Store, cause: Cause, merchant: Party, case_id: str, reason: str, evidence: list[str]) -> Outcome:
    """The merchant refuses, with a reason and evidence."""

    def decide(case: Document) -> Change:
        step = _step(merchant, reason)
        return model.refuse(case, step, evidence, rules_at(step.at))

    return _act(store, cause, merchant, case_id, decide)


def escalate(store: Store, cause: Cause, buyer: Party, case_id: str, reason: str) -> Outcome:
    """The buyer asks the platform to step in."""

    def decide(case: Document) -> Change:
        step = _step(buyer, reason)
        return model.escalate(case, step, rules_at(step.at))

    return _act(store, cause, buyer, case_id, decide)


def withdraw(store: Store, cause: Cause, buyer: Party, case_id: str) -> Outcome:
    """The buyer takes the claim back."""
    return _act(store, cause, buyer, case_id, lambda case: model.withdraw(case, _step(buyer)))


def rule(store: Store, cause: Cause, arbitrator: Party, case_id: str, ruling: Mapping[str, Any]) -> Outcome:
    """The platform rules on a case in its queue."""

    def decide(case: Document) -> Change:
        step = _step(arbitrator, ruling.get("reasoning", ""))
        return model.rule(case, ruling, step, rules_at(step.at))

    return _act(store, cause, arbitrator, case_id, decide)


def confirm_ruling(store: Store, cause: Cause, second: Party, case_id: str) -> Outcome:
    """A second person confirms a large ruling."""

    def decide(case: Document) -> Change:
        step = _step(second)
        return model.confirm_ruling(case, step, rules_at(step.at))

    return _act(store, cause, second, case_id, decide)


def reject_ruling(store: Store, cause: Cause, second: Party, case_id: str, reason: str) -> Outcome:
    """A second person disagrees with a large ruling; the case is ruled on again."""

    def decide(case: Document) -> Change:
        step = _step(second, reason)
        return model.reject_ruling(case, step, rules_at(step.at))

    return _act(store, cause, second, case_id, decide)


def accept_ruling(store: Store, cause: Cause, party: Party, case_id: str) -> Outcome:
    """A party that lost gives up its appeal."""
    return _act(store, cause, party, case_id, lambda case: model.accept_ruling(case, _step(party)))


def as_told(case: Document, left: Mapping[str, Any]) -> Document:
    """The case as one command left it (``_as_left``), whatever became of it: a repetition is answered the same."""
    kept = {name: value for name, value in case.items() if name not in (*CHANGING, "due_at")}
    grown = {name: case[name][: left.get(length, 0)] for name, length in GROWING.items() if name in case}
    return {**kept, **left, **grown}


def _as_left(case: Document, change: Change) -> Document:
    """What a command remembers of the case after its ``change``; of what only grows, the length."""
    after = {**case, **change.set}
    due = case.get("due_at") if isinstance(change.due, Keep) else change.due and clock.ms(change.due)
    told: Document = {name: after[name] for name in CHANGING if name in after and name not in change.unset}
    lengths = {length: len(case.get(name, ())) + len(change.push.get(name, ())) for name, length in GROWING.items()}
    return {**told, **lengths, "due_at": due}


def _as_opened(case: Document) -> Document:
    """The same of the command that opened it."""
    due = case["opened_at"] + rules_at(case["opened_at"]).merchant_answer
    return {"state": case["timeline"][0]["state"], "refunded": 0, "steps": 1, "due_at": clock.ms(due)}


def rules_at(when: datetime) -> Rules:
    """The policy in force at ``when`` (business time)."""
    found = policy.load("disputes")
    windows: dict[str, Any] = {name: found.span(name, when) for name in WINDOWS}
    numbers: dict[str, Any] = {name: found.value(name, when) for name in NUMBERS}
    return Rules(
        **windows,
        **numbers,
        versions=tuple(found.version(name, when) for name in (*WINDOWS, *NUMBERS)),
    )


def _step(party: Party, note: str = "") -> Step:
    return Step(clock.business(), party.role, party.identity, note)


def _act(store: Store, cause: Cause, party: Party, case_id: str, decide: Callable[[Document], Change]) -> Outcome:
    def own(case: Document) -> Change:
        if not model.owns(party, case):
            raise not_found("case", case_id)
        change = decide(case)
        return replace(change, answer=_as_left(case, change))

    outcome = commit.change(store.cases, case_id, cause, own, kind="case")
    return replace(outcome, document=as_told(outcome.document, outcome.answer))
