"""Search over many products: how long the index takes to build, what it weighs, and questions a second through the gateway."""

import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from services.chassis import ids
from services.cli import imports
from tests.bench.load import get, run
from tests.bench.report import Report
from tests.bench.world import Bench, upsert, wait

CONCURRENCY = 16
BATCH = 500
GOAL, GOAL_P99_MS = 300.0, 150.0
SAMPLE = Path(imports.__file__).parents[1] / "catalog" / "samples" / "products.zh.csv"
STYLES = (
    "复古",
    "简约",
    "法式",
    "日系",
    "新款",
    "加厚",
    "轻薄",
    "宽松",
    "修身",
    "大码",
    "儿童",
    "商务",
    "户外",
    "家用",
    "便携",
    "经典",
)
COLOURS, SIZES = ("红色", "蓝色", "黑色", "米白", "墨绿"), ("S", "M", "L", "XL")
WITHIN_S = 1_800


def measure(bench: Bench, report: Report) -> None:
    """Products laid down through the database, an index of them, then three kinds of questions."""
    names = sample_names()
    seen_within(bench, report)
    lay_down(bench, names)
    before = memory_mb(bench)
    seconds, held = rebuilt(bench)
    report.add(f"search: index of {held} products built", held / seconds, "products/s", note=f"in {seconds:.1f} s")
    report.add("  search: on disk", disk_mb(bench), "MB")
    report.add("  search: servers process", memory_mb(bench), "MB", note=f"{before:.0f} MB before the build")
    for name, paths, goal in (
        ("search: words, each question another", questions(names), GOAL),
        (
            "search: words, filters and order",
            questions(names, sort="price_asc", price_min=2_000, in_stock="true"),
            None,
        ),
        ("search: words with facets", questions(names, facets="true"), None),
    ):
        reads = max(1, bench.sizes.reads // 3)
        run(bench.stack.url, get(paths), range(reads // 10 + 1), CONCURRENCY)  # warm
        spent = sum(bench.cpu_seconds().values())
        result = run(bench.stack.url, get(paths[reads // 10 + 1 :]), range(reads), CONCURRENCY)
        spent = (sum(bench.cpu_seconds().values()) - spent) / reads
        if set(result.statuses) != {200}:
            raise RuntimeError(f"{name}: {result.statuses}")
        report.add(name, result.rate, "req/s", goal, note=f"concurrency {CONCURRENCY}, {held} products")
        report.add(f"  {name}", result.percentile_ms(50), "ms p50")
        report.add(f"  {name}", result.percentile_ms(99), "ms p99", note=f"goal: < {GOAL_P99_MS:.0f}" if goal else "")
        report.add(f"  {name}: processor time", spent * 1000, "ms", note="all processes")


def seen_within(bench: Bench, report: Report) -> None:
    """From the beginning of a write (a new product by a bulk call) to the first answer of a search that has it, one write at a time."""
    took = []
    for number in range(bench.sizes.probes // 5):
        began = time.perf_counter()
        upsert(bench, 1, prefix=f"seen{number}-")
        asked = {"q": f"seen{number}-0", "shop_id": bench.shop.shop_id}
        wait(lambda asked=asked: bench.api.get("/v1/search", **asked)["total"], "the hit", every_s=0.02)
        took.append(time.perf_counter() - began)
    took.sort()
    report.add("search: from a write to its hit", took[len(took) // 2], "s p50", note=f"{len(took)} writes")
    report.add("  search: from a write to its hit", took[-1], "s at most", 2.0, at_most=True)


def sample_names() -> list[str]:
    """The names of the shipped products, without their brands."""
    with SAMPLE.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("title")
    return list(dict.fromkeys(row[column].partition(" ")[2] for row in rows[1:] if row[column]))


def lay_down(bench: Bench, names: list[str]) -> None:
    """As many products as are to be searched, made after one that came by the API; no event tells of them."""
    made = upsert(bench, 1, prefix="search")[0]["product_id"]
    with bench.stack.connect() as client:
        rows = client["catalog"]["products"]
        model = rows.find_one({"_id": made})
        documents = clones(model, names, bench.sizes.searched)
        while batch := list(itertools.islice(documents, BATCH)):
            rows.insert_many(batch, ordered=False)


def clones(model: dict[str, Any], names: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Products under names of their own, each with four SKUs of two axes."""
    styles = list(itertools.permutations(STYLES, 2))
    for number in range(count):
        first, second = styles[number % len(styles)]
        listing = {**model["listing"], "name": f"{first}{second}{names[number % len(names)]} {number}"}
        pairs = itertools.product(
            (COLOURS[number % 5], COLOURS[(number + 2) % 5]), (SIZES[number % 4], SIZES[(number + 1) % 4])
        )
        sku = model["listing"]["skus"][0]
        price = 1_000 + number * 37 % 200_000
        listing["axes"] = ["颜色", "尺码"]
        listing["skus"] = [
            {
                **sku,
                "sku_id": f"{sku['sku_id']}{number}{at}",
                "values": list(pair),
                "price": price,
                "original_price": price,
            }
            for at, pair in enumerate(pairs)
        ]
        identity = ids.product_id()
        keys = {
            "external_id": f"many{number}",
            "position": identity,
        }
        yield {**model, "_id": identity, **keys, "listing": listing}


def rebuilt(bench: Bench) -> tuple[float, int]:
    """Seconds until a new index answers, and how many products it holds."""
    began = time.perf_counter()
    wanted = bench.admin.post("/v1/search:rebuild")["rebuild_id"]
    told = wait(lambda: _built(bench, wanted), "the index", WITHIN_S, 0.2)
    return time.perf_counter() - began, int(told["products"])


def _built(bench: Bench, wanted: str) -> dict[str, Any] | None:
    told = bench.admin.get("/v1/search/status")
    return told if told["rebuild_id"] == wanted and told["products"] >= bench.sizes.searched else None


def questions(names: list[str], **said: Any) -> list[str]:
    """Paths that ask for two words each, none twice: what was just asked is remembered."""
    pairs = itertools.product(names, STYLES)
    return [f"/v1/search?{urlencode({'q': f'{style} {name[-3:]}', **said})}" for name, style in pairs]


def memory_mb(bench: Bench) -> float:
    """Resident memory of the servers."""
    found = [child.process.pid for child in bench.stack.children.values() if child.role == "servers" and child.process]
    status = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in found]
    return sum(int(text.split("VmRSS:")[1].split()[0]) for text in status) / 1024


def disk_mb(bench: Bench) -> float:
    """What the index in force takes."""
    return sum(path.stat().st_size for path in (bench.stack.data / "search").rglob("*") if path.is_file()) / 2**20
