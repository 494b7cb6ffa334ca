"""What broadcast does when it hears of a fact or a job's timer is due."""

from typing import Final

from services.broadcast import model
from services.broadcast.reactions import delivery
from services.broadcast.store import MESSAGE_ID, follower_id
from services.chassis import clock, together
from services.chassis.commit import Transaction
from services.chassis.decisions import Decision
from services.chassis.events import Event
from services.chassis.mongo import Database
from services.chassis.reacting import Delivery, Handler, keep_copy, timer_on_document


def load_message(database: Database, event: Event) -> bool:
    """Whether the message that an order's fact gives is in the inbox already."""
    return bool(together.find_by(database["inbox"], MESSAGE_ID, [message_id(event)], {"messages.text": 0}))


def unknown(_event: Event) -> bool:
    """It is new, says who has not looked."""
    return False


def write_message(delivery: Delivery, _known: bool, _decision: Decision) -> None:
    """Put an order's fact into the buyer's inbox."""
    event = delivery.event
    kind, text = model.order_message(event.type, event.data)
    message = {
        "_id": message_id(event),
        "reader": follower_id(event.data["account_id"], event.data["openid"]),
        "kind": kind,
        "text": text,
        "reference": event.data["order_id"],
    }
    inbox, transaction = delivery.database["inbox"], Transaction(delivery.database.client)
    together.commit(transaction.gather(inbox, {"at": clock.business()}, "messages", [message]))


def message_id(event: Event) -> str:
    """One message an order and kind of fact."""
    return f"{event.subject}:{event.type.rsplit('.', 2)[1]}"


HANDLERS: Final = (
    keep_copy("jishi.accounts.account.changed.v1", "keep_account", "accounts"),
    delivery.HANDLER,
    Handler(model.ORDER_PAID, "tell_paid", load_message, model.decide_message, write_message, guess=unknown),
    Handler(model.ORDER_SHIPPED, "tell_shipped", load_message, model.decide_message, write_message, guess=unknown),
)
TIMERS: Final = (timer_on_document("jobs", model.tick),)
