"""Runs of import jobs: killed, given up, cancelled; bulk calls; what is told and counted once."""

import json
import threading

import pytest

from services.catalog.commands.imports import cancel_import
from services.catalog.commands.products import put_on_sale, take_off_sale
from services.catalog.jobs.imports import run
from services.catalog.model.products import State
from services.catalog.queries import imports as queries
from services.catalog.store import chunks
from services.catalog.store.trees import REVISION
from services.chassis.errors import Refusal
from services.chassis.jobs import LeaseLost
from services.chassis.once import Result
from services.chassis.reacting import Job
from tests.unit.catalog.imports.files import Killed, counts, csv
from tests.unit.catalog.making import OTHER, SHOP, product
from tests.unit.catalog.test_reading_workbooks import workbook


def killing(monkeypatch, after):
    """The process dies before or after its ``after``-th transaction."""
    done = {"n": 0}
    real = chunks.Transaction.commit

    def commit(self, **how):
        done["n"] += 1
        if done["n"] == after:
            real(self, **how)
            raise Killed
        if done["n"] == after + 1:
            raise Killed
        real(self, **how)

    monkeypatch.setattr(chunks.Transaction, "commit", commit)


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("policy", ["reject_failed", "reject_all"])
def test_an_import_killed_between_commit_and_answer_goes_on_without_gap_or_double(house, monkeypatch, after, policy):
    queued = house.queue(csv(65), policy=policy)
    identity = queued.document["_id"]
    with monkeypatch.context() as patched:
        killing(patched, after)
        with pytest.raises(Killed):
            house.work(identity)
    house.store.imports.update_one({"_id": identity}, {"$set": {"claimed_until": 0}})
    house.work(identity)
    job = queries.job(house.store, SHOP, identity)
    assert (job["state"], counts(job)) == ("completed", (65, 65, 0, 0, 0))
    assert house.store.products.count_documents({}) == 65
    found, _ = queries.results(house.store, SHOP, identity, "", None, 1000)
    assert [row["external_id"] for row in found] == [f"p{n}" for n in range(65)]
    assert house.sound()


def test_a_run_gives_way_to_others_but_never_without_getting_further(house):
    queued = house.queue(csv(90)).document
    identity, seen = queued["_id"], []
    while house.work(identity, lambda: True) == "given_up":
        seen.append(queries.job(house.store, SHOP, identity)["created"])
        assert len(seen) < 9
        house.store.import_files.delete_many({"_id": {"$regex": f"^{queued['file']['id']}"}})  # it is read once
    assert seen == [20, 40, 60, 80, 90][: len(seen)]
    assert len(seen) >= 4
    assert counts(queries.job(house.store, SHOP, identity)) == (90, 90, 0, 0, 0)


def test_a_cancelled_import_stops_and_what_was_applied_stays(house):
    identity = house.queue(csv(90)).document["_id"]

    def give_up():
        return house.store.products.count_documents({}) > 0

    house.work(identity, give_up)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        cancel_import(house.store, house.cause(), OTHER, identity)
    assert cancel_import(house.store, house.cause("k"), SHOP, identity).document["state"] == "cancelled"
    assert cancel_import(house.store, house.cause("k"), SHOP, identity).replayed
    row = house.store.imports.find_one({"_id": identity})
    assert "next_at" not in row
    assert house.store.products.count_documents({}) == row["created"] > 0
    done = house.do_import(csv(1))
    with pytest.raises(Refusal, match="WRONG_STATE"):
        cancel_import(house.store, house.cause(), SHOP, done["import_id"])


def test_bulk_upsert_replays_and_keeps_its_policies(house):
    good, bad = product("a"), product("b", skus=[])
    first = house.upsert(good, bad, key="k")
    again = house.upsert(good, bad, key="k")
    assert again.replayed
    assert again.document["results"] == first.document["results"]
    assert [row["outcome"] for row in first.document["results"]] == ["created", "failed"]
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.upsert(good, key="k", body="other")
    rejected = house.upsert(product("c"), bad, policy="reject_all")
    assert [row["outcome"] for row in rejected.document["results"]] == ["skipped", "failed"]
    assert house.product("c") is None
    stopped = house.upsert(bad, product("d"), policy="stop_after_n", max_errors=1)
    assert [row["outcome"] for row in stopped.document["results"]] == ["failed", "skipped"]
    twice = house.upsert(product("e"), product("e"))
    assert [row["outcome"] for row in twice.document["results"]] == ["created", "failed"]
    assert house.upsert(product("e")).document["unchanged"] == 1
    with pytest.raises(Refusal, match="items"):
        house.upsert(*[product(f"x{n}") for n in range(201)])
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        house.upsert(good, shop="")
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        house.upsert(good, shop="shop_9")


