"""Product reads and shelf views a second, all the way: HTTP, gRPC, database."""

from tests.bench.load import get, run
from tests.bench.report import Report
from tests.bench.world import Bench, upsert

REQUESTS = 6_000
CONCURRENCY = 16


def measure(bench: Bench, report: Report) -> None:
    """A listed product, and a shelf of 40 products."""
    products = upsert(bench, 40, prefix="read")
    product = f"/v1/products/{products[0]['product_id']}"
    shelf = shelf_of(bench, [found["product_id"] for found in products])
    for name, path, goal in (("product read", product, 1_000.0), ("shelf view, 40 products", shelf, None)):
        run(bench.stack.url, get(path), range(500), CONCURRENCY)  # warm
        result = run(bench.stack.url, get(path), range(REQUESTS), CONCURRENCY)
        if set(result.statuses) != {200}:
            raise RuntimeError(f"{name}: {result.statuses}")
        report.add(name, result.rate, "req/s", goal, note=f"concurrency {CONCURRENCY}")
        report.add(f"  {name}", result.percentile_ms(50), "ms p50")
        report.add(f"  {name}", result.percentile_ms(99), "ms p99")


def shelf_of(bench: Bench, product_ids: list[str]) -> str:
    """A published shelf with one group of products; the path of its public view."""
    group = bench.merchant.post("/v1/groups", {"name": "测速分组", "product_ids": product_ids})["group"]
    modules = [{"kind": "products", "groups": [{"group_id": group["group_id"]}], "count": len(product_ids)}]
    body = {"name": "测速货架", "slug": "bench", "modules": modules}
    shelf = bench.merchant.post("/v1/shelves", body)["shelf"]
    bench.merchant.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    return f"/v1/public/shelves/{bench.shop.shop_id}/bench"
