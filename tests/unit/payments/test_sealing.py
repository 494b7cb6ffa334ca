"""The sealed journal: one chain whoever seals, every entry in one block, and whatever is done to it afterwards is named."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from services.chassis import clock
from services.payments.model import sealing as model
from services.payments.queries.ledger import verification
from services.payments.store import sealing

ALL = {"after_block": 0, "page_size": 200, "anchor_block": 0, "anchor_hash": ""}


def verified(books, **asked) -> dict:
    return verification(books.store, {**ALL, **asked})


def kinds(books) -> list[str]:
    return [flaw["kind"] for flaw in verified(books)["flaws"]]


def blocks(books) -> list[dict]:
    return list(books.store.blocks.find({}).sort("number", 1))


def aged(books) -> None:
    """Everything sealed so far was written long ago: the chain answers for every entry of that time."""
    for row in list(books.store.entries.find({})):
        books.store.entries.update_one({"_id": row["_id"]}, {"$inc": {"written_at": -3_600_000}})


def test_writers_and_three_sealers_at_once_make_one_chain(books):
    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(books.earn, 100 + n, name=f"settle:x{n}") for n in range(60)]
        sealing_at_once = [pool.submit(books.seal) for _ in range(12)]
        for one in (*writing, *sealing_at_once):
            one.result()
    books.seal()
    chain = blocks(books)
    assert [one["number"] for one in chain] == list(range(1, len(chain) + 1))
    lines = [line["id"] for one in chain for line in one["entries"]]
    assert sorted(lines) == sorted(f"settle:x{n}" for n in range(60)), "each in exactly one block"
    told = verified(books)
    assert (told["flaws"], told["ended"], told["waiting"], told["entries"]) == ([], True, 0, 60)
    assert told["head"] == chain[-1]["hash"]
    assert books.seal() == 0
    assert len(blocks(books)) == len(chain), "nothing new, no new block"


def test_a_sealer_that_dies_leaves_whole_blocks_and_the_next_goes_on(books, monkeypatch):
    monkeypatch.setattr("services.payments.jobs.sealing.BLOCK", 3)
    from services.payments.jobs.sealing import seal_all

    for _ in range(8):
        books.earn(10)

    def dies():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal_all(books.store, dies)
    assert [len(one["entries"]) for one in blocks(books)] == [3]
    assert books.seal() == 5
    assert kinds(books) == []
    assert [row["moved"]["CNY"]["available"]["credits"] for row in books.store.sums.find({"span": "day"})] == [80]


def test_an_entry_that_was_committed_late_is_sealed_with_the_next(books):
    books.earn(10)
    books.seal()
    late = books.earn(20)
    books.store.entries.update_one({"_id": late}, {"$inc": {"written_at": -60_000}})
    assert books.seal() == 1
    assert kinds(books) == []


def came_late(books, late_ms: int, name: str) -> str:
    """An entry that was written ``late_ms`` before the chain answers for, and is visible only now."""
    reached = max(row["reached"] for row in blocks(books))
    books.earn(20, name=name)
    written = {"written_at": reached - model.OVERLAP_MS - late_ms}
    books.store.entries.update_one({"_id": name}, {"$set": written})
    return name


def old_chain(books, monkeypatch, blocks_of: int = 3) -> None:
    """A chain of two hours ago."""
    monkeypatch.setattr("services.payments.jobs.sealing.BLOCK", blocks_of)
    for number in range(9):
        name = books.earn(10 + number)
        at = clock.wall_ms() - 7_200_000 + number * 60_000
        books.store.entries.update_one({"_id": name}, {"$set": {"written_at": at}})
    books.seal()
    assert kinds(books) == []


@pytest.mark.parametrize("late_ms", [1, 3_600_000, 400 * 86_400_000])
def test_an_entry_that_became_visible_after_its_time_is_sealed_in_a_block_that_says_so(books, monkeypatch, late_ms):
    old_chain(books, monkeypatch)
    name = came_late(books, late_ms, "settle:late")
    told = verified(books)
    assert told["waiting"] + len(told["flaws"]) == 1, "nobody has looked at its time again yet"
    for _ in range(len(blocks(books)) + 1):
        books.seal()
    told, chain = verified(books), blocks(books)
    assert (told["flaws"], told["late"], told["waiting"], told["entries"]) == ([], 1, 0, 10)
    assert [line["id"] for line in chain[-1]["entries"]] == [name]
    assert [one.get("late", False) for one in chain] == [False, False, False, True]
    assert sorted(line["id"] for one in chain for line in one["entries"]) == sorted(
        row["_id"] for row in books.store.entries.find({})
    ), "each in one block"
    assert books.seal() == 0
    summed = books.store.sums.find_one({"span": "month"})
    assert summed["moved"]["CNY"]["available"]["credits"] == sum(range(10, 19)) + 20, "and in the sums, once"
    books.store.blocks.update_one({"_id": 4}, {"$unset": {"late": ""}})
    assert kinds(books) == ["block_changed", "late_untold"], "that it is late is under seal"


def test_late_entries_and_many_sealers_make_one_chain(books, monkeypatch):
    old_chain(books, monkeypatch)
    names = [came_late(books, number * 50_000, f"settle:late{number}") for number in range(7)]
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(books.seal) for _ in range(8)]:
            one.result()
    for _ in range(8):
        books.seal()
    lines = [line["id"] for one in blocks(books) for line in one["entries"]]
    assert len(lines) == len(set(lines)) == 16
    assert {
        name for one in blocks(books) if one.get("late") for name in (line["id"] for line in one["entries"])
    } == set(names)
    told = verified(books)
    assert (told["flaws"], told["late"]) == ([], 7)
    for after in range(len(blocks(books))):
        page = verified(books, after_block=after, page_size=1)
        assert page["flaws"] == [], "a late entry is looked for in the blocks behind the page too"


def test_what_came_late_while_nothing_else_happened_is_sealed_as_any_other(books, monkeypatch):
    old_chain(books, monkeypatch)
    books.earn(20, name="settle:alone")
    written = {"written_at": blocks(books)[-1]["reached"] + 60_000}
    books.store.entries.update_one({"_id": "settle:alone"}, {"$set": written})
    for _ in range(5):
        books.seal()
    assert [(one.get("late"), len(one["entries"])) for one in blocks(books)][3:] == [(None, 1)]
    assert kinds(books) == []


def test_an_entry_in_two_blocks_is_named_however_far_apart_they_are(books, monkeypatch):
    old_chain(books, monkeypatch)
    last, first = blocks(books)[-1], books.store.entries.find_one({"_id": "settle:o1"})
    books.store.blocks.insert_one(model.block(last, [first], last["reached"], clock.business(), late=True))
    assert kinds(books) == ["sealed_twice"]


def test_a_clock_that_is_ahead_leaves_the_others_their_time(books):
    ahead = books.earn(10)
    books.store.entries.update_one({"_id": ahead}, {"$inc": {"written_at": 100_000}})
    books.seal()
    assert blocks(books)[0]["reached"] <= clock.wall_ms()
    slow = books.earn(20)
    books.store.entries.update_one({"_id": slow}, {"$inc": {"written_at": -100_000}})
    assert books.seal() == 1
    assert [one.get("late", False) for one in blocks(books)] == [False, False]
    assert kinds(books) == []


def test_whatever_is_done_to_the_journal_is_named(books):
    first, second, third = (books.earn(amount) for amount in (10, 20, 30))
    aged(books)
    books.store.sealing.update_many({}, {"$set": {"reached": clock.wall_ms() - 3_700_000}})
    books.seal()
    rows, sealed = books.store.entries, books.store.blocks
    assert kinds(books) == []

    rows.update_one({"_id": first}, {"$set": {"postings.0.amount": -11}})
    assert kinds(books) == ["changed"]
    rows.update_one({"_id": first}, {"$set": {"postings.0.amount": -10}})
    kept = rows.find_one({"_id": second})
    rows.delete_one({"_id": second})
    assert kinds(books) == ["missing"]
    rows.insert_one(kept)
    rows.insert_one({**kept, "_id": "settle:invented"})
    assert kinds(books) == ["inserted"]
    rows.delete_one({"_id": "settle:invented"})

    (block,) = blocks(books)
    sealed.update_one({"_id": 1}, {"$set": {"entries": block["entries"][::-1]}})
    assert kinds(books) == ["block_changed"], "the order is under seal too"
    sealed.update_one({"_id": 1}, {"$set": {"entries": block["entries"], "hash": "f" * 64}})
    assert kinds(books) == ["block_changed"]
    sealed.replace_one({"_id": 1}, block)
    assert kinds(books) == []
    books.earn(40, name="settle:later")
    books.seal()
    sealed.delete_one({"_id": 1})
    assert "block_missing" in kinds(books)
    assert third in {line["id"] for line in block["entries"]}


def test_a_chain_made_anew_over_changed_books_does_not_fit_what_an_auditor_wrote_down(books):
    books.earn(10)
    books.seal()
    head = verified(books)["head"]
    assert verified(books, anchor_block=1, anchor_hash=head)["flaws"] == []
    books.store.entries.update_one({"_id": "settle:o1"}, {"$set": {"terms": {"commission_bp": "1"}}})
    sealed = model.block(None, list(books.store.entries.find({})), blocks(books)[0]["reached"], clock.business())
    books.store.blocks.replace_one({"_id": 1}, sealed)
    assert kinds(books) == [], "a forger who owns the database can forge a whole chain"
    assert [one["kind"] for one in verified(books, anchor_block=1, anchor_hash=head)["flaws"]] == ["anchor_lost"]


def test_an_entry_that_nobody_seals_is_told_by_its_age(books):
    books.earn(10)
    told = verified(books)
    assert (told["waiting"], told["flaws"], told["head"]) == (1, [], model.GENESIS)
    books.store.entries.update_many({}, {"$inc": {"written_at": -3_600_000}})
    assert kinds(books) == ["unsealed"]


def test_pages_of_blocks_come_to_the_same_as_all_at_once(books):
    for number in range(7):
        books.earn(10 + number)
        books.seal()
    whole, after, entries = verified(books), 0, 0
    for _ in range(4):
        page = verified(books, after_block=after, page_size=2)
        assert page["flaws"] == []
        after, entries = page["last_block"], entries + page["entries"]
    assert (after, entries, page["ended"], page["head"]) == (7, whole["entries"], True, whole["head"])
    blocks_of_two = sealing.verify(books.store, 2, 2)
    assert (blocks_of_two.number, blocks_of_two.ended) == (4, False)


def test_what_is_hashed_has_one_form():
    when = datetime(2026, 1, 5, 2, 0, 0, 123000, tzinfo=UTC)
    one = {"b": 1, "a": {"茶": when}}
    assert model.canonical(one) == '{"a":{"茶":"2026-01-05T02:00:00.123+00:00"},"b":1}'.encode()
    assert model.digest(one) == model.digest({"a": {"茶": when}, "b": 1})
    with pytest.raises(TypeError):
        model.canonical({"a": object()})
