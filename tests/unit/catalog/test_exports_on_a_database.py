"""Export jobs: importing an export again finds every product unchanged, in every format."""

import contextlib
from pathlib import Path

import pytest

from services.catalog.commands.exports import create_export
from services.catalog.commands.products import take_off_sale
from services.catalog.jobs import JOBS
from services.catalog.jobs import exports as exporting
from services.catalog.jobs.importing.reading import open_file
from services.catalog.queries import exports as queries
from services.chassis.commit import Transaction
from services.chassis.errors import Refusal
from services.chassis.jobs import LeaseLost
from tests.unit.catalog.imports.files import Killed, counts, csv
from tests.unit.catalog.making import OTHER, SHOP, product, sku

SAMPLE = Path("services/catalog/samples/products.zh.csv")
FORMATS = [("jishi-csv", "p.csv"), ("jsonl", "p.jsonl"), ("xlsx", "p.xlsx")]


def test_an_export_of_the_sample_is_unchanged_when_it_is_imported_again(house):
    house.do_import(SAMPLE.read_bytes(), name="jishi-csv")
    house.upsert(product("hand", skus=[sku("红", quantity=None), sku("蓝", quantity=0)], listed=None))
    take_off_sale(house.store, house.cause(), SHOP, house.store.products.find_one({"state": "listed"})["_id"])
    before = {
        row["_id"]: (row["listing"], row["state"], row["source"]["digest"]) for row in house.store.products.find({})
    }
    stock = list(house.store.stock.find({}).sort("_id", 1))
    for name, file_name in FORMATS:
        content, job = house.export(name)
        assert (job["state"], job["products"], job["size"]) == ("completed", 363, len(content))
        again = house.do_import(content, name=name, file_name=file_name)
        assert (again["state"], counts(again)) == ("completed", (363, 0, 0, 363, 0)), name
    assert before == {
        row["_id"]: (row["listing"], row["state"], before[row["_id"]][2]) for row in house.store.products.find({})
    }
    assert stock == list(house.store.stock.find({}).sort("_id", 1))
    assert house.sound()


def test_an_export_makes_the_same_products_in_another_shop(house):
    house.do_import(csv(25))
    for number, (name, file_name) in enumerate(FORMATS):
        shop = f"copy_{number}"
        house.open_shop(shop)
        content, _ = house.export(name)
        assert counts(house.do_import(content, name=name, file_name=file_name, shop=shop)) == (25, 25, 0, 0, 0)
        mine, theirs = house.product("p7"), house.product("p7", shop)
        drawn = {"sku_id": ""}
        for row in (mine, theirs):
            row["listing"]["skus"] = [{**found, **drawn} for found in row["listing"]["skus"]]
        assert (mine["listing"], mine["state"]) == (theirs["listing"], theirs["state"])


def test_stock_sold_after_an_export_does_not_come_back_with_the_second_import_of_it(house):
    house.do_import(csv(1))
    house.reserve(house.line(3, "p0"))
    house.paid(house.line(3, "p0"))
    content, _ = house.export("jishi-csv")
    assert counts(house.do_import(content, name="jishi-csv")) == (1, 0, 0, 1, 0)
    house.reserve(house.line(1, "p0"), checkout="c2")
    house.paid(house.line(1, "p0"), checkout="c2", order="o2")
    assert counts(house.do_import(content, name="jishi-csv")) == (1, 0, 0, 1, 0)
    assert house.stock("p0") == [(1, 0), (5, 0)]
    assert house.sound()


def test_importing_an_export_does_not_stand_in_the_way_of_an_undo(house):
    house.do_import(csv(2))
    job = house.do_import(csv(2, price="12.00"))
    house.restock((house.line(1, "p0")["sku_id"], 5, "r"))
    content, _ = house.export("jsonl")
    assert counts(house.do_import(content, name="jsonl", file_name="p.jsonl")) == (2, 0, 0, 2, 0)
    assert counts(house.undo(job["import_id"])) == (2, 0, 2, 0, 0)
    assert house.stock("p0") == [(10, 0), (5, 0)]


def test_only_products_in_one_state(house):
    house.upsert(*(product(f"p{n}", listed=n % 2 == 0) for n in range(5)))
    content, job = house.export("jsonl", "listed")
    assert (job["products"], content.count(b"\n")) == (3, 3)
    empty, job = house.export("jishi-csv", "delisted")
    assert (job["products"], job["rows"], empty.decode("utf-8-sig").count("\n")) == (0, 0, 1)
    with pytest.raises(Refusal, match="format"):
        create_export(house.store, house.cause(), SHOP, "shopify-csv", "")
    with pytest.raises(Refusal, match="product_state"):
        create_export(house.store, house.cause(), SHOP, "jsonl", "deleted")


