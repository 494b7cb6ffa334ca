"""Every event delivered twice and in any order, overtaking and overtaken, between any two steps of anybody: the same end state."""

import random
import secrets
import time

import pytest

from services.chassis import clock, mongo
from services.chassis.once import Result
from services.chassis.settings import SERVICES, Settings
from services.cli.audit.run import audit
from tests.faults.dump import difference, dump
from tests.faults.stories import STORIES
from tests.faults.theatre import Theatre

SEEDS = 50
AUDITED_EACH = 11
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def theatre(mongo_uri, database_is_embedded, tmp_path_factory):
    """One installation for all plays."""
    prefix, folder = f"t{secrets.token_hex(4)}_", tmp_path_factory.mktemp("theatre")
    settings = Settings(
        mongo_uri=mongo_uri, db_prefix=prefix, embedded=database_is_embedded, sandbox=True, data_dir=folder
    )
    with mongo.connect(settings) as client:
        house = Theatre(client, settings)
        yield house
        house.close()
        for service in (*SERVICES, "jishi"):
            client.drop_database(prefix + service)
    clock.reset()


def played(theatre, story, seed=None):
    """The end of a play; without a seed everything happens once and in order."""
    theatre.empty()
    theatre.play(story, None if seed is None else random.Random(seed))
    theatre.untroubled()
    if seed is None or seed % AUDITED_EACH == 0:  # the same data pass the same audit
        report = audit(theatre.settings)
        assert report.clean, (seed, report.violations)
    return dump({service: theatre.database(service) for service in SERVICES})


@pytest.fixture(scope="module")
def in_order(theatre):
    """What each story reaches when everything happens once and in order."""
    return [played(theatre, story) for story in STORIES]


def test_the_stories_in_order_are_whole(theatre, in_order):
    """What is compared says something: the dumps hold every kind of end."""
    told = "\n".join("\n".join(found) for found in in_order)
    for end in (
        "paid_twice",
        "rejected",
        "cancelled",
        "late",
        "timeout",
        "closed_refund",
        "hold",
        '"sent"',
        "completed",
    ):
        assert end in told, end
    assert played(theatre, STORIES[0]) == in_order[0]
    assert set(theatre.results) <= {Result.APPLIED, Result.DONE, Result.STALE}


def test_twice_and_in_any_order_ends_the_same(theatre, in_order):
    first = secrets.randbelow(1_000_000)
    began, seen = time.process_time(), set()
    for seed in range(first, first + SEEDS):
        found = played(theatre, STORIES[seed % 2], seed)
        seen |= set(theatre.results)
        odd = difference(found, in_order[seed % 2])
        assert not odd, f"seed {seed}:\n{odd}"
    print(f"seeds {first} to {first + SEEDS - 1}, {time.process_time() - began:.1f} s of this process")
    assert {Result.EARLY, Result.DONE} <= seen, "nothing was early: the order was not shuffled"
