"""Opening product files with the limits and the tree that ship, for the tests beside it."""

import tomllib
from pathlib import Path

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.reading import open_file
from services.catalog.model.categories import parse
from services.catalog.model.products import Limits
from tests.unit.catalog.laid import chunks

HOME = Path("services/catalog")
TREE = parse(tomllib.loads((HOME / "categories.toml").read_text(encoding="utf-8")))
LIMITS = Limits(**tomllib.loads((HOME / "policy.toml").read_text(encoding="utf-8"))["product_limits"][0]["value"])
HEAD = "Handle,Title,Body (HTML),Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Inventory Qty,Variant Price,Variant Compare At Price,Image Src\n"
SHIRT = "shirt,Shirt,<p>Soft</p>,true,Size,S,,,,3,10.00,,https://example.com/1.jpg\nshirt,,,,,M,,,,4,11.00,12.50,\n"


def opened(content, name="shopify-csv", most_rows=10**6):
    content = content.encode() if isinstance(content, str) else content
    return open_file(
        lambda: iter([content[i : i + 1000] for i in range(0, len(content), 1000)]), name, most_rows=most_rows
    )


def items(content, name="shopify-csv", currency="CNY", products=200, rows=2000):
    found = chunks(opened(content, name), name, Context(currency, TREE, LIMITS), products=products, rows=rows)
    return [item for chunk in found for item in chunk]


def problems(content, **how):
    return [(found.row, found.field, found.reason) for item in items(content, **how) for found in item.problems]
