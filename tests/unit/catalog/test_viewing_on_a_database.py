"""Batches of views on a database: counted once, whatever comes twice, late or at the same time."""

import threading
from datetime import timedelta

import pytest

from services.catalog.commands import viewing
from services.catalog.queries import viewing as queries
from services.chassis import clock
from services.chassis.errors import Refusal
from tests.unit.catalog.making import OTHER, SHOP, product


def seen(channel="menu", product=0, shelf=0, visitors=(), shop=SHOP, products=()):
    row = {"shop_id": shop, "channel": channel, "product_views": product, "shelf_views": shelf}
    return {**row, "visitors": list(visitors), "products": list(products)}


def looked(product_id, views, *visitors):
    return {"product_id": product_id, "views": views, "visitors": list(visitors)}


def record(house, *batch, key=None, body="b", ago_s=0):
    begin = clock.wall() - timedelta(seconds=ago_s)
    return viewing.record_views(house.store, house.cause(key, body), begin, list(batch))


def promised(outcome):
    (envelope,) = outcome.document["outbox"]
    return envelope


def today(house, shop=SHOP):
    return queries.days(house.store, shop, "", "")[-1]


def by_channel(day):
    return {row["channel"]: (row["visitors"], row["product_views"], row["shelf_views"]) for row in day["channels"]}


def test_batches_add_up_and_visitors_count_once_a_day_and_channel(house):
    house.deliver(promised(record(house, seen(product=2, visitors=[1, 2]), seen("ad", shelf=1, visitors=[1]))))
    house.deliver(promised(record(house, seen(product=1, visitors=[2, 3]), seen(shop=OTHER, shelf=5, visitors=[1]))))
    day = today(house)
    assert by_channel(day) == {"menu": (3, 3, 0), "ad": (1, 0, 1)}
    assert (day["visitors"], day["product_views"], day["shelf_views"]) == (3, 3, 1)
    assert by_channel(today(house, OTHER)) == {"menu": (1, 0, 5)}


def test_a_batch_told_twice_and_heard_twice_counts_once(house):
    first = record(house, seen(product=2, visitors=[1]), key="batch")
    again = record(house, seen(product=2, visitors=[1]), key="batch")
    assert again.replayed
    assert house.store.view_batches.count_documents({}) == 1
    for _ in range(3):
        house.deliver(promised(first))
    assert by_channel(today(house)) == {"menu": (1, 2, 0)}
    batch = house.store.view_batches.find_one({})
    assert batch["counted"]
    assert batch["expire_at"] > clock.wall() + timedelta(days=7), "it outlives its event in the log"


def test_the_same_key_with_another_batch_is_refused(house):
    record(house, seen(product=2), key="batch")
    with pytest.raises(Refusal) as caught:
        record(house, seen(product=3), key="batch", body="other")
    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"


def test_a_batch_that_was_not_counted_yet_does_not_run_out(house):
    record(house, seen(product=2))
    assert "expire_at" not in house.store.view_batches.find_one({})


def test_batches_of_many_gateways_at_once_are_all_counted(house):
    envelopes = [promised(record(house, seen(product=1, visitors=[number % 5]))) for number in range(12)]
    threads = [
        threading.Thread(target=lambda part=part: [house.deliver(each) for each in part])
        for part in (envelopes[:4], envelopes[4:8], envelopes[8:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for envelope in envelopes:  # those that lost against another wait for their next try; all come again
        house.deliver(envelope)
    waiting = house.database["handled"].count_documents({"state": "waiting"})
    assert by_channel(today(house))["menu"] == (5, 12 - waiting, 0)
    assert waiting == 0


def test_a_batch_counts_for_the_day_of_its_first_view_and_never_for_one_to_come(house):
    record_ahead = record(house, seen(shelf=1), ago_s=-3600)
    house.deliver(promised(record_ahead))
    late = record(house, seen(product=1), ago_s=86_400)
    house.deliver(promised(late))
    yesterday, day = queries.days(house.store, SHOP, "", "")[-2:]
    assert (by_channel(yesterday), by_channel(day)) == ({"menu": (0, 1, 0)}, {"menu": (0, 0, 1)})


def test_the_days_of_a_quarter_are_one_question(house):
    house.deliver(promised(record(house, seen(product=1))))
    house.counter.names.clear()
    now = clock.business()
    first = (now - timedelta(days=80)).date().isoformat()
    assert len(queries.days(house.store, SHOP, first, "")) >= 80
    assert house.counter.names == ["find"]


def test_each_product_has_its_own_views_and_visitors_by_day_and_channel(house):
    house.upsert(product("a"), product("b"))
    one, other = (house.product(name)["_id"] for name in "ab")
    batches = [
        [seen(product=3, visitors=[1, 2], products=[looked(one, 2, 1, 2), looked(other, 1, 1)])],
        [seen(product=1, products=[looked(one, 1)]), seen("ad", product=1, visitors=[2], products=[looked(one, 1, 2)])],
    ]
    for batch in batches:
        for _ in range(2):  # heard twice
            house.deliver(promised(record(house, *batch, key=str(batch))))

    def days(product_id, shop=SHOP):
        return queries.product_days(house.store, shop, product_id, "", "")

    day = days(one)[-1]
    assert (day["views"], day["visitors"]) == (4, 2)
    assert {row["channel"]: (row["views"], row["visitors"]) for row in day["channels"]} == {
        "menu": (3, 2),
        "ad": (1, 1),
    }
    assert [(row["views"], row["visitors"]) for row in days(other)[-2:]] == [(0, 0), (1, 1)]
    assert today(house)["product_views"] == 5
    for shop, product_id in ((OTHER, one), (SHOP, "nothing")):
        with pytest.raises(Refusal, match="NOT_FOUND"):
            days(product_id, shop)


def test_products_that_nobody_in_particular_looked_at_cost_one_write_each(house):
    house.upsert(*(product(f"p{number}") for number in range(5)))
    ids = [house.product(f"p{number}")["_id"] for number in range(5)]
    house.deliver(promised(record(house, seen(product=5, products=[looked(identity, 1) for identity in ids]))))
    assert house.database["product_view_days"].count_documents({}) == 5
    assert house.database["product_view_visitors"].count_documents({}) == 0
