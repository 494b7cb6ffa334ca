"""What payments does when asked, a module a subject."""

from typing import Final

from services.payments.commands import micropay, wallet
from services.payments.commands.collecting import NOTIFICATIONS, Attempted, create_payment, query_payment, receive
from services.payments.commands.deposits import pay_deposit

CREATE: Final = {"micropay": micropay.create, "wallet": wallet.create}
"""Methods by which the money moves while the request runs."""

__all__ = ["CREATE", "NOTIFICATIONS", "Attempted", "create_payment", "pay_deposit", "query_payment", "receive"]
