"""What an import does with bad products, and what it tells of each."""

import pytest

from services.catalog.queries import imports as queries
from services.chassis.errors import Refusal
from tests.unit.catalog.imports.files import HEAD, counts, csv
from tests.unit.catalog.making import OTHER, SHOP, product


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
