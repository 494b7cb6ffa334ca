"""Chapter 2: products from a file, and in bulk."""

import tempfile
from pathlib import Path
from typing import Any

from services.chassis import clock
from services.cli import imports
from services.cli.demo.story import Story

TITLE = "2 catalog"
BROKEN = """\
Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price
good-cup,青瓷茶杯,<p>景德镇</p>,窑,茶具,,true,Title,Default Title,,10,38.00
bad-pot,紫砂壶,<p>宜兴</p>,窑,茶具,,true,Title,Default Title,,5,not a price
fine-tray,竹茶盘,<p>安吉</p>,竹,茶具,,true,Title,Default Title,,7,88.50
"""
BULK = 200


def tell(story: Story) -> None:
    """Import, import again, one bad row, 200 at once."""
    whole_file(story)
    bad_row(story)
    bulk(story)


def whole_file(story: Story) -> None:
    """The product file: a dry run, the import, and the same file again, which changes nothing."""
    expect, shop = story.expect, story.shop(0)
    began = clock.monotonic()
    job = run(story, story.products)
    took = clock.monotonic() - began
    expect.equal((job["state"], job["failed"]), ("completed", 0), f"{story.products.name} imports completely")
    expect.true(job["total"] > 0 and job["created"] == job["total"], f"every product of the file is created: {job}")
    story.figure(f"{story.products.name}: rows", job["rows"])
    story.figure("products created", job["created"])
    story.figure("products a second, upload and wait included", round(job["created"] / took))
    again = run(story, story.products)
    expect.equal(
        (again["state"], again["unchanged"]), ("completed", job["total"]), "the same file again changes nothing"
    )
    story.figure("the same file again: unchanged", again["unchanged"])
    dry = run(story, story.products, dry_run=True)
    expect.equal((dry["state"], dry["unchanged"]), ("ready", job["total"]), "a dry run tells the difference and stops")
    page = shop.get("/v1/products", state="listed", page_size=5)["products"]
    expect.true(page and all(product["skus"] for product in page), "imported products are listed with their SKUs")


def bad_row(story: Story) -> None:
    """One product of three has no price: it fails alone, and the report names row, field and reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broken.csv"
        path.write_text(BROKEN, encoding="utf-8")
        job = run(story, path)
    counts = {name: job[name] for name in ("state", "total", "created", "failed")}
    wanted = {"state": "completed", "total": 3, "created": 2, "failed": 1}
    story.expect.equal(counts, wanted, "a bad row fails its whole product and only it")
    results = story.shop(0).get(f"/v1/imports/{job['import_id']}/results", outcome="failed")["results"]
    named = [(row["row"], row["external_id"], bool(row["field"]), bool(row["reason"])) for row in results]
    story.expect.equal(named, [(3, "bad-pot", True, True)], "the report names row, field and reason")


def bulk(story: Story) -> None:
    """200 products in one call, twice."""
    items = [product(f"bulk-{number}", f"批量商品 {number}", 1000 + number, 20) for number in range(BULK)]
    began = clock.monotonic()
    done = story.shop(0).post("/v1/products:bulkUpsert", {"items": items, "policy": "reject_failed"})
    took = clock.monotonic() - began
    story.expect.equal((done["created"], done["failed"]), (BULK, 0), "200 products are created in one call")
    again = story.shop(0).post("/v1/products:bulkUpsert", {"items": items, "policy": "reject_failed"})
    story.expect.equal(again["unchanged"], BULK, "the same 200 again change nothing")
    story.figure("bulk upsert of 200 products, ms", round(took * 1000))


def run(story: Story, path: Path, *, dry_run: bool = False) -> dict[str, Any]:
    """Upload ``path`` as the first shop and wait for the job."""
    shop = story.shop(0)
    with story.bar(f"import {path.name}", 1) as advance:
        seen = 0.0

        def tell_progress(job: dict[str, Any]) -> None:
            nonlocal seen
            done = sum(job[name] for name in ("created", "updated", "unchanged", "failed"))
            share = done / job["total"] if job["total"] else 0.0
            advance(share - seen)  # type: ignore[arg-type]  # rich takes floats
            seen = share

        return imports.watch(shop, imports.upload(shop, path, dry_run=dry_run), tell_progress)


def product(external_id: str, name: str, price: int, quantity: int, *, freight: int = 0) -> dict[str, Any]:
    """A product of one SKU as ``bulkUpsert`` takes it; price and freight in fen."""
    item: dict[str, Any] = {
        "external_id": external_id,
        "name": name,
        "images": [f"https://img.example.com/{external_id}.jpg"],
        "skus": [{"price": price, "quantity": quantity}],
        "listed": True,
    }
    if freight:
        item["freight"] = {"kind": "flat", "fee": freight}
    return item
