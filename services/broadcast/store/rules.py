"""The policy in force, as the model takes it."""

from datetime import datetime

from services.broadcast.model import Rules
from services.chassis import policy

_LIMITS = ("subscription_per_day", "history_per_day", "history_per_month", "received_per_month")
_NUMBERS = (
    *_LIMITS,
    "calls_per_day",
    "calls_per_minute",
    "chunk",
    "chunks_per_second",
    "text_characters",
    "clientmsgid_bytes",
    "tags_per_account",
    "tags_per_follower",
    "tag_name_bytes",
)


def rules_at(when: datetime) -> Rules:
    """The policy in force at ``when`` (business time)."""
    found = policy.load("broadcast")
    return Rules(
        **{name: found.value(name, when) for name in _NUMBERS},
        warm_up=tuple(found.value("warm_up", when)),
        clientmsgid_window=found.span("clientmsgid_window", when),
        versions=tuple(found.version(name, when) for name in _LIMITS),
    )
