"""Every POST (PUT, PATCH) of the API repeated under its key: the same answer, no second effect."""

import pytest

from services.chassis.rpc.contracts import methods_of
from services.chassis.settings import SERVICES
from services.gateway.routes import Table, routes_of
from tests.faults.every_write import EveryWrite
from tests.faults.traffic import REPLAYED, Acknowledged, repeated

pytestmark = pytest.mark.timeout(300)
WITHOUT_KEY = {
    "payments.ReceiveNotification": "the channel's own request: it has no key, but the signed number of its transaction, and "
    "the channel itself tells everything twice in the traffic of the other tests",
}
TOLD_NOW = {
    "accounts.AdvanceClock": (frozenset({"now"}), "a clock runs"),
    "payments.QueryPayment": (frozenset({REPLAYED}), "it asks the channel each time, and takes what it hears once"),
    "catalog.PutProductOnSale": (frozenset({"product"}), "the product as it is now, with its stock"),
    "catalog.TakeProductOffSale": (frozenset({"product"}), "the product as it is now, with its stock"),
}
"""What a repetition may answer differently, and why."""
ROUTES = routes_of(method for service in SERVICES for method in methods_of(service).values() if not method.reads)
VOLATILE = frozenset({"handled"})
"""Rows of deliveries run out by themselves."""


@pytest.fixture(scope="module")
def story(stack):
    """The story, told once."""
    story = EveryWrite(stack, "every")
    story.tell()
    stack.audited()
    yield story
    story.api.close()


def rpc_of(line: Acknowledged) -> str:
    """Which rpc a request is."""
    found = Table(ROUTES).find(line.path)
    assert found is not None, line.path
    return found[0][line.method].method.name


def told_now(line: Acknowledged) -> frozenset[str]:
    """The fields of an answer that tell of the present."""
    return TOLD_NOW.get(rpc_of(line), (frozenset(), ""))[0]


def everything(stack):
    """All documents of all services, by where they stand."""
    with stack.connect() as client:
        prefix = stack.options.environment.get("JISHI_DB_PREFIX", "")
        return {
            (service, name, str(row["_id"])): row
            for service in SERVICES
            for name in client[prefix + service].list_collection_names()
            if name not in VOLATILE
            for row in client[prefix + service][name].find()
        }


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
