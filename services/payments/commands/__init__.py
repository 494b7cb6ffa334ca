"""What payments does when asked, a module a subject."""

from typing import Final

from services.payments.commands import wallet
from services.payments.commands.collecting import NOTIFICATIONS, Attempted, create_payment, query_payment, receive
from services.payments.commands.deposits import move_deposit, open_deposit
from services.payments.commands.micropay import create as scan

CREATE: Final = {"wallet": wallet.create}
"""How else than at the channel's cashier a buyer pays."""
AT_ONCE: Final = frozenset({*CREATE, "micropay"})
"""Methods by which the money moves while the request runs."""

__all__ = [
    "AT_ONCE",
    "CREATE",
    "NOTIFICATIONS",
    "Attempted",
    "create_payment",
    "move_deposit",
    "open_deposit",
    "query_payment",
    "receive",
    "scan",
]
