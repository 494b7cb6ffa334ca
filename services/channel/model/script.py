"""Forced faults: by the amount (a merchant's way, as payment sandboxes offer it) or by what the buyer's request says.

| total (fen) | name | what happens |
| --- | --- | --- |
| 888801 | place_system_error | the first placing is kept but answered SYSTEM_ERROR 500; the same request again succeeds |
| 888802 | userpaying_then_success | USERPAYING for `userpaying_wait`, then SUCCESS by itself |
| 888803 | not_enough | declined, NOT_ENOUGH; the trade is PAYERROR |
| 888804 | bank_error | declined, BANK_ERROR; the trade is PAYERROR |
| 888805 | timeout_then_success | the buyer sees a timeout (504), SUCCESS comes after `userpaying_wait` |
| 888806 | notify_twice | the payment notification is sent twice |
| 888807 | notify_late | the payment notification is sent after `late_notification` |
| 888808 | notify_never | no payment notification: only a query tells |
| 888809 | refund_processing | refunds are PROCESSING for `refund_wait`, then SUCCESS |
| 888810 | refund_abnormal | a refund's first try ends ABNORMAL; asking again under the same number succeeds |
| 888811 | bill_missing | the payment is left off the day's bill |
| 888812 | bill_double | the payment is on the day's bill twice |
| 888813 | bill_amount | the day's bill has the payment with 1.00 yuan less |
| 888814 | bill_late | the payment is on the bill of the next day |

What the buyer's request names (outcome, notify) goes before what the amount says. Amounts and spans: policy.toml.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What a trade of a scripted amount does wrong."""

    NONE = "none"
    PLACE_SYSTEM_ERROR = "place_system_error"
    USERPAYING_THEN_SUCCESS = "userpaying_then_success"
    NOT_ENOUGH = "not_enough"
    BANK_ERROR = "bank_error"
    TIMEOUT_THEN_SUCCESS = "timeout_then_success"
    NOTIFY_TWICE = "notify_twice"
    NOTIFY_LATE = "notify_late"
    NOTIFY_NEVER = "notify_never"
    REFUND_PROCESSING = "refund_processing"
    REFUND_ABNORMAL = "refund_abnormal"
    BILL_MISSING = "bill_missing"
    BILL_DOUBLE = "bill_double"
    BILL_AMOUNT = "bill_amount"
    BILL_LATE = "bill_late"


class Outcome(StrEnum):
    """How the buyer's attempt ends."""

    SUCCESS = "success"
    DECLINED = "declined"
    USERPAYING = "userpaying"
    TIMEOUT_THEN_SUCCESS = "timeout_then_success"


@dataclass(frozen=True, slots=True)
class NotifyPlan:
    """How the payment is told: ``copies`` notifications after ``delay_ms``, or held until released."""

    copies: int = 1
    delay_ms: int = 0
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Waits:
    """The spans that scripts need, in milliseconds, already scaled."""

    userpaying_ms: int
    late_ms: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to pay, fully decided. ``settle_ms``: when it succeeds by itself, None for never; ``code`` of a decline."""

    outcome: Outcome
    notify: NotifyPlan
    settle_ms: int | None = None
    code: str = ""


AT_THE_CASHIER: Final = frozenset(
    {
        Fault.USERPAYING_THEN_SUCCESS,
        Fault.NOT_ENOUGH,
        Fault.BANK_ERROR,
        Fault.TIMEOUT_THEN_SUCCESS,
        Fault.NOTIFY_TWICE,
        Fault.NOTIFY_LATE,
        Fault.NOTIFY_NEVER,
    }
)
"""Faults that change how a payment goes."""
READ_FIRST: Final = AT_THE_CASHIER | {Fault.BILL_LATE}
"""Faults whose payment writes something unusual; a trade without one is paid in a single write, unread."""

_DECLINES: Final = {Fault.NOT_ENOUGH: "NOT_ENOUGH", Fault.BANK_ERROR: "BANK_ERROR"}


def decide(
    fault: Fault, outcome: Outcome | None, notify: NotifyPlan | None, settle_ms: int | None, waits: Waits
) -> Attempt:
    """What happens to an attempt: the request's own words first, the amount's script where it says nothing.

    ``settle_ms`` is the request's wish for when a delayed success comes; without it a userpaying buyer stays until the next attempt.
    """
    plan = notify or _plan(fault, waits)
    if outcome is Outcome.DECLINED:
        return Attempt(outcome, plan, code=_DECLINES.get(fault, "BANK_ERROR"))
    if outcome is Outcome.USERPAYING:
        return Attempt(outcome, plan, settle_ms)
    if outcome is Outcome.TIMEOUT_THEN_SUCCESS:
        return Attempt(outcome, plan, waits.userpaying_ms if settle_ms is None else settle_ms)
    if outcome is None and fault in _DECLINES:
        return Attempt(Outcome.DECLINED, plan, code=_DECLINES[fault])
    if outcome is None and fault in (Fault.USERPAYING_THEN_SUCCESS, Fault.TIMEOUT_THEN_SUCCESS):
        timed = Outcome.USERPAYING if fault is Fault.USERPAYING_THEN_SUCCESS else Outcome.TIMEOUT_THEN_SUCCESS
        return Attempt(timed, plan, waits.userpaying_ms if settle_ms is None else settle_ms)
    return Attempt(Outcome.SUCCESS, plan)


def _plan(fault: Fault, waits: Waits) -> NotifyPlan:
    if fault is Fault.NOTIFY_TWICE:
        return NotifyPlan(copies=2)
    if fault is Fault.NOTIFY_LATE:
        return NotifyPlan(delay_ms=waits.late_ms)
    if fault is Fault.NOTIFY_NEVER:
        return NotifyPlan(copies=0)
    return NotifyPlan()
