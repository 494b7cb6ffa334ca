"""The only place that writes: once, in one piece, and never half."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis import clock, commit, mongo, together
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Change, Fact
from services.chassis.errors import Refusal

REJECTED = Fact("jishi.orders.order.payment_rejected.v1", {"order_id": "1", "amount": 5})


@pytest.fixture
def database(memory_world):
    database = memory_world.database("orders")
    mongo.declare(database, (mongo.Collection("things", keyed=True, emits=True, timed=True),))
    return database


@pytest.fixture
def things(database):
    return database["things"]


def cause(name: str, body: str = "h") -> Cause:
    return Cause(f"cmd:{name}", body)


def counted(_document) -> Change:
    return Change(inc={"n": 1}, answer={"seen": True})


def test_a_created_document_carries_its_events_and_its_timer(things):
    due = clock.business()
    document = commit.create(things, {"_id": "1", "n": 0}, cause("a"), facts=(REJECTED, REJECTED), due=due).document
    assert document["version"] == 2
    assert [event["sequence"] for event in document["outbox"]] == [1, 2]
    assert document["due_at"] == clock.ms(due)
    assert things.count_documents({"outbox_at": {"$gt": 0, "$lte": clock.wall_ms()}}) == 1


def test_a_create_repeated_answers_with_the_same_document(things):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    again = commit.create(things, {"_id": "2", "n": 9}, cause("a"))
    assert again.replayed
    assert again.document["_id"] == "1"
    assert things.count_documents({}) == 1


def test_the_same_key_with_another_body_is_told(things):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        commit.create(things, {"_id": "1", "n": 0}, cause("a", "other"))
    commit.change(things, "1", cause("b"), counted)
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        commit.change(things, "1", cause("b", "other"), counted)


def test_another_unique_key_that_collides_is_taken(things):
    commit.create(things, {"_id": "1"}, cause("a"))
    with pytest.raises(Taken):
        commit.create(things, {"_id": "1"}, cause("b"))


def test_a_command_repeated_changes_nothing_and_answers_the_same(things):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    first = commit.change(things, "1", cause("b"), counted)
    again = commit.change(things, "1", cause("b"), counted)
    assert (first.document["n"], again.document["n"]) == (1, 1)
    assert (again.replayed, again.answer) == (True, {"seen": True})


def test_a_command_is_recognised_after_hundreds_of_others(things, database):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    for number in range(300):
        commit.change(
            things, "1", cause(str(number)), lambda found: Change(inc={"n": 1}, answer={"n": found["n"]}), fetch=False
        )
    for number in (0, 1, 63, 64, 95, 96, 97, 150, 299):
        again = commit.change(things, "1", cause(str(number)), counted)
        assert (again.replayed, again.answer) == (True, {"n": number})
    document = things.find_one({"_id": "1"})
    assert document["n"] == 300
    assert len(document["applied"]) <= commit.APPLIED_KEPT + commit.APPLIED_SPILL
    kept = {entry["id"] for entry in document["applied"]}
    old = {row["_id"].removeprefix("things:1:") for row in database["applied_archive"].find()}
    assert kept | old == {f"cmd:{number}" for number in range(300)}


def test_writers_at_once_each_count_once(things):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):  # every command is sent twice
            list(
                pool.map(
                    lambda number: commit.change(things, "1", cause(f"w{number}"), counted, patience_s=20), range(40)
                )
            )
    assert things.find_one({"_id": "1"})["n"] == 40


def test_a_guard_that_stays_unmet_is_a_conflict(things):
    commit.create(things, {"_id": "1", "n": 0}, cause("a"))
    with pytest.raises(Refusal, match="VERSION_CONFLICT"):
        commit.change(things, "1", cause("b"), lambda _: Change(inc={"n": 1}, guard={"n": 7}))
    assert things.find_one({"_id": "1"})["n"] == 0


def test_a_change_of_what_is_not_there_is_not_found(things):
    with pytest.raises(Refusal, match="NOT_FOUND"):
        commit.change(things, "1", cause("b"), counted, kind="thing")


def test_a_document_whose_events_pile_up_refuses_more(things):
    commit.create(things, {"_id": "1"}, cause("a"))
    for number in range(4):
        commit.change(things, "1", cause(str(number)), lambda _: Change(facts=(REJECTED,) * 64))
    with pytest.raises(Refusal, match="BACKLOG_FULL"):
        commit.change(things, "1", cause("more"), lambda _: Change(facts=(REJECTED,)))


def test_a_timer_is_set_moved_and_cleared_by_the_change_itself(things):
    commit.create(things, {"_id": "1"}, cause("a"))
    due = clock.business()
    assert commit.change(things, "1", cause("b"), lambda _: Change(due=due)).document["due_at"] == clock.ms(due)
    assert "due_at" in commit.change(things, "1", cause("c"), lambda _: Change(set={"x": 1})).document
    assert "due_at" not in commit.change(things, "1", cause("d"), lambda _: Change(due=None)).document


def test_a_transaction_writes_all_or_nothing(things, database):
    document = commit.create(things, {"_id": "1", "n": 0}, cause("a")).document
    rows = database["rows"]
    Transaction(database.client).insert(rows, {"_id": 1}).change(
        things, document, counted(document), cause("b")
    ).commit()
    with pytest.raises(Shortfall):  # the version has moved
        Transaction(database.client).insert(rows, {"_id": 2}).change(
            things, document, counted(document), cause("c")
        ).commit()
    with pytest.raises(Taken):
        Transaction(database.client).update(things, {"_id": "1"}, {"$inc": {"n": 1}}).insert(rows, {"_id": 1}).commit()
    assert [row["_id"] for row in rows.find()] == [1]
    assert things.find_one({"_id": "1"})["n"] == 1


def test_a_delivery_is_handled_once(database):
    rows = database["rows"]
    Transaction(database.client).handled(database, "h:1", waited=False).insert(rows, {"_id": 1}).commit()
    with pytest.raises(Taken):
        Transaction(database.client).handled(database, "h:1", waited=False).insert(rows, {"_id": 2}).commit()
    with pytest.raises(Shortfall):
        Transaction(database.client).handled(database, "h:1", waited=True).insert(rows, {"_id": 3}).commit()
    database["handled"].insert_one({"_id": "h:2", "state": "waiting", "next_at": 5})
    Transaction(database.client).handled(database, "h:2", waited=True).insert(rows, {"_id": 4}).commit()
    row = database["handled"].find_one({"_id": "h:2"})
    assert (row["state"], "next_at" in row) == ("done", False)
    assert sorted(row["_id"] for row in rows.find()) == [1, 4]


def test_fifty_units_are_sold_fifty_times_whoever_races(database):
    database["stock"].insert_one({"_id": 1, "left": 50})

    def take(number: int) -> bool:
        transaction = Transaction(database.client).insert(database["movements"], {"_id": number})
        transaction.update(database["stock"], {"_id": 1, "left": {"$gte": 1}}, {"$inc": {"left": -1}})
        try:
            transaction.commit(patience_s=30)
        except Shortfall:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        sold = sum(pool.map(take, range(80)))
    assert (sold, database["stock"].find_one()["left"], database["movements"].count_documents({})) == (50, 0, 50)


def sold(database, name: str, units: int) -> Transaction:
    """``units`` of one SKU are sold, and a row says so."""
    transaction = Transaction(database.client).insert(database["sales"], {"_id": name})
    return transaction.move(database["stock"], "sku", {"reserved": -units, "on_hand": -units}, {"reserved": units})


def test_what_is_sold_of_one_thing_together_is_one_write(database):
    database["stock"].insert_one({"_id": "sku", "reserved": 5, "on_hand": 9})
    whole = Transaction.joined([sold(database, "a", 2), sold(database, "b", 3)])
    whole.commit()
    assert (len(whole.operations), whole.matching) == (3, 1)
    assert database["stock"].find_one() == {"_id": "sku", "reserved": 0, "on_hand": 4}


def test_of_what_does_not_fit_together_each_that_fits_alone_is_written(database):
    database["stock"].insert_one({"_id": "sku", "reserved": 4, "on_hand": 9})
    results = together._commit_all([sold(database, "a", 2), sold(database, "b", 3), sold(database, "c", 2)])
    assert [type(result) for result in results] == [type(None), Shortfall, type(None)]
    assert database["stock"].find_one() == {"_id": "sku", "reserved": 0, "on_hand": 5}
    assert sorted(row["_id"] for row in database["sales"].find()) == ["a", "c"]


def test_items_with_an_id_share_a_row_and_each_is_there_once(database):
    rows = database["letters"]
    rows.create_index("items._id", unique=True)

    def told(name: str) -> Transaction:
        return Transaction(database.client).gather(rows, {"at": 1}, "items", [{"_id": name}])

    assert together._commit_all([told("a"), told("b")]) == [None, None]
    assert [[item["_id"] for item in row["items"]] for row in rows.find()] == [["a", "b"]]
    results = together._commit_all([told("c"), told("b"), told("c"), told("d")])
    assert [type(result) for result in results] == [type(None), Taken, Shortfall, type(None)]
    assert sorted(item["_id"] for row in rows.find() for item in row["items"]) == ["a", "b", "c", "d"]
