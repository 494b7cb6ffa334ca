"""Chunks of a broadcast: delivered exactly once, in any order, whatever process dies in between."""

import itertools
import random

import pytest

from services.broadcast import model, queries
from services.broadcast.queries import inbox as inbox_pages
from services.broadcast.queries.inbox import inbox
from services.broadcast.reactions import delivery
from services.broadcast.store import bitmaps, follower_id
from services.chassis import clock, commit, policy
from services.chassis.errors import Refusal
from services.chassis.once import Result
from tests.contract.broadcast.house import openids


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of 10 recipients, 4 a second, in shards of 32."""
    entries = policy.load("broadcast")._entries
    for name, value in (("chunk", 10), ("chunks_per_second", 4)):
        changed = [policy.Entry(entry.effective_from, value, entry.unit, entry.why) for entry in entries[name]]
        monkeypatch.setitem(entries, name, changed)
    monkeypatch.setattr(bitmaps, "SHARD_BITS", 5)


@pytest.fixture
def account(house) -> str:
    house.follow(house.account(), openids(0, 100))
    return "service"


def check_all_reached(house, job, count=100):
    sets = house.sets(job["_id"])
    assert (job["state"], job["sent_count"], job["error_count"]) == ("sent", count, 0)
    assert sets["delivered"] == sets["recipients"] == set(range(count))
    assert job["chunks_done"] == job["chunks"] == house.store.chunks.count_documents({"job_id": job["_id"]})
    assert house.database["handled"].count_documents({"state": {"$ne": "done"}}) == 0


def test_a_job_goes_out_at_its_rate_and_ends_sent(house, account):
    job = house.send(account).document
    assert (job["state"], job["chunks"], job["dispatched"]) == ("sending", 13, 4)
    assert len(job["outbox"]) == 4
    sent = house.run(job["_id"])
    check_all_reached(house, sent)
    assert sent["finished_at"] >= sent["admitted_at"]
    assert "due_at" not in sent


def test_chunks_twice_and_shuffled_come_to_the_same(house, account):
    for seed in range(8):
        print(f"seed {seed}")
        chance = random.Random(seed)
        house.at(f"2026-{seed + 2:02d}-05T10:00")
        job_id = house.send(account).document["_id"]
        messages = house.messages(job_id)
        while house.store.job(job_id)["dispatched"] < 13:
            clock.see(clock.offset_ms() + 1000)
            house.timers.sweep()
            messages += house.messages(job_id)
        assert len(messages) == 13
        messages *= 2
        chance.shuffle(messages)
        results = house.deliver(messages)
        assert (results.count(Result.APPLIED), results.count(Result.DONE)) == (13, 13)
        check_all_reached(house, house.store.job(job_id))


def test_a_worker_that_dies_before_it_closes_the_job_is_made_good_by_the_timer(house, account, monkeypatch):
    job_id = house.send(account).document["_id"]

    class KilledError(BaseException):
        pass

    def die(*_args, **_kwargs):
        raise KilledError

    with monkeypatch.context() as dying:
        dying.setattr(delivery.commit, "change", die)
        for message in house.messages(job_id):
            with pytest.raises(KilledError):
                house.deliver([message])
    assert house.store.job(job_id)["chunks_done"] == 4
    check_all_reached(house, house.run(job_id))


def test_a_worker_that_dies_in_the_middle_leaves_nothing_and_the_message_comes_again(house, account, monkeypatch):
    job_id = house.send(account).document["_id"]
    first, *others = house.messages(job_id)

    class KilledError(BaseException):
        pass

    def die(_transaction):
        raise KilledError

    with monkeypatch.context() as dying:
        dying.setattr(commit.Transaction, "_attempt", die)
        with pytest.raises(KilledError):
            house.deliver([first])
    assert house.store.chunks.count_documents({}) == 0
    assert house.deliver([first, first, *others]) == [Result.APPLIED, Result.DONE, *[Result.APPLIED] * 3]
    check_all_reached(house, house.run(job_id))


def test_a_chunk_that_waited_is_delivered_once(house, account, monkeypatch):
    job_id = house.send(account).document["_id"]
    first, *_ = messages = house.messages(job_id)

    def fail(*_args):
        raise RuntimeError("the way to the followers is closed")

    with monkeypatch.context() as failing:
        failing.setattr(delivery.ADAPTER, "deliver", fail, raising=False)
        assert house.deliver([first]) == [Result.FAILED]
    house.database["handled"].update_many({"state": "waiting"}, {"$set": {"next_at": clock.wall_ms()}})
    house.intake.sweep()
    assert house.deliver(messages).count(Result.APPLIED) == 3
    check_all_reached(house, house.run(job_id))


def test_who_leaves_between_admission_and_delivery_is_an_error(house, account):
    job_id = house.send(account).document["_id"]
    house.leave(account, openids(35, 47))
    job = house.run(job_id)
    assert (job["filter_count"], job["sent_count"], job["error_count"]) == (100, 88, 12)
    sets = house.sets(job_id)
    assert sets["errors"] == set(range(35, 47))
    assert sets["delivered"] | sets["errors"] == sets["recipients"]
    asked = {"job_id": job_id, "outcome": "error", "page_size": 50, "page_token": ""}
    assert queries.deliveries(house.store, account, asked) == (openids(35, 47), 12, "")


@pytest.mark.parametrize("size", [1, 9, 10, 11, 99, 100])
def test_deliveries_are_paged_over_chunks_and_shards(house, account, size):
    house.leave(account, openids(20, 40))
    job_id = house.run(house.send(account).document["_id"])["_id"]
    found, token = [], ""
    while True:
        asked = {"job_id": job_id, "outcome": "sent", "page_size": size, "page_token": token}
        some, total, token = queries.deliveries(house.store, account, asked)
        assert total == 80
        found += some
        if not token:
            break
    assert found == openids(0, 20) + openids(40, 100)


def inbox_of(house, openid: str, size: int = 20) -> list[dict]:
    """All of an inbox, page by page."""
    found, token = [], ""
    while True:
        page, token = inbox(house.store, "service", openid, size, token)
        assert len(page) <= size
        found += page
        if not token:
            return found


def test_an_inbox_holds_the_broadcasts_that_reached_its_owner(house, account):
    house.run(house.send(account, content={"text": "第一"}).document["_id"])
    house.at("2026-01-06T10:00")
    house.follow(account, openids(100, 105))
    house.leave(account, openids(50, 51))
    second = house.run(house.send(account, content={"text": "第二"}).document["_id"])
    expected = {0: ["第二", "第一"], 104: ["第二"], 50: ["第一"], 999: []}
    for number, texts in expected.items():
        for size in (1, 2, 20):
            found = inbox_of(house, openids(number, number + 1)[0], size)
            assert [message["text"] for message in found] == texts
    (message,) = inbox_of(house, openids(104, 105)[0])
    assert (message["kind"], message["reference"], message["at"]) == ("broadcast", second["_id"], second["admitted_at"])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_inbox_is_paged_over_broadcasts_and_messages(house, account, monkeypatch, size):
    """Three broadcasts at a look, several messages at one instant, and broadcasts that reached others only."""
    monkeypatch.setattr(inbox_pages, "JOBS_A_LOOK", 3)
    mine, theirs = house.tag(account, "我", openids(0, 5)), house.tag(account, "他", openids(50, 60))
    reader, expected = follower_id(account, openids(0, 1)[0]), []
    for month, day in itertools.product(range(1, 5), range(6, 10)):
        house.at(f"2026-{month:02d}-{day:02d}T10:00")
        job = house.run(house.send(account, mine).document["_id"])
        house.send(account, theirs)
        same = [
            {"_id": f"{day}.{month}.{n}", "reader": whose, "text": "", "reference": ""}
            for n, whose in (("a", reader), ("b", reader), ("c", follower_id(account, openids(1, 2)[0])))
        ]
        house.store.inbox.insert_one({"messages": same, "at": clock.business()})
        expected += [job["_id"], *(row["_id"] for row in same if row["reader"] == reader)]
    assert [message["message_id"] for message in inbox_of(house, openids(0, 1)[0], size)] == expected[::-1]
    _, token = inbox(house.store, account, openids(0, 1)[0], 1, "")
    with pytest.raises(Refusal, match="INVALID_PAGE_TOKEN"):
        inbox(house.store, account, openids(1, 2)[0], 1, token)


def test_order_facts_come_into_the_inbox_once(house):
    order = {"order_id": "1", "account_id": "service", "openid": "o1"}
    line = {"name": "连衣裙", "quantity": 1}
    paid = {**order, "amount": 1990, "currency": "CNY", "lines": [line], "paid_at": clock.business()}
    shipped = {**order, "shipped_at": clock.business()}
    for name, event_type, data in (
        ("tell_paid", model.ORDER_PAID, paid),
        ("tell_shipped", model.ORDER_SHIPPED, shipped),
    ):
        results = [house.hear(name, event_type, data, subject="1") for _ in range(2)]
        assert results == [Result.APPLIED, Result.DONE]
    found = inbox_of(house, "o1")
    assert {message["text"] for message in found} == {"订单支付成功:连衣裙,合计 19.90 CNY", "订单已发货:无需物流"}


def test_an_account_is_known_by_its_newest_fact(house):
    results = []
    for number, name in ((2, "新"), (1, "旧"), (2, "新")):
        data = {"account_id": "a", "kind": "service", "name": name}
        results.append(
            house.hear("keep_account", "jishi.accounts.account.changed.v1", data, subject="a", sequence=number)
        )
    assert results == [Result.APPLIED, Result.STALE, Result.DONE]
    assert house.store.accounts.find_one({"_id": "a"})["name"] == "新"
