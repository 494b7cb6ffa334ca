"""Letters: what transactions committed together tell is one row of the log, written with them and only marked when it was sent."""

import pytest

from services.chassis import clock, commit, mongo, together
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change, Fact
from services.chassis.presence import Presence
from services.chassis.relay import WINDOW, BrokerAwayError, Relay
from tests.contract import worker_toy as toy
from tests.contract.test_worker_relay import Recorder

FACT = Fact(toy.REJECTED, {"order_id": "1", "amount": 1, "reason": ""})
NAMES = ("things", mongo.LETTERS.name)


@pytest.fixture
def database(memory_world):
    database = memory_world.database("orders")
    mongo.declare(database, (toy.THINGS, mongo.LETTERS))
    return database


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


@pytest.fixture
def carrier(database, heard) -> Relay:
    return Relay(database, NAMES, heard, Presence("orders", "test", "worker"))


def telling(database, number: int, facts=(FACT,)) -> Transaction:
    """A transaction that changes a thing and tells of it by letter."""
    rows = database["things"]
    commit.create(rows, {"_id": str(number)}, Cause(f"cmd:{number}"))
    found = rows.find_one({"_id": str(number)})
    return Transaction(database.client).change(rows, found, Change(facts=facts), Cause("cmd:go"), by_letter=True)


def test_what_is_committed_together_is_one_letter_and_sent_in_order(database, heard, carrier):
    together._commit_all([telling(database, number, (FACT, FACT)) for number in range(3)])
    (letter,) = database["event_log"].find({})
    assert (len(letter["outbox"]), "sent_at" in letter) == (6, False)
    assert all("outbox" not in thing and thing["version"] == 3 for thing in database["things"].find({}))
    assert carrier.sweep("event_log") == 6
    name = f"{database.name}.things"
    assert heard.ids() == [f"{name}:{number}:{sequence}" for number in range(3) for sequence in (2, 3)]
    (letter,) = database["event_log"].find({})
    assert (letter["sent_at"] <= clock.wall(), "outbox_at" in letter) == (True, False)
    assert carrier.sweep("event_log") == 0


def test_a_transaction_that_does_not_hold_takes_nothing_from_the_letter_of_the_others(database, heard, carrier):
    wrong = telling(database, 1).insert(database["things"], {"_id": "1"})
    right, problem = together._commit_all([telling(database, 2), wrong])
    assert (right, type(problem)) == (None, Taken)
    assert carrier.sweep("event_log") == 1
    assert heard.ids() == [f"{database.name}.things:2:2"]


def test_a_letter_that_was_not_confirmed_or_not_marked_is_sent_again(database, heard, carrier, monkeypatch):
    telling(database, 1).commit()
    heard.away = True
    with pytest.raises(BrokerAwayError):
        carrier.sweep("event_log")
    heard.away = False
    with monkeypatch.context() as patched:
        patched.setattr(carrier, "_mark_sent", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            carrier.sweep("event_log")
    assert carrier.sweep("event_log") == 1
    assert len(heard.ids()) == 2
    assert len(set(heard.ids())) == 1


def test_letters_are_sent_whole_however_many_events_they_hold(database, carrier):
    facts = (FACT,) * (WINDOW - 10)
    for number in range(2):
        telling(database, number, facts).commit()
    assert [carrier.sweep("event_log") for _ in range(3)] == [WINDOW - 10, WINDOW - 10, 0]


def test_letters_are_part_of_the_log_that_is_sent_again_and_replayed(database, heard, carrier):
    telling(database, 1, (FACT, FACT)).commit()
    commit.create(database["things"], {"_id": "2"}, Cause("cmd:2"), facts=(FACT,))
    assert (carrier.sweep("event_log"), carrier.sweep("things")) == (2, 1)
    first = heard.ids()
    heard.sent.clear()
    assert carrier.resend(0) == 3
    assert sorted(heard.ids()) == sorted(first)
    assert {outgoing.resent for outgoing in heard.sent} == {1}
    heard.sent.clear()
    carrier.acquaint([("payments.refund", toy.REJECTED)])
    assert carrier.replay_asked() == 3
    assert {outgoing.queue for outgoing in heard.sent} == {"payments.refund"}


def test_of_rivals_for_one_document_the_first_is_written_and_the_others_read_again(database):
    commit.create(database["things"], {"_id": "1"}, Cause("cmd:1"))
    found = database["things"].find_one({"_id": "1"})

    def rival(number: int) -> Transaction:
        change = Change(set={"by": number})
        return Transaction(database.client).change(database["things"], found, change, Cause(f"cmd:go{number}"))

    told = together._commit_all([rival(0), telling(database, 2), rival(1), rival(2)])
    assert [type(each) for each in told] == [type(None), type(None), Shortfall, Shortfall]
    assert database["things"].find_one({"_id": "1"})["by"] == 0
    stale = rival(3).insert(database["things"], {"_id": "1"})
    found = database["things"].find_one({"_id": "1"})
    told = together._commit_all([stale, rival(4)])
    assert isinstance(told[0], Shortfall | Taken)
    assert told[1] is None, "whose rival did not hold is tried"
