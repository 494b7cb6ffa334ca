"""群发: a job's chunks go out at the chosen rate, each once, and the job is done when all were delivered."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.model import ChunkState
from services.broadcast.store import bitmaps
from services.broadcast.store.chunks import chunk_of, recipients_of
from services.chassis.decisions import Verdict

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)


def a_job(chunks: list[int], **fields) -> dict:
    shards, first = [], 0
    for number, count in enumerate(chunks):
        shards.append({"number": number, "first_chunk": first, "chunks": count})
        first += count
    whole = {"chunks": first, "chunks_done": 0, "dispatched": 0, "rate": 10, "shards": shards, "admitted_at": NOW}
    return {"_id": "job", "account_id": "a", "state": "sending", **whole, **fields}


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_ticks_send_every_chunk_once_at_the_rate_then_wait_for_the_end(chunks):
    job, sent = a_job(chunks), []
    while job["dispatched"] < job["chunks"]:
        change = model.tick(job, NOW)
        assert 0 < len(change.facts) <= job["rate"]
        assert change.due == NOW + timedelta(seconds=1)
        sent += change.facts
        job = {**job, **change.set}
    expected = [(n, shard["number"]) for shard in job["shards"] for n in _numbers(shard)]
    assert [(fact.data["chunk"], fact.data["shard"]) for fact in sent] == expected
    if job["chunks"]:
        assert model.tick(job, NOW).due == NOW + model.RECHECK
        assert model.tick(job, NOW + timedelta(hours=1)).due == NOW + timedelta(hours=1, minutes=15)
    finished = model.tick({**job, "chunks_done": job["chunks"]}, NOW)
    assert (finished.set, finished.due) == ({"state": "sent", "finished_at": NOW}, None)


def _numbers(shard):
    return range(shard["first_chunk"], shard["first_chunk"] + shard["chunks"])


def test_a_job_that_is_sent_is_left_alone():
    assert model.tick(a_job([1], state="sent"), NOW).due is None
    assert model.finish(a_job([1], state="sent", chunks_done=1), NOW) is None
    assert model.finish(a_job([2], chunks_done=1), NOW) is None


def test_a_chunk_is_delivered_once_and_waits_for_its_job():
    assert model.decide_chunk(ChunkState(None, delivered=False), None).verdict is Verdict.EARLY
    assert model.decide_chunk(ChunkState(a_job([1]), delivered=False), None).verdict is Verdict.APPLY
    assert model.decide_chunk(ChunkState(a_job([1]), delivered=True), None).verdict is Verdict.DONE


@given(st.sets(st.integers(0, 5000)), st.integers(1, 50), st.integers(0, 7))
def test_chunks_part_the_recipients_and_each_ordinal_is_found_in_its_chunk(ordinals, size, first):
    recipients = BitMap(ordinals)
    part = {"recipients": bitmaps.pack(recipients), "first_chunk": first}
    chunks = range(first, first + -(-len(recipients) // size))
    parts = {number: recipients_of(part, number, size) for number in chunks}
    assert sum(len(found) for found in parts.values()) == len(recipients)
    assert BitMap().union(*parts.values()) == recipients
    assert all(0 < len(found) <= size for found in parts.values())
    assert all(one in parts[chunk_of(part, recipients, one, size)] for one in ordinals)


@given(st.sets(st.integers(0, 300)), st.integers(0, 301))
def test_a_page_begins_at_its_ordinal(ordinals, start):
    assert set(bitmaps.from_ordinal(BitMap(ordinals), start)) == {one for one in ordinals if one >= start}


def test_ordinals_fall_into_shards(monkeypatch):
    monkeypatch.setattr(bitmaps, "SHARD_BITS", 3)
    assert {number: set(found) for number, found in bitmaps.by_shard([17, 0, 7, 8]).items()} == {
        0: {0, 7},
        1: {8},
        2: {17},
    }
    assert [bitmaps.shard_of(bitmaps.first_of(number)) for number in range(4)] == [0, 1, 2, 3]


PAID = {
    "lines": [{"name": "连衣裙"}, {"name": "袜子"}],
    "amount": 12_345,
    "currency": "CNY",
    "paid_at": NOW,
    "openid": "o",
}
SHIPPED = {"delivery_company": "顺丰", "delivery_track_no": "SF1", "shipped_at": NOW, "openid": "o"}


@pytest.mark.parametrize(
    ("event_type", "data", "kind", "text"),
    [
        (model.ORDER_PAID, PAID, "paid", "订单支付成功:连衣裙、袜子,合计 123.45 CNY"),
        (model.ORDER_SHIPPED, SHIPPED, "shipped", "订单已发货:顺丰 SF1"),
        (
            model.ORDER_SHIPPED,
            {**SHIPPED, "delivery_company": "", "delivery_track_no": ""},
            "shipped",
            "订单已发货:无需物流",
        ),
    ],
)
def test_an_order_tells_its_buyer(event_type, data, kind, text):
    assert model.order_message(event_type, data) == (kind, text)


def test_a_message_is_written_once_and_only_to_whom_the_account_knows():
    assert model.decide_message(False, SimpleNamespace(data=PAID)).verdict is Verdict.APPLY
    assert model.decide_message(True, SimpleNamespace(data=PAID)).verdict is Verdict.DONE
    assert model.decide_message(False, SimpleNamespace(data={**PAID, "openid": ""})).verdict is Verdict.STALE
