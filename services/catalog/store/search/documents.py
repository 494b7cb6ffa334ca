"""What of a product is indexed, and how.

Attributes must hold on one SKU: a SKU is indexed by every selection of its values (three axes: seven), so that a question for some of them is
a question for one term.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, Final

import tantivy

from services.catalog.model.categories import Category, Tree
from services.catalog.store.search import words
from services.chassis import clock
from services.chassis.mongo import Document

VERSION: Final = 2
"""Raise it when anything here changes: every machine then builds its index anew."""
BETWEEN: Final = "\x1f"
IS: Final = "\x1e"
WORDS: Final = "words"
LISTED_AS: Final = "listing_version"
"""The field of a hit that tells as which version the product was indexed; for checking the index, and shown to nobody."""
TEXT_LONGEST: Final = 400
"""Letters of the description that are indexed."""


def schema() -> tantivy.Schema:
    """id and shop as they are; name by words and by letters; body: everything else that is said; skus and values: selections."""
    build = tantivy.SchemaBuilder()
    build.add_text_field("id", stored=True, tokenizer_name="raw")
    build.add_text_field("shop", tokenizer_name="raw", index_option="basic")
    build.add_unsigned_field("categories", indexed=True)
    build.add_unsigned_field("category", indexed=True, fast=True)
    build.add_text_field("name", tokenizer_name=WORDS)
    build.add_text_field("letters", tokenizer_name=WORDS)
    build.add_text_field("body", tokenizer_name=WORDS, index_option="freq")
    build.add_text_field("skus", tokenizer_name="raw", index_option="basic")
    build.add_text_field("values", tokenizer_name="raw", index_option="basic")
    build.add_text_field("attribute", tokenizer_name="raw", index_option="basic", fast=True)
    build.add_unsigned_field("price", indexed=True, fast=True)
    build.add_unsigned_field("created", indexed=True, fast=True)
    build.add_bytes_field("hit", stored=True)
    return build.build()


def register(index: tantivy.Index) -> tantivy.Index:
    """The index with the tokenizer that our terms need: they are cut already."""
    index.register_tokenizer(WORDS, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    return index


def document(product: Mapping[str, Any], tree: Tree) -> tantivy.Document:
    """A product on sale, as it is indexed."""
    listing = product["listing"]
    path = list(_path(tree, listing["category_id"]))
    cheapest = min(listing["skus"], key=lambda sku: int(sku["price"]))
    made = tantivy.Document()
    made.add_text("id", product["_id"])
    made.add_text("shop", product["shop_id"])
    for category in path:
        made.add_unsigned("categories", category.id)
    made.add_unsigned("category", listing["category_id"])
    made.add_text("name", " ".join(words.terms(listing["name"])))
    made.add_text("letters", " ".join(words.letters(listing["name"])))
    made.add_text("body", " ".join(words.terms(_body(listing, path))))
    for term in _unique(selection(pairs) for sku in listing["skus"] for pairs in _selections(listing["axes"], sku)):
        made.add_text("skus", term)
    for term in _unique(
        values_of(value for _, value in pairs) for sku in listing["skus"] for pairs in _selections(listing["axes"], sku)
    ):
        made.add_text("values", term)
    for term in _unique(_attributes(listing)):
        made.add_text("attribute", term)
    made.add_unsigned("price", cheapest["price"])
    made.add_unsigned("created", clock.ms(product["created_at"]))
    made.add_bytes("hit", json.dumps(_hit(product, cheapest), ensure_ascii=False).encode())
    return made


def selection(pairs: Iterable[tuple[str, str]]) -> str:
    """The term of values that one SKU has, each with its axis."""
    return BETWEEN.join(sorted(f"{words.plain(axis)}{IS}{words.plain(value)}" for axis, value in pairs))


def values_of(values: Iterable[str]) -> str:
    """The term of values that one SKU has, whatever their axes."""
    return BETWEEN.join(sorted(words.plain(value) for value in values))


def _unique(found: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(found)


def _selections(axes: list[str], sku: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], ...]]:
    pairs = list(zip(axes, sku["values"], strict=True))
    for size in range(1, len(pairs) + 1):
        yield from combinations(pairs, size)


def _attributes(listing: Document) -> Iterator[str]:
    """Axis and value as they are written, for counting."""
    for sku in listing["skus"]:
        for axis, value in zip(listing["axes"], sku["values"], strict=True):
            yield f"{axis}{IS}{value}"
    for found in listing["properties"]:
        yield f"{found['name']}{IS}{found['value']}"


def _path(tree: Tree, category_id: int) -> Iterator[Category]:
    """The category and those above it."""
    category = tree.get(category_id)
    while category is not None:
        yield category
        category = tree.get(category.parent_id)


def _body(listing: Document, path: list[Category]) -> str:
    values = dict.fromkeys(value for sku in listing["skus"] for value in sku["values"])
    codes = dict.fromkeys(sku["merchant_sku"] for sku in listing["skus"] if sku.get("merchant_sku"))
    said = " ".join(block.get("text", "") for block in listing["detail"])[:TEXT_LONGEST]
    properties = (found["value"] for found in listing["properties"])
    return " ".join([*(category.name for category in path), *properties, *values, *codes, said])


def _hit(product: Mapping[str, Any], cheapest: Mapping[str, Any]) -> Document:
    """What a list of results shows."""
    listing = product["listing"]
    return {
        "product_id": product["_id"],
        "shop_id": product["shop_id"],
        "name": listing["name"],
        "image": listing["images"][0] if listing["images"] else "",
        "category_id": listing["category_id"],
        "currency": product["currency"],
        "price": cheapest["price"],
        "original_price": cheapest["original_price"],
        LISTED_AS: product["listing_version"],
    }