def test_an_export_is_its_shops_and_its_file_is_there_when_it_is_done(house):
    house.do_import(csv(2))
    _, done = house.export("jsonl")
    first = create_export(house.store, house.cause("k"), SHOP, "jsonl", "")
    again = create_export(house.store, house.cause("k"), SHOP, "jsonl", "")
    assert (again.replayed, again.document["_id"]) == (True, first.document["_id"])
    identity = first.document["_id"]
    with pytest.raises(Refusal, match="WRONG_STATE"):
        queries.piece(house.store, SHOP, identity, 0)
    for ask in (queries.job, lambda *who: queries.piece(*who, 0)):
        with pytest.raises(Refusal, match="NOT_FOUND"):
            ask(house.store, OTHER, identity)
    assert queries.jobs(house.store, OTHER, None, 10) == ([], None)
    listed, edge = queries.jobs(house.store, SHOP, None, 1)
    rest, end = queries.jobs(house.store, SHOP, edge, 1)
    assert {found["export_id"] for found in (*listed, *rest)} == {identity, done["export_id"]}
    assert end is None
    house.store.import_files.delete_many({})
    with pytest.raises(Refusal, match="not kept"):
        queries.piece(house.store, SHOP, done["export_id"], 0)


def test_one_export_of_a_shop_at_a_time_and_a_lost_lease_ends_nothing(house):
    house.do_import(csv(2))
    job = next(found for found in JOBS if found.collection == "exports")
    first, second = (create_export(house.store, house.cause(), SHOP, "jsonl", "").document["_id"] for _ in range(2))

    def lease(identity):
        return house.jobs.claim(job, house.store.exports.find_one({"_id": identity}), lambda: False)

    assert house.jobs.run(job, lease(second)) == "done"
    assert queries.job(house.store, SHOP, second)["state"] == "queued"
    lost = lease(first)
    house.store.exports.update_one({"_id": first}, {"$set": {"claim": "another"}})
    lost._until = 0
    with pytest.raises(LeaseLost):
        job.run(lost)
    assert queries.job(house.store, SHOP, first)["state"] == "queued"
    house.store.exports.update_one({"_id": first}, {"$set": {"claimed_until": 0}})
    house.jobs.run(job, lease(first))
    house.jobs.run(job, lease(second))
    assert {queries.job(house.store, SHOP, found)["state"] for found in (first, second)} == {"completed"}


def test_what_does_not_fit_a_sheet_fails_the_export_and_says_why(house):
    house.upsert(product(detail=[{"text": "x" * 40_000, "image": ""}]))
    content, job = house.export("xlsx")
    assert (content, job["state"], job["reason"]) == (b"", "failed", "CELL_TOO_LONG")
    assert "jsonl" in job["message"]


def rows_of(content, name):
    """What the file says, whatever else a workbook has in it."""
    found = open_file(lambda: iter([content]), name, most_rows=10**6)
    with contextlib.closing(found):
        return [data for _, _, data in found.pieces()]


@pytest.mark.parametrize(("name", "_file"), FORMATS)
def test_an_export_goes_on_behind_its_last_part_however_often_it_is_killed(house, monkeypatch, name, _file):
    monkeypatch.setattr(exporting, "PART_PRODUCTS", 4)
    house.do_import(csv(10))
    whole, _ = house.export(name)
    identity = house.queue_export(name)
    job = next(found for found in JOBS if found.collection == "exports")
    real, killed = Transaction.commit, []

    def commit(self, **how):
        real(self, **how)
        killed.append(len(killed))
        raise Killed

    while len(killed) < 3:  # after each of three parts, before it is known that it was kept
        lease = house.jobs.claim(job, house.store.exports.find_one({"_id": identity}), lambda: False)
        monkeypatch.setattr(Transaction, "commit", commit)
        with pytest.raises(Killed):
            job.run(lease)
        monkeypatch.setattr(Transaction, "commit", real)
        house.store.exports.update_one({"_id": identity}, {"$set": {"claimed_until": 0}})
        told = house.store.exports.find_one({"_id": identity})["gathered"]
        assert (told["blocks"], told["products"]) == (len(killed), min(4 * len(killed), 10))
    lease = house.jobs.claim(job, house.store.exports.find_one({"_id": identity}), lambda: False)
    assert house.jobs.run(job, lease) == "done"
    content, told = house.fetched(identity)
    assert (told["state"], told["products"], told["rows"]) == ("completed", 10, 10 if name == "jsonl" else 20)
    assert rows_of(content, name) == rows_of(whole, name)
