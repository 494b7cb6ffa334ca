"""Broadcasts on a real database: admitted exactly within the quotas, or refused without a trace."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.broadcast import queries
from services.broadcast.store import bitmaps
from services.chassis.errors import REASONS, Refusal
from tests.contract.broadcast.house import fresh, openids


def refused(house, *args, **asked) -> Refusal:
    """The refusal of a broadcast that must leave nothing behind."""
    before = dump(house)
    with pytest.raises(Refusal) as told:
        house.send(*args, **asked)
    assert dump(house) == before
    return told.value


def dump(house) -> dict:
    names = ("quotas", "client_ids", "jobs", "job_shards", "shards", "chunks")
    return {name: sorted(house.database[name].find(), key=lambda row: str(row["_id"])) for name in names}


def test_four_broadcasts_on_four_days_then_tags_then_the_next_month(house):
    """Story 4: the old followers have had four, so a tag of old and new reaches the new ones, each skipped one explained."""
    account = house.account()
    house.follow(account, openids(0, 100))
    jobs = []
    for day in range(5, 9):
        house.at(f"2026-01-0{day}T12:00")
        if day == 8:
            house.follow(account, openids(100, 110))
        jobs.append(house.run(house.send(account).document["_id"]))
        again = refused(house, account)
        assert (again.reason, REASONS[again.reason].errcode) == ("BROADCAST_QUOTA_EXHAUSTED", 45028)
        last = day == 8
        reset = "2026-02-01T00:00:00+08:00" if last else f"2026-01-0{day + 1}T00:00:00+08:00"
        assert again.info == {"scope": "month" if last else "day", "reset_at": reset}
    assert [job["sent_count"] for job in jobs] == [100, 100, 100, 110]
    house.at("2026-01-09T12:00")
    assert refused(house, account).info["scope"] == "month"

    mixed = house.tag(account, "新老客", openids(90, 110))
    assert queries.quota(house.store, account, mixed) | {"day_resets": 0, "month_resets": 0} == {
        "day_left": 0,
        "month_left": 0,
        "day_resets": 0,
        "month_resets": 0,
        "followers": 20,
        "capped": 10,
        "muted": 0,
        "reach": 10,
    }
    job = house.run(house.send(account, mixed).document["_id"])
    counts = [job[f"{name}_count"] for name in ("total", "filter", "sent", "error")]
    assert counts == [20, 10, 10, 0]
    assert explained(house, account, job["_id"], "monthly_cap") == openids(90, 100)
    assert explained(house, account, job["_id"], "sent") == openids(100, 110)
    assert house.received(account, "2026-01") == {1: 110, 2: 110, 3: 100, 4: 100}

    house.at("2026-02-01T00:00")
    assert house.run(house.send(account).document["_id"])["sent_count"] == 110
    assert house.received(account, "2026-02") == {1: 110, 2: 0, 3: 0, 4: 0}


def explained(house, account, job_id, outcome, size=3) -> list[str]:
    found, token, total = [], "", None
    while True:
        asked = {"job_id": job_id, "outcome": outcome, "page_size": size, "page_token": token}
        some, total, token = queries.deliveries(house.store, account, asked)
        found += some
        if not token:
            assert total == len(found)
            return found


def test_a_subscription_account_broadcasts_once_a_day_to_all_or_a_tag(house):
    account = house.account("newspaper", kind="subscription")
    house.follow(account, openids(0, 10))
    tag_id = house.tag(account, "老客", openids(0, 3))
    assert house.send(account, tag_id).document["filter_count"] == 3
    for asked in ((account,), (account, tag_id)):
        told = refused(house, *asked)
        assert (told.reason, told.info["reset_at"]) == ("BROADCAST_QUOTA_EXHAUSTED", "2026-01-06T00:00:00+08:00")
        assert told.retry_after_s == pytest.approx(14 * 3600, abs=30)
    for day in range(6, 13):
        house.at(f"2026-01-{day:02d}T00:00")
        assert house.send(account).document["filter_count"] == 10


def test_of_two_broadcasts_at_once_exactly_one_is_admitted(house):
    account = house.account()
    house.follow(account, openids(0, 10))

    def attempt(_number: int) -> str:
        try:
            return house.send(account).document["_id"]
        except Refusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    assert results.count("BROADCAST_QUOTA_EXHAUSTED") == 7
    assert house.store.jobs.count_documents({}) == 1
    assert house.received(account, "2026-01")[1] == 10


def test_tag_broadcasts_at_once_never_give_a_follower_a_fifth(house, monkeypatch):
    monkeypatch.setattr(bitmaps, "SHARD_BITS", 3)
    account = house.account()
    house.follow(account, openids(0, 20))
    tags = [house.tag(account, "一", openids(0, 15)), house.tag(account, "二", openids(5, 20))]
    with ThreadPoolExecutor(6) as pool:
        jobs = list(pool.map(lambda n: house.send(account, tags[n % 2]).document, range(12)))
    got: dict[int, int] = {}
    for job in jobs:
        sets = house.sets(job["_id"])
        assert job["total_count"] == 15
        assert sets["recipients"] | sets["capped"] == (
            set(range(15)) if job["tag_id"] == tags[0] else set(range(5, 20))
        )
        assert not sets["recipients"] & sets["capped"]
        for one in sets["recipients"]:
            got[one] = got.get(one, 0) + 1
    assert got == dict.fromkeys(range(20), 4)
    assert house.received(account, "2026-01") == {1: 20, 2: 20, 3: 20, 4: 20}
    assert len({job["number"] for job in jobs}) == 12


def test_followers_who_come_while_broadcasts_are_admitted_are_not_lost(house, monkeypatch):
    monkeypatch.setattr(bitmaps, "SHARD_BITS", 4)
    account = house.account()
    house.follow(account, openids(0, 10))
    tag_id = house.tag(account, "老客", openids(0, 10))
    with ThreadPoolExecutor(4) as pool:
        coming = [pool.submit(house.follow, account, openids(n, n + 5)) for n in range(10, 50, 5)]
        sending = [pool.submit(house.send, account, tag_id) for _ in range(6)]
        for one in (*coming, *sending):
            one.result()
    assert len(list(house.store.followers.find({"account_id": account}))) == 50
    assert sum(shard["count"] for shard in house.store.shards_of(account)) == 50
    assert house.received(account, "2026-01") == {1: 10, 2: 10, 3: 10, 4: 10}


def test_the_same_call_again_answers_with_the_same_job(house):
    account, cause = house.account(), fresh("send")
    house.follow(account, openids(0, 3))
    first = house.send(account, cause=cause)
    again = house.send(account, cause=cause)
    assert again.replayed
    assert again.document["_id"] == first.document["_id"]
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.send(account, cause=fresh("send", "another body"))
    with ThreadPoolExecutor(6) as pool:
        house.at("2026-01-06T10:00")
        outcomes = list(pool.map(lambda _: house.send(account, cause=fresh("next day")), range(6)))
    assert len({outcome.document["_id"] for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1


def test_a_clientmsgid_names_its_job_for_a_day(house):
    account = house.account()
    house.follow(account, openids(0, 3))
    job_id = house.send(account, clientmsgid="spring-1").document["_id"]
    told = refused(house, account, clientmsgid="spring-1")
    assert (told.reason, told.info) == ("CLIENT_MSG_ID_EXISTS", {"job_id": job_id})
    assert house.send(house.account("other"), clientmsgid="spring-1").document["_id"] != job_id
    house.at("2026-01-06T09:59")
    assert refused(house, account, clientmsgid="spring-1").reason == "CLIENT_MSG_ID_EXISTS"
    house.at("2026-01-06T10:01")
    second = house.send(account, clientmsgid="spring-1").document["_id"]
    assert second != job_id
    assert refused(house, account, clientmsgid="spring-1").info == {"job_id": second}


def test_the_muted_are_left_out_and_said(house):
    account = house.account()
    house.follow(account, openids(0, 10))
    house.leave(account, openids(0, 4), mute=True)
    house.leave(account, openids(9, 10))
    job = house.run(house.send(account).document["_id"])
    assert [job[name] for name in ("total_count", "filter_count", "skipped_muted", "sent_count")] == [9, 5, 4, 5]
    assert explained(house, account, job["_id"], "muted") == openids(0, 4)
    sets = house.sets(job["_id"])
    assert sets["delivered"] == set(range(4, 9))
    house.unmute(account, openids(0, 3))
    job = house.run(house.send(account, to_all=False, tag_id=house.tag(account, "老客", openids(2, 5))).document["_id"])
    assert [job[name] for name in ("total_count", "skipped_muted", "sent_count")] == [3, 1, 2]
    assert house.sets(job["_id"])["delivered"] == {2, 4}


def test_calls_are_limited_by_the_minute_and_the_day(house):
    account = house.account()
    house.follow(account, openids(0, 1))
    tag_id = house.tag(account, "老客", openids(0, 1))
    quota = f"{account}:2026-01"
    house.send(account, tag_id)
    house.store.quotas.update_one({"_id": quota}, {"$set": {"minute.calls": 60}})
    told = refused(house, account, tag_id)
    assert (told.reason, told.info["scope"]) == ("API_MINUTE_QUOTA", "minute")
    house.at("2026-01-05T10:02")
    house.send(account, tag_id)
    house.store.quotas.update_one({"_id": quota}, {"$set": {"days.2026-01-05.calls": 100}})
    assert refused(house, account).reason == "API_DAILY_QUOTA"
    house.at("2026-01-06T00:00")
    assert house.send(account).document["state"] == "sending"


def test_an_account_without_followers_is_done_at_once(house):
    job = house.send(house.account()).document
    assert (job["state"], job["total_count"], job["filter_count"]) == ("sent", 0, 0)
    assert job["finished_at"] == job["admitted_at"]
    assert "due_at" not in job
    assert house.messages(job["_id"]) == []
    assert explained(house, "service", job["_id"], "sent") == []


def test_who_may_not_broadcast_is_told_why(house):
    assert refused(house, "nobody").reason == "UNAVAILABLE"
    assert refused(house, house.account("new", verified=False)).reason == "API_UNAUTHORIZED"
    assert refused(house, house.account(), 77).reason == "NOT_FOUND"
    assert refused(house, house.account(), content={}).violations[0].field == "content.text"
    assert refused(house, house.account(), to_all=False).violations[0].field == "to_all"


def test_a_new_account_reaches_few_at_first_also_in_the_next_month(house):
    account = house.account("new", warmed_up=False)
    house.follow(account, openids(0, 201))
    few = house.tag(account, "老客", openids(0, 200))
    assert refused(house, account).info == {"condition": "warm_up", "limit": "200"}
    assert house.send(account, few).document["filter_count"] == 200
    house.at("2026-02-01T10:00")
    assert house.send(account).document["filter_count"] == 201


def test_a_year_of_broadcasts_keeps_two_months_of_counts(house):
    account = house.account()
    house.follow(account, openids(0, 5))
    for month in range(1, 13):
        house.at(f"2026-{month:02d}-28T10:00")
        house.send(account)
    (shard,) = house.store.shards_of(account)
    assert sorted(shard["received"]) == ["2026-11", "2026-12"]
    assert house.store.quotas.count_documents({}) == 12


def test_a_job_belongs_to_its_account(house):
    job_id = house.send(house.account()).document["_id"]
    for account in ("service", house.account("other")):
        if account == "service":
            assert queries.job(house.store, account, job_id)["_id"] == job_id
            continue
        with pytest.raises(Refusal, match="NOT_FOUND"):
            queries.job(house.store, account, job_id)
        with pytest.raises(Refusal, match="NOT_FOUND"):
            explained(house, account, job_id, "sent")


def test_jobs_are_listed_newest_first_and_tokens_keep_to_their_list(house):
    account = house.account()
    house.follow(account, openids(0, 2))
    tag_id = house.tag(account, "老客", openids(0, 2))
    sent = [house.send(account, tag_id).document["_id"] for _ in range(5)]
    found, token = [], ""
    while True:
        rows, token = queries.jobs(house.store, account, 2, token)
        found += [row["_id"] for row in rows]
        if not token:
            break
        kept = token
    assert found == sent[::-1]
    for wrong in (kept + "x", "nonsense"):
        with pytest.raises(Refusal, match="INVALID_PAGE_TOKEN"):
            queries.jobs(house.store, account, 2, wrong)
    with pytest.raises(Refusal, match="INVALID_PAGE_TOKEN"):
        queries.jobs(house.store, "other", 2, kept)
    with pytest.raises(Refusal, match="page_size"):
        queries.page_size(-1)
    with pytest.raises(Refusal, match="outcome"):
        explained(house, account, sent[0], "")
