"""Double entry: accounts, and journal entries whose postings sum to zero.

Credits are positive, debits negative. What the house owes somebody (escrow, a shop's available) has a balance ≥ 0; what somebody
owes the house (``channel:clearing``, ``bank:clearing``, a shop's receivable) has one ≤ 0.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

CLEARING: Final = "channel:clearing"
"""What the payment channel collected for the house and has not paid out (渠道清算)."""
BANK: Final = "bank:clearing"
FEE: Final = "platform:fee"
INDEMNITY: Final = "platform:indemnity"
SUSPENSE: Final = "suspense"
"""Money that belongs to nothing we know, on its way back or until a person looks (挂账)."""

PACKET: Final = "redpack"
OWNED: Final = ("order", "shop", "buyer", "share")
"""Beginnings of accounts that somebody has: ``owner:{id}:what``."""


def escrow(order_id: str) -> str:
    """The buyer's money, kept per order until its trade is over."""
    return f"order:{order_id}:escrow"


def available(shop_id: str) -> str:
    """What the shop may draw."""
    return f"shop:{shop_id}:available"


def pending(shop_id: str) -> str:
    """What was settled to the shop and is not available yet (T+n, 待结算)."""
    return f"shop:{shop_id}:pending"


def withdrawing(shop_id: str) -> str:
    """What is on its way from the shop's available to its bank account (提现中)."""
    return f"shop:{shop_id}:withdrawing"


def frozen(order_id: str) -> str:
    """What of an order's settlement waits to be shared with other shops (分账冻结)."""
    return f"share:{order_id}:frozen"


def packet(packet_id: str) -> str:
    """What is left of a red packet (红包)."""
    return f"{PACKET}:{packet_id}"


def wallet(buyer_id: str) -> str:
    """A buyer's money in this house (零钱)."""
    return f"buyer:{buyer_id}:wallet"


def hold(shop_id: str, case_id: str) -> str:
    """Held from the shop for one open case (维权冻结)."""
    return f"shop:{shop_id}:hold:{case_id}"


def deposit(shop_id: str) -> str:
    """The shop's deposit (保证金)."""
    return f"shop:{shop_id}:deposit"


def receivable(shop_id: str) -> str:
    """What the shop owes the platform."""
    return f"shop:{shop_id}:receivable"


def kind_of(account: str) -> str:
    """``order:123:escrow`` → ``order:escrow``, ``shop:s:hold:c`` → ``shop:hold``; platform accounts are their own kind."""
    parts = account.split(":")
    if parts[0] == PACKET:
        return PACKET
    return f"{parts[0]}:{parts[2]}" if parts[0] in OWNED else account


def shop_of(account: str) -> str:
    """The shop whose account it is; empty for others."""
    parts = account.split(":")
    return parts[1] if parts[0] == "shop" else ""


@dataclass(frozen=True, slots=True)
class Posting:
    """One movement of one account, in minor units; never zero."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry. ``id`` is derived from its cause, so that the same cause meets the same entry; ``refs`` are what it touches.

    A shop whose account it moves is always among them.
    """

    id: str
    kind: str
    currency: str
    postings: tuple[Posting, ...]
    refs: tuple[str, ...]
    terms: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """No entry that does not balance can be written down. Raises ValueError."""
        amounts = [posting.amount for posting in self.postings]
        if len(amounts) < 2 or sum(amounts) != 0 or 0 in amounts:
            raise ValueError(f"entry {self.id} does not balance: {amounts}")

    def document(self) -> dict[str, Any]:
        """The entry as it is stored, without its cause and time."""
        refs = (*self.refs, *(shop_of(one.account) for one in self.postings))
        return {
            "_id": self.id,
            "kind": self.kind,
            "currency": self.currency,
            "postings": [
                {"account": one.account, "kind": kind_of(one.account), "amount": one.amount} for one in self.postings
            ],
            "refs": list(dict.fromkeys(ref for ref in refs if ref)),
            "terms": dict(self.terms),
        }


def balances(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """(account, currency) → balance, summed over stored entries: what every stored balance must agree with."""
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        for posting in entry["postings"]:
            totals[posting["account"], entry["currency"]] += posting["amount"]
    return dict(totals)
