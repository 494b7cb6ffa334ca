"""Import jobs and bulk calls: what is written, what is not, and what becomes of a job that is killed."""

import threading

import pytest

from services.catalog.commands.imports import cancel_import
from services.catalog.commands.products import put_on_sale, take_off_sale
from services.catalog.commands.shelves import create_group
from services.catalog.jobs.imports import run
from services.catalog.model.products import State
from services.catalog.queries import imports as queries
from services.catalog.queries import products as product_queries
from services.catalog.store import chunks
from services.chassis.errors import Refusal
from services.chassis.jobs import LeaseLost
from services.chassis.once import Result
from services.chassis.reacting import Job
from tests.unit.catalog.making import OTHER, SHOP, product, sku

HEAD = "Handle,Title,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price\n"


def csv(count, price="9.90", stock=5, prefix="p", bad=()):
    """``count`` products with two variants each; those whose numbers are in ``bad`` have no price."""
    rows = []
    for n in range(count):
        shown = "" if n in bad else price
        rows.append(f"{prefix}{n},商品{n},true,尺码,M,,{stock},{shown}\n{prefix}{n},,,,L,,{stock},{price}\n")
    return HEAD + "".join(rows)


def counts(job):
    return tuple(job[name] for name in ("total", "created", "updated", "unchanged", "failed"))


def test_an_import_creates_then_finds_everything_unchanged(house):
    job = house.do_import(csv(45))
    assert (job["state"], job["rows"], counts(job)) == ("completed", 90, (45, 45, 0, 0, 0))
    assert house.store.products.count_documents({"shop_id": SHOP, "state": "listed"}) == 45
    assert house.stock("p7") == [(5, 0), (5, 0)]
    again = house.do_import(csv(45))
    assert (again["state"], counts(again)) == ("completed", (45, 0, 0, 45, 0))
    assert house.sound()


def test_importing_again_never_brings_sold_stock_back(house):
    house.do_import(csv(2))
    house.reserve(house.line(3, "p1"))
    house.paid(house.line(3, "p1"))
    assert house.stock("p1") == [(2, 0), (5, 0)]
    assert counts(house.do_import(csv(2))) == (2, 0, 0, 2, 0)
    assert house.stock("p1") == [(2, 0), (5, 0)]
    assert counts(house.do_import(csv(2, price="12.00"))) == (2, 0, 2, 0, 0)
    assert house.stock("p1") == [(2, 0), (5, 0)], "the price changed, the quantity was not said anew"
    house.do_import(csv(2, price="12.00", stock=8))
    assert house.stock("p1") == [(8, 0), (8, 0)]
    assert house.sound()


def test_a_draft_without_quantities_does_not_forget_those_said_before(house):
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    house.reserve(house.line(3))
    house.paid(house.line(3))
    house.upsert(product(skus=[sku("红", price=1200, quantity=None), sku("蓝", quantity=None)]))
    assert house.stock() == [(7, 0), (10, 0)]
    house.upsert(product(skus=[sku("红"), sku("蓝")]))
    assert house.stock() == [(7, 0), (10, 0)], "10 was said before: what was sold does not come back"
    house.upsert(product(skus=[sku("红", quantity=11), sku("蓝")]))
    assert house.stock() == [(11, 0), (10, 0)]
    assert house.sound()


def test_a_file_without_stock_cells_does_not_forget_those_said_before(house):
    house.do_import(csv(1))
    house.reserve(house.line(3, "p0"))
    house.paid(house.line(3, "p0"))
    house.do_import(csv(1, price="12.00", stock=""))
    house.do_import(csv(1))
    assert house.stock("p0") == [(2, 0), (5, 0)]
    assert house.sound()


def test_a_page_says_both_ends_of_its_range_and_filters_by_an_index(house):
    house.upsert(*(product(f"p{n}", listed=n % 2 == 0) for n in range(5)))
    wanted = {"state": "listed", "category_id": 0}
    first, edge = product_queries.products(house.store, SHOP, wanted, None, 2)
    rest, end = product_queries.products(house.store, SHOP, wanted, edge, 2)
    listed = [house.product(name)["_id"] for name in ("p0", "p2", "p4")]
    assert [row["product_id"] for row in (*first, *rest)] == sorted(listed, reverse=True)
    assert end is None
    category = house.product()["listing"]["category_id"]
    assert len(product_queries.products(house.store, SHOP, {"state": "", "category_id": category}, None, 9)[0]) == 5
    keys = [tuple(index["key"]) for index in house.store.products.list_indexes()]
    assert {("shop_id", "state", "position"), ("shop_id", "listing.category_id", "position")} <= set(keys)
    assert house.counter.bounds(lambda: house.store.page("products", SHOP, None, 2)) == {"$gt", "$lt"}
    assert house.counter.bounds(lambda: house.store.page("products", SHOP, edge, 2)) == {"$gt", "$lt"}


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "\x7f", "\u0085x", ""])
def test_a_group_has_a_name_of_visible_characters(house, name):
    with pytest.raises(Refusal) as caught:
        create_group(house.store, house.cause(), SHOP, name, [])
    assert caught.value.violations[0].field == "name"
    assert house.store.groups.count_documents({}) == 0


