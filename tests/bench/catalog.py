"""Bulk calls, reads and lists of the catalog through HTTP, and what they cost when it is fifty times as large."""

import copy
import json
import time
from typing import Any, Final
from urllib.parse import urlencode

from services.catalog.model.milestones import milestone
from services.catalog.model.names import names_of
from services.chassis import ids
from services.cli.api import Api
from tests.bench.load import Connection, Result, get, run
from tests.bench.reading import CONCURRENCY, shelf_of
from tests.bench.report import Report
from tests.bench.world import BULK, Bench, product, upsert

PAGE: Final = 20
PAGES: Final = 8
BATCH: Final = 1_000
GROWN: Final = 1.3


def measure(bench: Bench, report: Report) -> None:
    """Bulk calls of 200: new products, the same again, other prices, more stock. Reads and lists at concurrency 16."""
    calls(bench, report)
    made = upsert(bench, bench.sizes.listed, prefix="list")
    product_ids = [found["product_id"] for found in made]
    merchant = {"Authorization": f"Bearer {bench.shop.token}"}
    shelf = shelf_of(bench, product_ids[:PAGE], "bench-catalog")
    navigation = f"/v1/public/navigation/{bench.shop.shop_id}"
    for name, paths, headers, goal in (
        ("product read", [f"/v1/products/{product_id}" for product_id in product_ids], None, 1_500.0),
        (f"shelf of {PAGE} products", [shelf], None, 500.0),
        ("navigation of a shop", [navigation], None, 500.0),
        (
            f"listing of a shop, page of {PAGE}",
            pages(bench.api, f"/v1/public/shops/{bench.shop.shop_id}/products"),
            None,
            500.0,
        ),
        (f"a merchant's own list, page of {PAGE}", pages(bench.merchant), merchant, 500.0),
    ):
        run(bench.stack.url, get(paths, headers), range(max(bench.sizes.reads // 10, 1)), CONCURRENCY)  # warm
        told(report, name, run(bench.stack.url, get(paths, headers), range(bench.sizes.reads), CONCURRENCY), goal)


def told(report: Report, name: str, result: Result, goal: float | None) -> None:
    """The rows of one run. Raises RuntimeError when a request failed."""
    if set(result.statuses) != {200}:
        raise RuntimeError(f"{name}: {result.statuses}")
    report.add(name, result.rate, "req/s", goal, note=f"concurrency {CONCURRENCY}")
    report.add(f"  {name}", result.percentile_ms(50), "ms p50")
    report.add(f"  {name}", result.percentile_ms(99), "ms p99")


def pages(api: Api, path: str = "/v1/products") -> list[str]:
    """The paths of the first pages of a list, each another; by default of the merchant's own."""
    found: list[str] = []
    asked: dict[str, Any] = {"page_size": PAGE}
    while len(found) < PAGES:
        found.append(f"{path}?{urlencode(asked)}")
        token = api.get(path, **asked)["next_page_token"]
        if not token:
            break
        asked["page_token"] = token
    return found


# ----------------------------------------------------------------------------------------------------------------- bulk calls


def calls(bench: Bench, report: Report) -> None:
    """One call after another, each of 200 items where the size says so."""
    size = min(BULK, bench.sizes.listed)
    names = [[f"bulk{number}-{n}" for n in range(size)] for number in range(bench.sizes.bulks)]
    bodies = [{"items": [product(name, 50) for name in batch], "policy": "reject_all"} for batch in names]
    made = [sent(bench, report, f"bulk upsert of {size} new products", "bulkUpsert", bodies)]
    sent(bench, report, f"bulk upsert of {size}, all the same", "bulkUpsert", bodies)
    skus = [[_first_sku(bench, row["product_id"]) for row in answer["results"]] for answer in made[0][:1]]
    prices = [
        {"items": [{"sku_id": sku, "price": 8_000 + number} for sku in skus[0]]} for number in range(bench.sizes.bulks)
    ]
    sent(bench, report, f"bulk update of {size} prices", "bulkUpdatePrice", prices)
    deltas = [
        {"items": [{"sku_id": sku, "delta": 1, "request_id": f"d{number}-{n}"} for n, sku in enumerate(skus[0])]}
        for number in range(bench.sizes.bulks)
    ]
    sent(bench, report, f"bulk update of {size} stocks", "bulkUpdateStock", deltas)


def sent(bench: Bench, report: Report, name: str, call: str, bodies: list[Any]) -> list[Any]:
    """Send the bodies one after the other; the answers."""
    answers: list[Any] = []

    async def flow(connection: Connection, body: Any) -> int:
        headers = {"Authorization": f"Bearer {bench.shop.token}", "Idempotency-Key": f"{name}-{time.time_ns()}"}
        status, answer = await connection.call("POST", f"/v1/products:{call}", body, headers)
        answers.append(json.loads(answer))
        return status

    commands = "jishi_mongo_commands_total"
    idle = bench.idle_rates(commands)
    before = bench.tallies(commands)
    result = run(bench.stack.url, flow, bodies, 1)
    asked = bench.spent(before, idle, result.seconds)[commands] / len(bodies)
    if set(result.statuses) != {200}:
        raise RuntimeError(f"{name}: {result.statuses} {answers[-1]}")
    report.add(
        name, result.percentile_ms(50), "ms p50", note=f"{asked:.0f} database commands a call, its events included"
    )
    report.add(f"  {name}", result.percentile_ms(99), "ms p99", 400.0, at_most=True)
    return answers


def _first_sku(bench: Bench, product_id: str) -> str:
    found: str = bench.api.get(f"/v1/products/{product_id}")["product"]["skus"][0]["sku_id"]
    return found


# --------------------------------------------------------------------------------------------------------------------- growth


def growth(bench: Bench, report: Report) -> None:
    """Processor time of a read, a page of a list and an upserted product in a small catalog and in a large one of the same shop."""
    (model,) = upsert(bench, 1, prefix="model")
    costs = []
    for count in (bench.sizes.small, bench.sizes.large):
        lay_down(bench, model["product_id"], count)
        costs.append(one_of_each(bench, count))
    for name, small in costs[0].items():
        large = costs[1][name]
        note = f"{small:.2f} ms at {bench.sizes.small:,}, {large:.2f} ms at {bench.sizes.large:,} products"
        report.add(
            f"{name}: cost in the large catalog against the small",
            large / small,
            "ratio",
            GROWN,
            at_most=True,
            note=note,
        )


def lay_down(bench: Bench, model_id: str, count: int) -> None:
    """Fill the shop up to ``count`` products, copies of one that is there, straight into the collections, with what the worker makes of them."""
    with bench.stack.connect() as client:
        catalog = client["catalog"]
        model = catalog["products"].find_one({"_id": model_id})
        assert model is not None
        stocks = [catalog["stock"].find_one({"_id": sku["sku_id"]}) for sku in model["listing"]["skus"]]
        there = catalog["products"].count_documents({})
        for begin in range(there, count, BATCH):
            rows = [_copied(model, stocks, number) for number in range(begin, min(begin + BATCH, count))]
            catalog["products"].insert_many([row for row, _ in rows])
            catalog["names"].insert_many([name for row, _ in rows for name in names_of(row).values()])
            catalog["stock"].insert_many([stock for _, found in rows for stock in found])
            if kept := [found for row, _ in rows if (found := milestone(row)) is not None]:
                catalog["milestones"].insert_many(kept)


def _copied(model: dict[str, Any], stocks: list[dict[str, Any]], number: int) -> tuple[dict[str, Any], list[Any]]:
    row = copy.deepcopy(model)
    row["_id"] = row["position"] = ids.product_id()
    row["external_id"] = f"laid-{number}"
    row["created_by"] = f"bench:{number}"
    renamed = {sku["sku_id"]: f"s{number:07d}{place:020d}" for place, sku in enumerate(row["listing"]["skus"])}
    for sku in row["listing"]["skus"]:
        sku["sku_id"] = renamed[sku["sku_id"]]
    return row, [{**stock, "_id": renamed[stock["_id"]], "product_id": row["_id"]} for stock in stocks]


def one_of_each(bench: Bench, count: int) -> dict[str, float]:
    """Milliseconds of processor time, all processes, of each kind of request."""
    some = [
        found["product_id"] for found in bench.merchant.get("/v1/products", page_size=bench.sizes.probes)["products"]
    ]
    merchant = {"Authorization": f"Bearer {bench.shop.token}"}
    reads = [f"/v1/products/{product_id}" for product_id in some]
    items = [product(f"grown-{count}-{n}", 5) for n in range(bench.sizes.probes)]

    async def upserted(connection: Connection, item: Any) -> int:
        headers = {**merchant, "Idempotency-Key": f"{time.time_ns()}"}
        body = {"items": [item]}
        status, _ = await connection.call("POST", "/v1/products:bulkUpsert", body, headers)
        return status

    return {
        "product read": _cost(bench, get(reads, merchant), list(range(len(reads)))),
        f"page of {PAGE} of the merchant's list": _cost(
            bench, get(pages(bench.merchant)[:2], merchant), list(range(bench.sizes.probes))
        ),
        "upsert of one product": _cost(bench, upserted, items),
    }


def _cost(bench: Bench, flow: Any, items: list[Any]) -> float:
    """Processor time of one in ms, all processes; what they take while nothing is asked (polls) is taken off."""
    run(bench.stack.url, flow, items[:1], 1)  # warm
    before = _spent(bench)
    time.sleep(bench.sizes.idle_s)
    idle = (_spent(bench) - before) / bench.sizes.idle_s
    before, began = _spent(bench), time.perf_counter()
    result = run(bench.stack.url, flow, items, 1)
    if set(result.statuses) != {200}:
        raise RuntimeError(f"{result.statuses}")
    spent, seconds = _spent(bench) - before, time.perf_counter() - began
    # Processor time is told in steps of 10 ms; a run shorter than some of them is told by its length.
    return (max(spent - idle * seconds, 0.001) if spent > 0.2 else seconds) / len(items) * 1000


def _spent(bench: Bench) -> float:
    return sum(bench.cpu_seconds().values())
