"""Imports, undos, retries, exports and fetched pictures that are killed at random commits and go on: everything is there once, nothing twice.

The death is an exception before or after a random write, in the process itself, so that a run dies dozens of times in seconds; what a
killed process leaves in a real stack is shown by tests/faults.
"""

import io
import json
import os
import random
from collections import Counter

import pytest

from services.catalog.commands import images
from services.catalog.jobs import JOBS
from services.catalog.model.imports import RUN, chunk_id
from services.catalog.queries import imports as queries
from services.catalog.store.chunks import Transaction
from services.chassis.commit import documents
from services.chassis.settings import Settings
from tests.backends.pictures import PictureServer, csv
from tests.unit.catalog.making import OTHER, SHOP
from tests.unit.catalog.test_reading_workbooks import workbook

SEED = int(os.environ.get("JISHI_SEED") or random.randrange(10**6))
PRODUCTS = 230
"""Of which some fail and some lie apart: 12 chunks of 20."""
COUNTERS = ("total", "created", "updated", "unchanged", "failed")


pytestmark = pytest.mark.timeout(300)


class Killed(BaseException):
    """The process is gone between two lines."""


class Reaper:
    """Kills every few writes, before the write or after it."""

    def __init__(self, monkeypatch, chance):
        self.random, self.kills, self.left = chance, Counter(), 0
        commit, write = Transaction.commit, documents.write
        monkeypatch.setattr(Transaction, "commit", lambda own, **how: self._around("transaction", commit, own, **how))
        monkeypatch.setattr(documents, "write", lambda *what: self._around("change", write, *what))

    def arm(self):
        self.left = self.random.randint(1, 2)

    def disarm(self):
        self.left = 0

    def _around(self, kind, real, *what, **how):
        if self.left != 1:
            self.left -= self.left > 0
            return real(*what, **how)
        self.left = 0
        after = self.random.random() < 0.5
        if after:
            real(*what, **how)
        self.kills[f"{'after' if after else 'before'} a {kind}"] += 1
        raise Killed


@pytest.fixture
def reaper(monkeypatch):
    print(f"JISHI_SEED={SEED}")
    return Reaper(monkeypatch, random.Random(SEED))


def survived(house, reaper, collection, identity):
    """Run the job, killed again and again, until it is over; the runs it took."""
    job = next(found for found in JOBS if found.collection == collection)
    rows = house.database[collection]
    runs = 0
    while "next_at" in (row := rows.find_one({"_id": identity})):
        runs += 1
        assert runs < 500, row
        rows.update_one({"_id": identity}, {"$set": {"claimed_until": 0}})  # the dead one's lease has run out
        lease = house.jobs.claim(job, rows.find_one({"_id": identity}), lambda: False)
        reaper.arm()
        try:
            house.jobs.run(job, lease)
        except Killed:
            continue
        finally:
            reaper.disarm()
    return runs


def table(price, stock, bad=()):
    """Two rows a product; those of every ninth lie apart."""
    head = [["external_id", "title", "category", "axis1", "value1", "price", "stock", "merchant_sku"]]
    numbers = range(PRODUCTS)
    first = [
        [f"p{n}", f"商品{n}", "女装/连衣裙", "尺码", "M", "" if n in bad else price, str(stock + n), f"c{n}"]
        for n in numbers
    ]
    second = {n: [f"p{n}", "", "", "", "L", price, str(stock), ""] for n in numbers}
    rows = []
    for n in numbers:
        rows.append(first[n])
        if n % 9:
            rows.append(second[n])
    return head + rows + [second[n] for n in numbers if n % 9 == 0]


def csv_of(rows):
    return "\n".join(",".join(row) for row in rows).encode()


def lines_of(rows):
    """The same products as JSONL, with the rows of each together."""
    found = {}
    for row in rows[1:]:
        product = found.setdefault(
            row[0], {"external_id": row[0], "category_id": 538010001, "axes": ["尺码"], "skus": []}
        )
        product |= {"name": row[1]} if row[1] else {}
        price = round(float(row[5]) * 100) if row[5] else 0
        product["skus"].append({"values": [row[4]], "price": price, "quantity": int(row[6]), "merchant_sku": row[7]})
    return "\n".join(json.dumps(product, ensure_ascii=False) for product in found.values()).encode()


def everything(house, shop):
    """What a shop holds, without the ids that are drawn."""
    stock = {row["_id"]: row for row in house.store.stock.find({"shop_id": shop})}
    return {
        row["external_id"]: (
            row["state"],
            row["listing_version"],
            [
                (sku["values"], sku["price"], stock[sku["sku_id"]]["initial"], stock[sku["sku_id"]]["on_hand"])
                for sku in row["listing"]["skus"]
            ],
        )
        for row in house.store.products.find({"shop_id": shop, "state": {"$ne": "deleted"}})
    }


def counted(house, identity, shop=SHOP):
    job = queries.job(house.store, shop, identity)
    return (job["state"], *(job[name] for name in COUNTERS))


