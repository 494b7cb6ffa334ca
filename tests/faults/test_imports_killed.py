"""kill -9 of the jobs process at random points of one import: every product, movement and chunk event of it is there once.

Three deaths in the suite; ``make faults`` asks for twenty (``KILLS``).
"""

import os
import random
import threading
from collections import Counter

import pytest

from services.chassis.relay import logged_in
from services.cli import imports, world
from tests.backends.processes import wait_until
from tests.faults.clients import PATIENCE_S

pytestmark = pytest.mark.timeout(900)
KILLS = int(os.environ.get("KILLS", "3"))
PRODUCTS = 300 * KILLS
"""A run that is killed gets one chunk of 200 further, now and then two."""
CHUNK = "jishi.catalog.import.chunk_applied.v1"


def file_of(tmp_path, numbers, quantity):
    head = "Handle,Title,Published,Variant Inventory Qty,Variant Price\n"
    path = tmp_path / f"{quantity}.csv"
    path.write_text(head + "".join(f"k{n},商品 {n},true,{quantity},9.90\n" for n in numbers), encoding="utf-8")
    return path


def one_death(stack, rng, shop, import_id):
    """At a point between two steps, with a transaction open, or whenever it comes; where, in words."""
    way = rng.choice(["step", "commit", "any moment"])
    if way == "any moment":
        pause = rng.uniform(0, 0.5)
        working(stack, shop, import_id)
        threading.Event().wait(pause)  # the moment is random: there is nothing to wait for
        stack.kill("jobs")
    else:
        point, passing = {"step": "imports.step", "commit": "jobs.commit"}[way], rng.randint(1, 2)
        stack.arm(point, passing=passing)
        stack.until_dead()
        way = f"{point} {passing}"
    stack.forgive()
    return way


def working(stack, shop, import_id):
    """Some jobs process is alive and has not finished the import."""
    wait_until(lambda: any(child.running for child in stack._of("jobs")), "jobs to run")
    assert shop.get(f"/v1/imports/{import_id}")["state"] in ("queued", "validating", "running"), (
        "ended before all deaths"
    )


def test_an_import_whose_process_is_killed_again_and_again_counts_everything_once(stack, town, seed, tmp_path):
    rng = random.Random(seed)
    merchant = world.open_shop(town.admin, f"一再中断 {seed}")
    shop = town.api.as_caller(merchant.token)
    half = range(0, PRODUCTS, 2)
    first = imports.watch(shop, imports.upload(shop, file_of(tmp_path, half, 5)), within_s=PATIENCE_S)
    assert first["created"] == len(half)
    import_id = imports.upload(shop, file_of(tmp_path, range(PRODUCTS), 7))
    deaths = [one_death(stack, rng, shop, import_id) for _ in range(KILLS)]
    print(f"seed {seed}: jobs killed {len(deaths)} times, at {deaths}")
    job = imports.watch(shop, import_id, within_s=PATIENCE_S * 4)  # what is left may be most of it
    told = {name: job[name] for name in ("state", "total", "created", "updated", "failed")}
    assert told == {
        "state": "completed",
        "total": PRODUCTS,
        "created": PRODUCTS - len(half),
        "updated": len(half),
        "failed": 0,
    }
    stack.audited()
    with stack.connect() as client:
        counted_once(client[f"{stack.settings().db_prefix}catalog"], merchant.shop_id, import_id, half)


def counted_once(catalog, shop_id, import_id, half):
    """By what the database holds: nothing is missing and nothing there twice."""
    names = Counter(row["external_id"] for row in catalog["products"].find({"shop_id": shop_id}, {"external_id": 1}))
    assert names == {f"k{number}": 1 for number in range(PRODUCTS)}
    stock = list(catalog["stock"].find({"shop_id": shop_id}, {"on_hand": 1, "available": 1}))
    assert {(row["on_hand"], row["available"]) for row in stock} == {(7, 7)}
    assert len(stock) == PRODUCTS
    chunks = list(catalog["chunks"].find({"import_id": import_id}))
    assert sorted(row["number"] for row in chunks) == list(range(len(chunks)))
    results = Counter(result["external_id"] for row in chunks for result in row["results"])
    assert results == names
    movements = [movement for row in chunks for movement in row["movements"]]
    assert len({movement["sku_id"] for movement in movements}) == len(movements) == len(half)
    assert {movement["delta"] for movement in movements} == {2}
    logged = [envelope for row in catalog["event_log"].find({}) for envelope in logged_in(row)]
    facts = Counter(each["data"]["chunk_id"] for each in logged if each["type"] == CHUNK)
    assert {identity: facts[identity] for identity in (row["_id"] for row in chunks)} == dict.fromkeys(
        (row["_id"] for row in chunks), 1
    )
    shop = catalog["shops"].find_one({"_id": shop_id})
    assert sum(shop["categories"].values()) == PRODUCTS, "the events were counted once"
