"""Product reads and shelf views a second, all the way: HTTP, gRPC, database."""

from tests.bench.load import get, run
from tests.bench.report import Report
from tests.bench.world import Bench, upsert

CONCURRENCY = 16


def measure(bench: Bench, report: Report) -> None:
    """A listed product, many listed products in turn, and a shelf of products."""
    sizes = bench.sizes
    ids = [found["product_id"] for found in upsert(bench, sizes.shown, prefix="read")]
    every = [f"/v1/products/{product_id}" for product_id in ids]
    shelf = [shelf_of(bench, ids)]
    for name, paths, goal in (
        ("product read, one product", every[:1], 1_000.0),
        (f"product read, {len(ids)} products in turn", every, 1_000.0),
        (f"shelf view, {len(ids)} products", shelf, None),
    ):
        run(bench.stack.url, get(paths), range(max(sizes.reads // 10, 1)), CONCURRENCY)  # warm
        before = sum(bench.cpu_seconds().values())
        result = run(bench.stack.url, get(paths), range(sizes.reads), CONCURRENCY)
        spent = (sum(bench.cpu_seconds().values()) - before) / sizes.reads
        if set(result.statuses) != {200}:
            raise RuntimeError(f"{name}: {result.statuses}")
        report.add(name, result.rate, "req/s", goal, note=f"concurrency {CONCURRENCY}")
        report.add(f"  {name}", result.percentile_ms(50), "ms p50")
        report.add(f"  {name}", result.percentile_ms(99), "ms p99")
        report.add(f"  {name}: processor time", spent * 1000, "ms", note="gateway, servers and database")


def shelf_of(bench: Bench, product_ids: list[str], slug: str = "bench") -> str:
    """A published shelf with one group of products; the path of its public view."""
    group = bench.merchant.post("/v1/groups", {"name": "测速分组", "product_ids": product_ids})["group"]
    modules = [{"kind": "products", "groups": [{"group_id": group["group_id"]}], "count": len(product_ids)}]
    body = {"name": "测速货架", "slug": slug, "modules": modules}
    shelf = bench.merchant.post("/v1/shelves", body)["shelf"]
    bench.merchant.post(f"/v1/shelves/{shelf['shelf_id']}:publish")
    return f"/v1/public/shelves/{bench.shop.shop_id}/{slug}"