def check_chunks(house, identity):
    """Chunks without a gap, results and movements and events once each."""
    job = house.store.imports.find_one({"_id": identity})
    chunks = list(house.store.chunks.find({"import_id": identity, "_id": {"$regex": f":{RUN}:"}}))
    assert sorted(row["_id"] for row in chunks) == sorted(chunk_id(identity, RUN, n) for n in range(job["next_chunk"]))
    for name in COUNTERS[1:]:
        assert sum(row[name] for row in chunks) == job[name], name
    seen = Counter(result["external_id"] for row in chunks for result in row["results"])
    assert set(seen.values()) == {1}
    assert len(seen) == job["total"]
    told = Counter(event["data"]["chunk_id"] for event in house.told() if event["data"]["import_id"] == identity)
    written = {row["_id"] for row in chunks if row["created"] + row["updated"]}
    assert told == Counter(dict.fromkeys(written, 1))
    ended = [event for event in house.told("imports") if event["data"]["import_id"] == identity]
    assert len(ended) == (job["state"] == "completed")


@pytest.mark.parametrize("name", ["jishi-csv", "jsonl", "xlsx"])
def test_an_import_an_undo_and_a_retry_survive_any_number_of_deaths(house, reaper, name):
    def content(rows):
        if name == "xlsx":
            return workbook(*rows)
        return lines_of(rows) if name == "jsonl" else csv_of(rows)

    suffix = {"jishi-csv": "csv", "jsonl": "jsonl", "xlsx": "xlsx"}[name]

    def imported(rows, shop, *, killed, policy="reject_failed"):
        file = {"name": name, "file_name": f"p.{suffix}", "shop": shop, "policy": policy}
        identity = house.queue(content(rows), **file).document["_id"]
        if killed:
            survived(house, reaper, "imports", identity)
            check_chunks(house, identity)
        else:
            house.work(identity)
        return identity

    first, second = table("9.90", 5), table("12.00", 8, bad=(7, 101, 209))
    for shop, killed in ((OTHER, False), (SHOP, True)):
        one = imported(first, shop, killed=killed, policy="reject_all")
        assert counted(house, one, shop) == ("completed", PRODUCTS, PRODUCTS, 0, 0, 0)
    began = everything(house, SHOP)
    assert began == everything(house, OTHER)
    imported(second, OTHER, killed=False)
    identity = imported(second, SHOP, killed=True)
    assert counted(house, identity) == ("completed", PRODUCTS, 0, PRODUCTS - 3, 0, 3)
    assert everything(house, SHOP) == everything(house, OTHER)
    assert house.store.befores.count_documents({"shop_id": SHOP}) == PRODUCTS - 3
    retried = house.retry(identity)
    assert (retried["total"], retried["failed"]) == (3, 3)
    undo = house.undo_job(identity)
    survived(house, reaper, "imports", undo)
    check_chunks(house, undo)
    assert counted(house, undo) == ("completed", PRODUCTS - 3, 0, PRODUCTS - 3, 0, 0)
    back = everything(house, SHOP)
    assert {key: (state, [sku[::3] for sku in skus]) for key, (state, _, skus) in back.items()} == {
        key: (state, [sku[::3] for sku in skus]) for key, (state, _, skus) in began.items()
    }
    assert house.sound()
    for event in house.told() * 2:
        house.deliver(event)
    assert house.store.shop(SHOP)["categories"] == house.store.shop(OTHER)["categories"] == {"538010001": PRODUCTS}
    print(dict(reaper.kills))
    assert sum(reaper.kills.values()) >= 20, reaper.kills
    assert {"before a transaction", "after a transaction"} <= set(reaper.kills), reaper.kills


def test_an_export_survives_too(house, reaper):
    house.do_import(csv_of(table("9.90", 5)), name="jishi-csv")
    wanted, _ = house.export("jishi-csv")
    queued = house.queue_export("jishi-csv")
    survived(house, reaper, "exports", queued)
    assert house.fetched(queued)[0] == wanted
    assert io.BytesIO(wanted).readline().startswith(b"\xef\xbb\xbfexternal_id")
    assert sum(reaper.kills.values()) >= 1


def test_the_fetching_of_pictures_survives_too(house, reaper, monkeypatch):
    server = PictureServer()
    own = Settings(fetch_from=[server.authority])
    monkeypatch.setattr("services.catalog.jobs.images.settings", lambda: own)
    good = [f"{server.url}/ok/{number}.png" for number in range(24)]
    identity = house.do_import(csv([*good, *(f"{server.url}/gone/{number}" for number in range(5))]))["import_id"]
    images.fetch_images(house.store, house.cause(), SHOP, identity)
    try:
        survived(house, reaper, "image_fetches", identity)
    finally:
        server.close()
    work = house.store.image_fetches.find_one({"_id": identity})
    assert {name: work[name] for name in ("state", "total", "fetched", "failed")} == {
        "state": "done",
        "total": 29,
        "fetched": 24,
        "failed": 5,
    }
    shown = {row["image_id"] for row in house.store.image_sources.find({"state": "fetched"})}
    listed = [row["image_id"] for row in house.store.images.find({"shop_id": SHOP})]
    assert (len(listed), set(listed)) == (24, shown)
    print(dict(reaper.kills))
    assert sum(reaper.kills.values()) >= 5, reaper.kills
