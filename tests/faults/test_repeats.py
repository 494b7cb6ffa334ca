"""Every POST (PUT, PATCH) of the API repeated under its key: the same answer, no second effect."""

import pytest

from tests.faults.clients import REPLAYED, Acknowledged, repeated
from tests.faults.doors import ROUTES, everything, rpc_of

pytestmark = pytest.mark.timeout(600)
WITHOUT_KEY = {
    "payments.ReceiveNotification": "the channel's own request: it has no key, but the signed number of its transaction, and "
    "the channel itself tells everything twice in the traffic of the other tests",
    "orders.ReceiveCarrierEvents": "a carrier's own request: it has no key, but the signed number of its message",
}
TOLD_NOW = {
    "accounts.AdvanceClock": (frozenset({"now"}), "a clock runs"),
    "payments.QueryPayment": (frozenset({REPLAYED}), "it asks the channel each time, and takes what it hears once"),
    "payments.QueryTopUp": (frozenset({REPLAYED}), "it asks the channel each time, and takes what it hears once"),
    "catalog.PublishShelf": (frozenset({"shelf"}), "the shelf as it is now: its draft may have changed since"),
    "catalog.PutProductOnSale": (frozenset({"product"}), "the product as it is now, with its stock"),
    "catalog.TakeProductOffSale": (frozenset({"product"}), "the product as it is now, with its stock"),
}
"""What a repetition may answer differently, and why."""


def told_now(line: Acknowledged) -> frozenset[str]:
    """The fields of an answer that tell of the present. A till that scans again is told what became of its payment."""
    if rpc_of(line) == "payments.CreatePayment" and line.given.get("body", {}).get("method") == "micropay":
        return frozenset({"payment"})
    return TOLD_NOW.get(rpc_of(line), (frozenset(), ""))[0]


def test_every_write_of_the_api_is_in_the_story(story):
    told = {rpc_of(line) for line in story.journal.lines}
    declared = {route.method.name for route in ROUTES}
    assert declared - told == set(WITHOUT_KEY), "give a new command its place in every_write.py"
    assert not told - declared


def test_every_write_repeated_answers_the_same_and_does_nothing(story, stack):
    before = everything(stack)
    changed = repeated(story.journal, told_now)
    assert not changed, "\n".join(changed)
    stack.audited()
    after = everything(stack)
    assert after.keys() == before.keys(), sorted(after.keys() ^ before.keys())
    moved = [f"{key}: {before[key]}\n  became {after[key]}" for key in after if after[key] != before[key]]
    assert not moved, "\n".join(moved)
