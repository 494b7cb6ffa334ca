"""A product as rows of a jishi-csv table, or as one line of JSONL."""

import html
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from services.catalog.jobs.importing.jishi import images_of, listed_blocks, properties_of
from services.catalog.jobs.importing.markup import detail_blocks
from services.catalog.model.categories import Tree
from services.catalog.model.freight import CARRIERS
from services.catalog.model.products import State
from services.chassis.money import MINOR_DIGITS

Document = Mapping[str, Any]
MONEY: Final = frozenset({"price", "original_price", *(f"freight_{name}" for name in CARRIERS)})
NUMBERS: Final = frozenset({*MONEY, "stock", "weight_g", "volume_cm3", "buy_limit", "freight_template"})
"""Columns whose cells are numbers where they are not empty."""


def table_rows(product: Document, stock: Mapping[str, Document], tree: Tree) -> list[dict[str, str]]:
    """One row a SKU, by column; what is of the product stands in the first."""
    listing, currency = product["listing"], product["currency"]
    head = {
        "title": listing["name"],
        "category": _category(listing["category_id"], tree),
        "status": product["state"],
        "description": _description(listing["detail"]),
        "images": _images(listing["images"]),
        "properties": _properties([(found["name"], found["value"]) for found in listing["properties"]]),
        **{f"axis{n}": axis for n, axis in enumerate(listing["axes"], start=1)},
        "buy_limit": _count(listing["buy_limit"]),
        **_freight(listing["freight"], currency),
        **_assurances(listing),
        "fulfilment": listing.get("fulfilment", ""),
    }
    rows = [
        {
            "external_id": product["external_id"],
            **{f"value{n}": value for n, value in enumerate(sku["values"], start=1)},
            "price": amount(sku["price"], currency),
            "original_price": amount(sku["original_price"], currency),
            "stock": str(stock[sku["sku_id"]]["on_hand"]) if sku["sku_id"] in stock else "",
            **{name: sku[name] for name in ("merchant_sku", "barcode")},
            "sku_image": sku["image"],
            **{name: _count(sku[name]) for name in ("weight_g", "volume_cm3")},
        }
        for sku in listing["skus"]
    ]
    rows[0] |= head
    return rows


def line(product: Document, stock: Mapping[str, Document]) -> dict[str, Any]:
    """The product as a ProductInput. A draft says nothing of being listed: it stays what it is."""
    listing = product["listing"]
    plain = ("values", "price", "original_price", "merchant_sku", "barcode", "image", "weight_g", "volume_cm3")
    skus = [
        {**{name: sku[name] for name in plain}, "quantity": stock[sku["sku_id"]]["on_hand"]}
        if sku["sku_id"] in stock
        else {name: sku[name] for name in plain}
        for sku in listing["skus"]
    ]
    told = {"external_id": product["external_id"], **listing, "skus": skus}
    return told if product["state"] == State.DRAFT else {**told, "listed": product["state"] == State.LISTED}


def amount(units: int, currency: str) -> str:
    """1990 CNY → ``19.90``."""
    return f"{Decimal(units).scaleb(-MINOR_DIGITS[currency]):f}"


def _count(number: int) -> str:
    return str(number) if number else ""


def _freight(freight: Document, currency: str) -> dict[str, str]:
    if freight["kind"] == "carriers":
        return {f"freight_{each['carrier_class']}": amount(each["fee"], currency) for each in freight["carrier_fees"]}
    if freight["kind"] == "template":
        return {"freight_template": str(freight["template_id"])}
    return {"freight": "free" if freight["kind"] == "free" else amount(freight["fee"], currency)}


def _assurances(listing: Document) -> dict[str, str]:
    terms, location = listing.get("terms", {}), listing.get("location", {})
    certificates = [(found["kind"], found["file_hash"]) for found in listing.get("certificates", ())]
    return {
        "terms": ";".join(name for name, granted in terms.items() if granted),
        **{f"location_{name}": text for name, text in location.items()},
        "certificates": _properties(certificates),
    }


def _category(category_id: int, tree: Tree) -> str:
    if category_id == tree.uncategorised:
        return ""
    category = tree.get(category_id)
    found = tree.find(category.path) if category else None
    return category.path if category and found and found.id == category_id else str(category_id)


def _listed(members: Sequence[object]) -> str:
    return json.dumps(members, ensure_ascii=False)


def _images(urls: Sequence[str]) -> str:
    usual = " ".join(urls)
    return usual if images_of(usual) == tuple(urls) else _listed(urls)


def _properties(pairs: Sequence[tuple[str, str]]) -> str:
    usual = ";".join(f"{name}={value}" for name, value in pairs)
    return usual if properties_of(usual.strip()) == (tuple(pairs), []) else _listed(pairs)


def _description(blocks: Sequence[Document]) -> str:
    """The shortest of text, HTML and JSON that reads back as these blocks."""
    wanted = tuple(pair for block in blocks for pair in block.items())
    if len(wanted) == 1 and wanted[0][0] == "text" and _reads_as(wanted[0][1], wanted):
        return str(wanted[0][1])
    shown = "".join(
        f'<img src="{html.escape(content)}">' if kind == "image" else f"<p>{_escaped(content)}</p>"
        for kind, content in wanted
    )
    return shown if _reads_as(shown, wanted) else _listed(blocks)


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")


def _reads_as(text: str, wanted: tuple[tuple[str, str], ...]) -> bool:
    return text == text.strip() and listed_blocks(text) is None and detail_blocks(text) == wanted