def test_a_file_cannot_take_what_buyers_hold(house):
    house.do_import(csv(1))
    house.reserve(house.line(4, "p0"))
    house.do_import(csv(1, stock=1))
    assert house.stock("p0") == [(4, 4), (1, 0)]
    assert house.sound()


def test_an_old_version_is_kept_when_a_product_changes_that_was_on_sale(house):
    house.do_import(csv(1))
    house.do_import(csv(1, price="12.00"))
    row = house.product("p0")
    assert (row["listing_version"], row["listing"]["skus"][0]["price"]) == (2, 1200)
    old = house.store.versions.find_one({"_id": f"{row['_id']}:1"})
    assert old["listing"]["skus"][0]["price"] == 990
    house.upsert(product("draft", listed=False))
    house.upsert(product("draft", listed=False, name="另一个"))
    assert house.product("draft")["listing_version"] == 1, "nobody saw the draft"


def test_variants_come_and_go_and_their_stock_stays_true(house):
    house.upsert(product())
    red = house.line()["sku_id"]
    house.reserve(house.line(2))
    house.upsert(product(skus=[sku("绿", quantity=1)]))
    assert house.stock() == [(1, 0)]
    house.closed(house.line(2))
    house.upsert(product(skus=[sku("红", quantity=4), sku("绿", quantity=1)]))
    assert house.line()["sku_id"] == red
    assert house.stock() == [(4, 0), (1, 0)]
    assert house.sound()


def test_merchant_skus_are_unique_in_a_shop_and_may_change_places(house):
    first = product("a", skus=[sku("红", merchant_sku="X"), sku("蓝", merchant_sku="Y")])
    second = product("b", skus=[sku("红", merchant_sku="X")])
    third = product("c", skus=[sku("红", merchant_sku="Z")])
    assert [row["outcome"] for row in house.upsert(first, second, third).document["results"]] == [
        "created",
        "failed",
        "created",
    ]
    assert house.upsert(second).document["results"][0]["problems"][0]["field"] == "skus[0].merchant_sku"
    assert house.upsert(second, shop=OTHER).document["created"] == 1
    swapped = product("a", skus=[sku("红", merchant_sku="Y"), sku("蓝", merchant_sku="X")])
    assert house.upsert(swapped).document["updated"] == 1
    assert house.upsert(product("a", skus=[sku("红", merchant_sku="Y")])).document["updated"] == 1
    assert house.upsert(second).document["created"] == 1, "X is free again"


def test_reject_failed_applies_the_good_ones_and_tells_row_field_and_reason(house):
    job = house.do_import(csv(5, bad=(1, 3)))
    assert (job["state"], counts(job)) == ("completed", (5, 3, 0, 0, 2))
    found, more = queries.results(house.store, SHOP, job["import_id"], "failed", None, 10)
    assert [(row["row"], row["external_id"], row["field"], row["reason"]) for row in found] == [
        (4, "p1", "Variant Price", "REQUIRED"),
        (8, "p3", "Variant Price", "REQUIRED"),
    ]
    assert more is None


def test_reject_all_applies_nothing_when_one_is_bad(house):
    job = house.do_import(csv(30, bad=(25,)), policy="reject_all")
    assert (job["state"], job["reason"], counts(job)) == ("failed", "PRODUCTS_REJECTED", (30, 0, 0, 0, 1))
    assert house.store.products.count_documents({}) == 0
    found, _ = queries.results(house.store, SHOP, job["import_id"], "", None, 1000)
    assert {row["outcome"] for row in found} == {"failed", "skipped"}
    assert counts(house.do_import(csv(30), policy="reject_all")) == (30, 30, 0, 0, 0)


