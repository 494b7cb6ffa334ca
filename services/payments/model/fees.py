"""The fee schedule (收费标准): the rules by which money is taken, held back or limited, as ledger entries cite them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

PUBLISHED: Final = (
    ("orders", "commission_bp"),
    ("payments", "settlement_days"),
    ("payments", "withdrawal_fee"),
    ("payments", "withdrawal_least"),
    ("payments", "withdrawal_most"),
    ("payments", "withdrawal_day_most"),
    ("payments", "packet_parts"),
    ("payments", "packet_part_least"),
    ("payments", "packet_part_most"),
    ("payments", "packet_life"),
    ("payments", "sharing_most_bp"),
    ("payments", "sharing_receivers"),
    ("payments", "sharing_calls"),
    ("payments", "sharing_life"),
    ("payments", "debts_first"),
    ("payments", "deposit_most"),
    ("payments", "deposit_top_up"),
    ("payments", "deposit_release_after"),
)
"""(service, name) of every rule that a shop or a buyer meets with its money."""
TAKING: Final = {"net": "debts_first", "top_up": "deposit_top_up"}
"""Kinds of entries that take from a shop by a rule of this service that holds when they are posted; others bring the rules they were computed by."""


def rules(name: str, dated: Iterable[Mapping[str, Any]], in_force: str) -> list[dict[str, Any]]:
    """The rows of one rule, oldest first. ``dated``: ``{effective_from: date, value, unit, why}``; ``in_force``: the version now."""
    found = []
    for one in dated:
        since = one["effective_from"].isoformat()
        version = f"{name}@{since}"
        found.append(
            {
                "name": name,
                "version": version,
                "value": json.dumps(one["value"]),
                "unit": one["unit"],
                "why": one["why"],
                "effective_from": since,
                "in_force": version == in_force,
            }
        )
    return found