def test_two_bulk_calls_for_one_product_at_once_make_one(house):
    outcomes = []

    def call(n):
        outcomes.append(house.upsert(product("same", name=f"n{n}")).document["results"][0]["outcome"])

    threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["created"] + ["updated"] * 5
    assert house.store.products.count_documents({}) == 1
    assert house.sound()


def test_a_chunk_costs_a_handful_of_commands_whatever_its_size(house):
    def cost(text):
        """The commands of an import, without those that come by time and not by chunk."""
        house.counter.names.clear()
        house.counter.filters.clear()
        house.do_import(text)
        return [name for name, about in zip(*told(), strict=True) if about.get("_id") != REVISION]

    def told():
        return house.counter.names, house.counter.filters

    house.do_import(csv(20))
    one, two = cost(csv(20, prefix="q")), cost(csv(40, prefix="r"))
    assert len(two) - len(one) <= 8, two


def test_chunks_and_ends_are_told_and_counted_once(house):
    job = house.do_import(csv(25))
    told = house.told()
    assert [(event["data"]["created"], len(event["data"]["product_ids"])) for event in told] == [(20, 20), (5, 5)]
    for event in told * 2:
        house.deliver(event)
    (ended,) = [event for event in house.told("imports") if event["type"].endswith("completed.v1")]
    assert house.deliver(ended) is Result.APPLIED
    assert house.deliver(ended) is Result.DONE
    shop = house.store.shop(SHOP)
    assert list(shop["categories"].values()) == [25]
    assert shop["last_import"]["import_id"] == job["import_id"]


def test_a_product_that_changes_its_category_is_counted_there(house):
    house.upsert(product())
    house.upsert(product(category_id=538010001))
    for event in house.told():
        house.deliver(event)
    assert house.store.shop(SHOP)["categories"] == {"538000001": 0, "538010001": 1}


def test_lost_leases_write_nothing_more(house):
    identity = house.queue(csv(30)).document["_id"]
    job_row = house.store.imports.find_one({"_id": identity})
    job = Job("imports", "import", lambda _run: None)
    old = house.jobs.claim(job, job_row, lambda: False)
    house.store.imports.update_one({"_id": identity}, {"$set": {"claim": "another"}})
    run(old)
    assert house.store.products.count_documents({}) == 0
    old._until = 0
    with pytest.raises(LeaseLost):
        old.keep()


def test_states_follow_the_file_and_the_merchant(house):
    house.upsert(product(listed=False))
    identity = house.product()["_id"]
    assert house.product()["state"] == State.DRAFT
    with pytest.raises(Refusal, match="WRONG_STATE"):
        take_off_sale(house.store, house.cause(), SHOP, identity)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        put_on_sale(house.store, house.cause(), OTHER, identity)
    assert put_on_sale(house.store, house.cause(), SHOP, identity).document["state"] == State.LISTED
    assert take_off_sale(house.store, house.cause(), SHOP, identity).document["state"] == State.DELISTED
    house.upsert(product(listed=True))
    assert house.product()["state"] == State.LISTED


def test_the_same_products_as_csv_xlsx_and_lines_are_the_same(house):
    table = [
        ["external_id", "title", "axis1", "value1", "price", "stock", "merchant_sku"],
        *([f"p{n}", f"商品{n}", "尺码", "M", "9.90", "5", f"c{n}"] for n in range(45)),
    ]
    lines = [
        {
            "external_id": row[0],
            "name": row[1],
            "axes": ["尺码"],
            "skus": [{"values": ["M"], "price": 990, "quantity": 5, "merchant_sku": row[6]}],
        }
        for row in table[1:]
    ]
    text = "\n".join(",".join(row) for row in table)
    assert counts(house.do_import(text, name="jishi-csv")) == (45, 45, 0, 0, 0)
    assert counts(house.do_import(workbook(*table), name="xlsx", file_name="p.xlsx")) == (45, 0, 0, 45, 0)
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    assert counts(house.do_import(content, name="jsonl", file_name="p.jsonl")) == (45, 0, 0, 45, 0)
    broken = house.do_import(workbook(*table)[:-900], name="xlsx", file_name="p.xlsx")
    assert (broken["state"], broken["reason"]) == ("failed", "BROKEN_WORKBOOK")
    assert house.sound()
