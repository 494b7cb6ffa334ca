"""Payments by code that stay open: asked for every few seconds, and reversed at the channel when their time is over (撤销)."""

from services.chassis import clock
from services.chassis.mongo import Document
from services.payments.model import payable
from services.payments.store import Store
from services.payments.store.reversing import Channel
from services.payments.store.reversing import reverse as reversed_now


def is_over(row: Document, number: str) -> bool:
    """Whether this attempt is one by code whose time is over, or whose reversal was begun."""
    one = row["payments"][payable.position(row, number)]
    return bool(one["method"] == "micropay" and clock.wall_ms() >= one["reverse_at"])


def reverse(store: Store, channel: Channel, row: Document, number: str) -> None:
    """End it. Raises ChannelRefusedError, Refusal UNAVAILABLE: it is tried again."""
    reversed_now(store, channel, str(row["_id"]), number)