def test_reject_all_sees_two_products_of_one_file_that_want_one_merchant_sku(house):
    rows = "".join(f"p{n},P,true,Title,Default Title,{'SAME' if n in (0, 21) else n},1,5\n" for n in range(22))
    job = house.do_import(HEAD + rows, policy="reject_all")
    assert (job["state"], job["failed"]) == ("failed", 1)
    assert house.store.products.count_documents({}) == 0


def test_stop_after_n_stops_at_the_nth_failure(house):
    job = house.do_import(csv(40, bad=(5, 25, 30)), policy="stop_after_n", max_errors=2)
    assert (job["state"], job["reason"], job["failed"], job["created"]) == ("failed", "TOO_MANY_ERRORS", 2, 24)
    assert house.product("p24") is not None
    assert house.product("p26") is None
    assert job["end_time"] is not None


def test_a_dry_run_says_what_would_happen_and_writes_nothing(house):
    house.do_import(csv(3))
    before = list(house.store.products.find({})), list(house.store.stock.find({}))
    job = house.do_import(csv(5, price="12.00", bad=(4,)), dry_run=True)
    assert (job["state"], counts(job)) == ("ready", (5, 1, 3, 0, 1))
    assert (list(house.store.products.find({})), list(house.store.stock.find({}))) == before
    found, _ = queries.results(house.store, SHOP, job["import_id"], "created", None, 10)
    assert [(row["external_id"], row["product_id"]) for row in found] == [("p3", "")]


def test_results_come_in_pages_in_file_order(house):
    job = house.do_import(csv(45))
    after, seen = None, []
    while True:
        found, after = queries.results(house.store, SHOP, job["import_id"], "", after, 13)
        seen += [row["external_id"] for row in found]
        if after is None:
            break
    assert seen == [f"p{n}" for n in range(45)]
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.results(house.store, OTHER, job["import_id"], "", None, 10)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x00\x01", "BINARY_FILE"), (b"a,b\n1,2\n", "COLUMNS_MISSING"), (HEAD.encode(), "NO_PRODUCTS")],
)
def test_what_is_no_product_file_fails_the_job_and_says_why(house, content, reason):
    job = house.do_import(content)
    assert (job["state"], job["reason"]) == ("failed", reason)
    assert job["message"]
    assert "next_at" not in house.store.imports.find_one({"_id": job["import_id"]})


def test_a_file_that_is_gone_fails_the_job(house):
    identity = house.queue(csv(2)).document["_id"]
    house.store.import_files.delete_many({})
    house.work(identity)
    job = queries.job(house.store, SHOP, identity)
    assert (job["state"], job["reason"]) == ("failed", "FILE_GONE")


def test_a_block_holds_a_text_or_an_image(house):
    made = house.upsert(product(detail=[{"text": "a", "image": "https://x/1.jpg"}, {"text": "", "image": ""}]))
    fields = [problem["field"] for problem in made.document["results"][0]["problems"]]
    assert fields == ["detail[1]", "detail[0]"]


def test_the_same_key_uploads_once(house):
    first = house.queue(csv(2), key="k")
    again = house.queue(csv(2), key="k")
    assert (again.replayed, again.document["_id"]) == (True, first.document["_id"])
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        house.queue(csv(3), key="k")
    with pytest.raises(Refusal, match="max_errors"):
        house.queue(csv(2), policy="stop_after_n")
    with pytest.raises(Refusal, match="format"):
        house.queue(csv(2), name="xml")
    with pytest.raises(Refusal, match="file"):
        house.queue("")


class Killed(BaseException):
    """The process is gone between two lines."""


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


@pytest.mark.parametrize("after", [1, 2])
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
    identity = house.queue(csv(90)).document["_id"]
    seen = []
    while house.work(identity, lambda: True) == "given_up":
        seen.append(queries.job(house.store, SHOP, identity)["created"])
        assert len(seen) < 9
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
    house.do_import(csv(20))
    house.counter.names.clear()
    house.do_import(csv(20, prefix="q"))
    one = len(house.counter.names)
    house.counter.names.clear()
    house.do_import(csv(40, prefix="r"))
    assert len(house.counter.names) - one <= 8, house.counter.names


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
    tea = product("tea", listed=False, category_id=538070001)
    house.upsert(tea)
    with pytest.raises(Refusal, match="CONDITION_UNMET") as caught:
        put_on_sale(house.store, house.cause(), SHOP, house.product("tea")["_id"])
    assert len(caught.value.violations) == 2
    assert house.upsert({**tea, "listed": True}).document["results"][0]["problems"][0]["reason"] == "PROPERTY_REQUIRED"
