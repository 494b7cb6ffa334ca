"""Red packets: split to the fen when made, one part a person whoever comes how fast, the rest back after a day."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis import commit
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.payments.commands.packets import claim, give_packet, send_packet
from services.payments.model import wallet
from services.payments.model.packets import Limits, split
from services.payments.model.payable import Success
from services.payments.queries import packets as queries
from services.payments.queries.wallet import movements
from services.payments.store import wallets
from tests.examples import examples
from tests.unit.payments.ledger_house import SHOP

LIMITS = Limits(100, 1, 20_000, timedelta(days=1))


def least(_most: int) -> int:
    """Luck that is always the smallest."""
    return 0


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data(), count=st.integers(1, 100), kind=st.sampled_from(["normal", "lucky"]))
def test_parts_are_the_total_and_each_is_within_its_limits(data, count, kind):
    each = data.draw(st.integers(1, 20_000))
    total = each * count if kind == "normal" else data.draw(st.integers(count, count * 20_000))
    draw = data.draw(st.sampled_from([least, lambda n: n - 1, lambda n: n // 2, lambda n: 7 % n]))
    parts = split(kind, total, count, LIMITS, draw)
    assert (len(parts), sum(parts)) == (count, total)
    assert all(1 <= part <= 20_000 for part in parts)
    assert kind == "lucky" or len(set(parts)) == 1


@pytest.mark.parametrize(
    ("kind", "total", "count", "field"),
    [("fair", 10, 2, "kind"), ("normal", 10, 0, "count"), ("lucky", 10, 101, "count"), ("lucky", 1, 2, "total"),
     ("lucky", 40_001, 2, "total"), ("normal", 11, 2, "total")],
)  # fmt: skip
def test_what_cannot_be_split_names_its_field(kind, total, count, field):
    with pytest.raises(Refusal) as refused:
        split(kind, total, count, LIMITS, least)
    assert refused.value.violations[0].field == field


def send(books, total=1000, count=10, key="p", kind="lucky") -> str:
    asked = {"kind": kind, "total": total, "count": count, "greeting": "恭喜发财"}
    return send_packet(books.store, Cause(f"cmd:{key}", "h"), SHOP, asked)[0]["_id"]


def take(books, packet_id, who, key=""):
    return claim(books.store, Cause(f"cmd:claim:{who}:{key}", "h"), packet_id, who)


def test_thirty_people_at_once_get_ten_parts_and_nobody_two(books):
    books.earn(1500)
    packet_id = send(books)
    assert send(books) == packet_id, "the same key is the same packet"
    assert books.purse() == {"available": 500}

    def person(number):
        try:
            return take(books, packet_id, f"user_{number % 15}")[0]["amount"]
        except Refusal as refusal:
            return 0 if refusal.reason == "WRONG_STATE" else -1

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(person, range(30)))
    assert min(got) >= 0
    packet = books.store.packets.find_one({"_id": packet_id})
    assert (packet["state"], packet["left"], len(packet["claims"])) == ("spent", 0, 10)
    assert len({part["buyer_id"] for part in packet["claims"]}) == 10
    assert sum(part["amount"] for part in packet["claims"]) == 1000
    assert sum(row["balance"] for row in books.store.wallets.find({})) == 1000
    assert "due_at" not in packet
    winner = packet["claims"][0]
    again = take(books, packet_id, winner["buyer_id"], "again")
    assert (again[0]["amount"], again[1]) == (winner["amount"], True)
    assert books.purse() == {"available": 500}


def test_what_nobody_claimed_goes_back_after_a_day_and_no_later_claim_takes_it(books):
    books.earn(900)
    packet_id = send(books, 900, 3, kind="normal")
    assert take(books, packet_id, "user_1")[0]["amount"] == 300
    books.pass_time(hours=23, minutes=59)
    assert books.fire("packets") == 0
    books.pass_time(minutes=2)
    with pytest.raises(Refusal, match="time to claim"):
        take(books, packet_id, "user_2")
    assert books.fire("packets") == 1
    assert books.purse() == {"available": 600}
    shown = queries.packet(books.store, packet_id, SHOP, None)
    assert (shown["state"], shown["returned"], shown["claims"][0]["amount"]) == ("expired", 600, 300)
    assert "user_1" not in str(shown), "a shop is not told who claimed"
    assert queries.packet(books.store, packet_id, None, None)["claims"][0]["buyer_id"] == "user_1"
    mine = queries.packet(books.store, packet_id, None, "user_1")["claims"][0]
    assert (mine["mine"], "buyer_id" in mine) == (True, False)
    assert take(books, packet_id, "user_1", "later")[0]["amount"] == 300, "what one has one is told"
    assert [row["balance"] for row in books.store.wallets.find({})] == [300]


def test_a_wallet_that_began_with_a_packet_is_topped_up_and_spent_like_any_other(books):
    books.earn(300)
    take(books, send(books, 300, 1), "user_1")
    row = wallet.topup("t_1", "user_1", 700, "native", 10_000)
    commit.create(books.store.topups, row, Cause("cmd:t", "h"), natural=True)
    for _ in range(2):
        wallets.heard(books.store, Success("t_1", "4" * 28, 700, "CNY"))
    assert wallets.balance(books.store, "user_1") == 1000
    moved, _ = movements(books.store, "user_1", None, 10)
    assert sorted((one["kind"], one["amount"]) for one in moved) == [("claim", 300), ("topup", 700)]
    assert books.purse() == {}


def test_a_buyer_gives_out_of_the_wallet_and_gets_back_what_nobody_claimed(books):
    books.earn(500)
    take(books, send(books, 500, 1), "user_1")
    asked = {"kind": "normal", "total": 400, "count": 2, "greeting": ""}

    def give(key):
        return give_packet(books.store, Cause(f"cmd:give:{key}", "h"), "user_1", asked)

    def once(number):
        try:
            return give(f"at once {number}")[0]["_id"]
        except Refusal as refusal:
            return "" if refusal.reason == "INSUFFICIENT_FUNDS" else refusal.reason

    with ThreadPoolExecutor(4) as pool:
        given = [one for one in pool.map(once, range(4)) if one]
    assert len(given) == 1, "the wallet holds one of them"
    assert wallets.balance(books.store, "user_1") == 100
    take(books, given[0], "user_2")
    assert queries.packet(books.store, given[0], None, "user_1")["given_by_me"] is True
    books.pass_time(days=1, seconds=1)
    assert books.fire("packets") == 1
    assert wallets.balance(books.store, "user_1") == 300
    kinds = [one["kind"] for one in movements(books.store, "user_1", None, 10)[0]]
    assert sorted(kinds) == ["claim", "packet", "packet_back"]
    assert books.purse() == {}


def test_a_packet_takes_only_what_is_there_and_is_seen_by_its_own_shop(books):
    books.earn(100)
    with pytest.raises(Refusal, match="100 fen"):
        send(books, 101, 1)
    packet_id = send(books, 100, 1, "q")
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.packet(books.store, packet_id, "shop_of_others", None)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        take(books, "pkt_of_nobody", "user_1")
