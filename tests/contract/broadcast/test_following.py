"""Followers and tags on a real database: idempotent, dense, and right when many calls meet."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.broadcast import queries
from services.broadcast.commands import following
from services.broadcast.store import bitmaps
from services.broadcast.store.bitmaps import unpack
from services.chassis.errors import Refusal
from tests.contract.broadcast.house import fresh, openids


def all_of(house, account_id: str) -> list[str]:
    found, token = [], ""
    while True:
        rows, token = queries.followers(house.store, account_id, 7, token)
        found += [row["openid"] for row in rows]
        if not token:
            return found


def test_followers_come_leave_and_come_back_with_their_place(house):
    account = house.account()
    assert house.follow(account, openids(0, 10)) == {"followed": 10, "known": 0, "total": 10}
    assert house.follow(account, openids(5, 12)) == {"followed": 2, "known": 5, "total": 12}
    assert house.leave(account, openids(3, 5)) == {"changed": 2}
    assert house.leave(account, openids(3, 5)) == {"changed": 0}
    assert all_of(house, account) == openids(0, 3) + openids(5, 12)
    assert house.follow(account, openids(4, 5)) == {"followed": 1, "known": 0, "total": 11}
    assert all_of(house, account) == openids(0, 3) + openids(4, 12)


def test_the_same_call_again_answers_the_same_and_adds_nothing(house):
    account, cause = house.account(), fresh("again")
    first = following.bulk_follow(house.store, cause, account, openids(0, 10), "qr:1")
    again = following.bulk_follow(house.store, cause, account, openids(0, 10), "qr:1")
    assert first == ({"followed": 10, "known": 0, "total": 10}, False)
    assert again == (first[0], True)
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        following.bulk_follow(house.store, fresh("again", "another body"), account, openids(0, 9), "qr:1")


def test_accounts_do_not_see_each_other(house):
    one, other = house.account("one"), house.account("other")
    house.follow(one, openids(0, 5))
    house.follow(other, openids(0, 2))
    assert all_of(house, other) == openids(0, 2)
    tag_id = house.tag(one, "老客", openids(0, 2))
    with pytest.raises(Refusal, match="NOT_FOUND"):
        following.assign_tag(house.store, fresh(), other, tag_id, openids(0, 1))


@pytest.mark.parametrize("bits", [20, 5])
def test_many_calls_at_once_give_unique_dense_ordinals(house, monkeypatch, bits):
    monkeypatch.setattr(bitmaps, "SHARD_BITS", bits)
    account = house.account()

    def call(number: int) -> int:
        return house.follow(account, openids(number * 15, number * 15 + 30))["followed"]

    with ThreadPoolExecutor(8) as pool:
        followed = sum(pool.map(call, range(8)))
    everybody = set(openids(0, 7 * 15 + 30))
    rows = list(house.store.followers.find({"account_id": account}))
    assert followed == len(everybody)
    assert {row["openid"] for row in rows} == everybody
    assert sorted(row["ordinal"] for row in rows) == list(range(len(everybody)))
    shards = house.store.shards_of(account)
    assert sorted(n for shard in shards for n in unpack(shard["followers"])) == list(range(len(everybody)))
    assert all(len(unpack(shard["followers"])) == shard["count"] <= 2**bits for shard in shards)
    assert len(shards) == -(-len(everybody) // 2**bits)
    assert len(all_of(house, account)) == len(everybody)


def test_a_follower_has_at_most_twenty_tags_also_when_two_calls_meet(house):
    account = house.account()
    house.follow(account, openids(0, 1))
    for number in range(19):
        house.tag(account, f"标签{number}", openids(0, 1))
    last = [following.create_tag(house.store, fresh(), account, f"末{n}").document["tag_id"] for n in range(4)]

    def assign(tag_id: int) -> bool:
        try:
            following.assign_tag(house.store, fresh(), account, tag_id, openids(0, 1))
        except Refusal as refusal:
            assert refusal.violations[0].field == "openids[0]"  # noqa: PT017 - counted below
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(assign, last)) == 1
    assert len(house.store.followers.find_one({"account_id": account})["tags"]) == 20


def test_an_account_has_at_most_a_hundred_tags_also_when_many_calls_meet(house):
    account = house.account()
    for number in range(97):
        following.create_tag(house.store, fresh(), account, f"标签{number}")

    def create(number: int) -> str:
        try:
            following.create_tag(house.store, fresh(), account, f"更多{number}")
        except Refusal as refusal:
            return refusal.reason
        return "created"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == ["CONDITION_UNMET"] * 3 + ["created"] * 3
    assert [tag["place"] for tag in house.store.tags_of(account)] == list(range(100))


def test_a_tag_is_made_once_and_its_name_is_its_own(house):
    account, cause = house.account(), fresh("tag")
    first = following.create_tag(house.store, cause, account, " 老客 ")
    again = following.create_tag(house.store, cause, account, " 老客 ")
    assert again.replayed
    assert again.document["tag_id"] == first.document["tag_id"]
    with pytest.raises(Refusal, match="ALREADY_EXISTS"):
        following.create_tag(house.store, fresh(), account, "老客")
    assert following.create_tag(house.store, fresh(), house.account("other"), "老客").document["name"] == "老客"


def test_the_muted_are_unmuted_once_and_the_bitmaps_follow(house):
    account, cause = house.account(), fresh("unmute")
    house.follow(account, openids(0, 10))
    house.leave(account, openids(0, 4), mute=True)
    house.leave(account, openids(0, 1))
    first = following.bulk_unmute(house.store, cause, account, openids(0, 3) + openids(7, 12))
    again = following.bulk_unmute(house.store, cause, account, openids(0, 3) + openids(7, 12))
    assert (first, again) == (({"changed": 3}, False), ({"changed": 3}, True))
    assert house.unmute(account, openids(0, 3)) == {"changed": 0}
    assert house.unmute(house.account("other"), openids(3, 4)) == {"changed": 0}
    (shard,) = house.store.shards_of(account)
    assert (set(unpack(shard["muted"])), shard["count"]) == ({3}, 9)
    assert house.follow(account, openids(0, 1)) == {"followed": 1, "known": 0, "total": 10}
    assert queries.quota(house.store, account, 0)["muted"] == 1


def test_mutes_and_unmutes_at_once_leave_documents_and_bitmaps_in_step(house):
    account = house.account()
    house.follow(account, openids(0, 30))

    def turn(number: int) -> None:
        who = openids(number % 7, 15 + number % 11)
        if number % 2:
            house.unmute(account, who)
        else:
            house.leave(account, who, mute=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(turn, range(24)))
    rows = house.store.followers.find({"account_id": account, "muted": True})
    (shard,) = house.store.shards_of(account)
    assert set(unpack(shard["muted"])) == {row["ordinal"] for row in rows}


def test_a_tag_counts_those_who_follow_and_carry_it(house):
    account = house.account()
    house.follow(account, openids(0, 10))
    tag_id, cause = house.tag(account, "老客", openids(0, 6)), fresh("assign")
    assert following.assign_tag(house.store, cause, account, tag_id, openids(4, 8)) == ({"assigned": 2}, False)
    assert following.assign_tag(house.store, cause, account, tag_id, openids(4, 8)) == ({"assigned": 2}, True)
    house.leave(account, openids(0, 3))
    assert house.store.tag(account, tag_id)["count"] == 5
    assert queries.quota(house.store, account, tag_id)["followers"] == 5
    house.follow(account, openids(0, 1))
    assert house.store.tag(account, tag_id)["count"] == 6
    with pytest.raises(Refusal) as refused:
        following.assign_tag(house.store, fresh(), account, tag_id, [*openids(0, 1), *openids(1, 2)])
    assert refused.value.violations[0].field == "openids[1]"


@pytest.mark.parametrize(
    ("who", "field"),
    [
        ([], "openids"),
        (openids(0, 1001), "openids"),
        ([*openids(0, 1), ""], "openids[1]"),
        (["x"], "openids[0]"),
        (["x" * 28], "openids[0]"),
        (["o" + "x" * 28], "openids[0]"),
        (["o/" + "x" * 26], "openids[0]"),
        (["o" + "灯" * 27], "openids[0]"),
        (["o" + "x" * 27 + "\n"], "openids[0]"),
    ],
)
def test_a_wrong_openid_is_named(house, who, field):
    with pytest.raises(Refusal) as refused:
        following.bulk_follow(house.store, fresh(), house.account(), who, "")
    assert [found.field for found in refused.value.violations] == [field]


def test_a_source_is_short(house):
    with pytest.raises(Refusal, match="source"):
        following.bulk_follow(house.store, fresh(), house.account(), openids(0, 1), "x" * 65)
