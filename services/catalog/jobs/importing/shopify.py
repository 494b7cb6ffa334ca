"""``shopify-csv``: Shopify's product CSV (help.shopify.com, "Using CSV files to import and export products").

Rows repeat a product's handle: the first has the product and its first variant, others a variant, an image, or both. Headers of the
export (``Option1 Name``) and of the 2024 template (``Option1 name``, ``Price``, ``SKU``) are both known; letter case does not matter.
"""

import re
from collections.abc import Iterable
from typing import Final

from services.catalog.jobs.importing import cells
from services.catalog.jobs.importing.building import Format, Product
from services.catalog.jobs.importing.text import Row
from services.catalog.model.products import ProductDraft, SkuDraft

_DEFAULT: Final = ("Title", "Default Title")
"""How Shopify writes a product without options."""
_OVERSOLD: Final = re.compile(r"-\d{1,15}(?:\.0*)?", re.ASCII)


def _build(product: Product) -> ProductDraft | None:
    first = product.rows[0]
    variants = _variants(product)
    names = [_first_filled(product.rows, f"option{n}_name") for n in (1, 2, 3)]
    values = [[row.get(f"option{n}") for n in (1, 2, 3)] for row in variants]
    if len(variants) == 1 and values[0] in ([_DEFAULT[1], "", ""], ["", "", ""]) and names[0] in (_DEFAULT[0], ""):
        names, values = ["", "", ""], [["", "", ""]]
    width = max((n for n in (1, 2, 3) if names[n - 1] or any(row[n - 1] for row in values)), default=0)
    for n in range(1, width + 1):
        if not names[n - 1]:
            product.fail(
                first,
                f"option{n}_name",
                "OPTION_NAME_MISSING",
                "values need the name of their option in the product's first row",
            )
    name = _first_filled(product.rows, "title")
    if not name:
        product.fail(first, "title", "REQUIRED", "give the product a title in its first row")
    skus = tuple(_sku(product, row, tuple(value[:width])) for row, value in zip(variants, values, strict=True))
    published = product.read(first, "published", cells.switch, missing=False) if "published" in first.columns else True
    if product.problems:
        return None
    return ProductDraft(
        external_id=product.key,
        name=name,
        category_id=_category(product, first),
        skus=skus,
        axes=tuple(names[:width]),
        images=_images(product.rows),
        detail=product.detail("body", _first_filled(product.rows, "body")),
        properties=tuple(
            (label, text)
            for label, column in (("Vendor", "vendor"), ("Type", "type"), ("Tags", "tags"))
            if (text := first.get(column))
        ),
        listed=published and first.get("status").casefold() in ("", "active"),
    )


def _variants(product: Product) -> list[Row]:
    variants = []
    for row in product.rows:
        if any(row.get(column) for column in ("option1", "option2", "option3", "price", "sku")):
            variants.append(row)
        elif row is not product.rows[0] and not row.get("image"):
            product.fail(
                row, "option1", "EMPTY_ROW", "the row has neither a variant nor an image; fill it or delete it"
            )
    return variants or product.rows[:1]


def _sku(product: Product, row: Row, values: tuple[str, ...]) -> SkuDraft:
    def money(text: str) -> int:
        return cells.minor_units(text, product.context.currency)

    if not row.get("price"):
        product.fail(row, "price", "REQUIRED", "every variant needs a price")
    price = product.read(row, "price", money, 0)
    return SkuDraft(
        values=values,
        price=price,
        original_price=product.read(row, "compare_at_price", money, 0) or price,
        quantity=product.read(row, "quantity", _on_hand, None),
        merchant_sku=row.get("sku"),
        barcode=row.get("barcode").lstrip("'"),
        image=row.get("variant_image"),
        weight_g=product.read(row, "grams", cells.grams, 0),
        row=row.number,
    )


def _on_hand(text: str) -> int:
    """Units on hand. Exports hold negative numbers for what was sold beyond the stock: then nothing is left."""
    return 0 if _OVERSOLD.fullmatch(text) else cells.count(text, "units")


def _category(product: Product, first: Row) -> int:
    tree = product.context.tree
    found = tree.find(first.get("category")) if first.get("category") else None
    return found.id if found and found.leaf else tree.uncategorised


def _images(rows: Iterable[Row]) -> tuple[str, ...]:
    placed = []
    for order, row in enumerate(rows):
        if url := row.get("image"):
            position = row.get("image_position")
            placed.append(
                (int(position) if position.isascii() and position.isdecimal() else 10_000 + order, order, url)
            )
    return tuple(dict.fromkeys(url for _, _, url in sorted(placed)))


def _first_filled(rows: Iterable[Row], column: str) -> str:
    return next((text for row in rows if (text := row.get(column))), "")


SHOPIFY: Final = Format(
    name="shopify-csv",
    headers={
        "handle": ("Handle", "URL handle"),
        "title": ("Title",),
        "body": ("Body (HTML)", "Description"),
        "vendor": ("Vendor",),
        "category": ("Product Category",),
        "type": ("Type",),
        "tags": ("Tags",),
        "published": ("Published", "Published on online store"),
        "status": ("Status",),
        "option1_name": ("Option1 Name",),
        "option1": ("Option1 Value",),
        "option2_name": ("Option2 Name",),
        "option2": ("Option2 Value",),
        "option3_name": ("Option3 Name",),
        "option3": ("Option3 Value",),
        "sku": ("Variant SKU", "SKU"),
        "grams": ("Variant Grams", "Weight value (grams)"),
        "quantity": ("Variant Inventory Qty", "Inventory quantity"),
        "price": ("Variant Price", "Price"),
        "compare_at_price": ("Variant Compare At Price", "Compare-at price"),
        "barcode": ("Variant Barcode", "Barcode"),
        "image": ("Image Src", "Product image URL"),
        "image_position": ("Image Position",),
        "variant_image": ("Variant Image", "Variant image URL"),
    },
    required=("handle", "title", "price"),
    key="handle",
    shown={
        "external_id": "handle",
        "name": "title",
        "category_id": "category",
        "detail": "body",
        "images": "image",
        "axes": "option1_name",
        "skus": "option1",
        "values": "option1",
        "original_price": "compare_at_price",
        "merchant_sku": "sku",
        "weight_g": "grams",
        "image": "variant_image",
        "properties": "tags",
    },
    build=_build,
)
