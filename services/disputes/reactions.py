"""What disputes does when it hears of a fact or a deadline passes."""

from typing import Final

from services.chassis.reacting import on_document, timer_on_document
from services.disputes import model

HANDLERS: Final = (
    on_document(
        "jishi.payments.refund.succeeded.v1",
        "close_when_refunded",
        "cases",
        model.decide_refunded,
        key=lambda event: event.data["case_id"],
    ),
)
TIMERS: Final = (timer_on_document("cases", model.overdue),)
