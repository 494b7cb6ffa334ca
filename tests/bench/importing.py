"""Products a second by an import job, against bare ``insert_many`` of the very documents it wrote."""

import csv
import io
import time
from typing import IO

from services.catalog.store import COLLECTIONS
from services.chassis import mongo
from services.cli.api import Api
from tests.bench.report import Report
from tests.bench.world import Bench, wait

BATCH = 200
LEAST_MS = 0.005
"""Processes that take less of a product are not named."""
PATIENCE_S = 14_400


def measure(bench: Bench, report: Report) -> None:
    """Import, then insert the same documents bare into a scratch database of the same server."""
    count, began = bench.sizes.imported, bench.cpu_seconds()
    seconds, counts = imported(bench.merchant, shopify_csv(count))
    ended = bench.cpu_seconds()
    if counts["created"] != count:
        raise RuntimeError(f"import made {counts}")
    bare = bare_insert(bench)
    report.add("import", count / seconds, "products/s", note=f"{count} products × 2 SKUs by HTTP, in {seconds:.1f} s")
    note = f"bare: {count / bare:.0f} products/s"
    report.add("import against bare insert_many", bare / seconds, "ratio", 0.5, note=note)
    spent = {name: 1000 * (ended[name] - before) / count for name, before in began.items()}
    told = ", ".join(f"{name} {found:.2f}" for name, found in sorted(spent.items()) if found >= LEAST_MS)
    report.add("import: processor time of a product", sum(spent.values()), "ms", note=told)


def shopify_csv(count: int, prefix: str = "import") -> bytes:
    """A Shopify product export of ``count`` products with two variants each."""
    out = io.StringIO()
    names = ["Handle", "Title", "Body (HTML)", "Published", "Option1 Name", "Option1 Value"]
    names += ["Variant Inventory Qty", "Variant Price"]
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    for n in range(count):
        for size in ("M", "L"):
            row = {
                "Handle": f"{prefix}-{n}",
                "Option1 Value": size,
                "Variant Inventory Qty": 50,
                "Variant Price": "99.00",
            }
            if size == "M":
                body = "<p>柔软亲肤,四季可穿。</p>"
                row |= {"Title": f"批量商品 {n}", "Body (HTML)": body, "Published": "true", "Option1 Name": "尺码"}
            writer.writerow(row)
    return out.getvalue().encode()


def imported(merchant: Api, content: bytes | IO[bytes]) -> tuple[float, dict[str, int]]:
    """Import a file, which may be an open one, for a shop; (seconds from the upload's answer to the end, counts)."""
    files = {"file": ("products.csv", content, "text/csv")}
    form = {"format": "shopify-csv", "policy": "reject_failed"}
    answer = merchant.ask("POST", "/v1/imports", form=form, files=files)
    if answer.status != 202:
        raise RuntimeError(f"import: {answer.status} {answer.body}")
    began = time.perf_counter()
    import_id = answer.body["import_id"]

    def over() -> dict[str, int] | None:
        found = merchant.get(f"/v1/imports/{import_id}")
        return found if found["state"] in ("completed", "failed", "cancelled") else None

    counts = wait(over, "the import", PATIENCE_S)
    return time.perf_counter() - began, counts


def bare_insert(bench: Bench) -> float:
    """Seconds that ``insert_many`` takes for the documents of the import, in batches, with the same indexes."""
    with bench.stack.connect() as client:
        source, scratch = client["catalog"], client["bench_scratch"]
        client.drop_database(scratch.name)
        written = ("products", "names", "stock", "versions")
        mongo.declare(scratch, [collection for collection in COLLECTIONS if collection.name in written])
        found = {name: list(source[name].find({})) for name in written if name in source.list_collection_names()}
        began = time.perf_counter()
        for name, documents in found.items():
            for begin in range(0, len(documents), BATCH):
                scratch[name].insert_many(documents[begin : begin + BATCH])
        seconds = time.perf_counter() - began
        client.drop_database(scratch.name)
    return seconds
