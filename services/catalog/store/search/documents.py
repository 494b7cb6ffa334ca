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

VERSION: Final = 3
"""Raise it when anything here changes: every machine then builds its index anew."""
BETWEEN: Final = "\x1f"
IS: Final = "\x1e"
WORDS: Final = "words"
LISTED_AS: Final = "listing_version"
"""The field of a hit that tells as which version the product was indexed; for checking the index, and shown to nobody."""
TEXT_LONGEST: Final = 400
"""Letters of the description that are indexed."""
AXES_MOST: Final = 3
"""Axes of a SKU, and so values that a question can name together."""
SAID_MOST: Final = 6
"""Values of one SKU, and words in them, that a question may name together."""
MANY_SKUS: Final = 60
"""From so many on only whole values are indexed together."""


def schema() -> tantivy.Schema:
    """id and shop as they are; name by words, by letters and by the last letters of its words; own: what holds for all SKUs; body: everything
    else that is said; skus, values and whole: selections, with axes, of values and words in them, and single whole values.
    """
    build = tantivy.SchemaBuilder()
    build.add_text_field("id", stored=True, tokenizer_name="raw")
    build.add_text_field("shop", tokenizer_name="raw", index_option="basic")
    build.add_unsigned_field("categories", indexed=True)
    build.add_unsigned_field("category", indexed=True, fast=True)
    build.add_text_field("name", tokenizer_name=WORDS)
    build.add_text_field("letters", tokenizer_name=WORDS)
    build.add_text_field("heads", tokenizer_name=WORDS, index_option="basic")
    build.add_text_field("own", tokenizer_name=WORDS, index_option="basic")
    build.add_text_field("body", tokenizer_name=WORDS, index_option="freq")
    build.add_text_field("skus", tokenizer_name="raw", index_option="basic")
    build.add_text_field("values", tokenizer_name="raw", index_option="basic")
    build.add_text_field("whole", tokenizer_name="raw", index_option="basic")
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
    made.add_text("heads", " ".join(words.heads(listing["name"])))
    made.add_text("own", " ".join(_unique(words.terms(_own(listing, path)))))
    made.add_text("body", " ".join(words.terms(_body(listing, path))))
    for term in _unique(selection(pairs) for sku in listing["skus"] for pairs in _selections(listing["axes"], sku)):
        made.add_text("skus", term)
    for term in _unique(_together(listing["skus"])):
        made.add_text("values", term)
    for term in _unique(words.plain(value) for sku in listing["skus"] for value in sku["values"]):
        made.add_text("whole", term)
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
    """The term of values that one SKU has, or of words in them, whatever their axes."""
    return BETWEEN.join(sorted(words.plain(value) for value in values))


def said_by(values: Iterable[str]) -> list[str]:
    """What may be said of a SKU with these values: each whole, then the words in them (大红色: 红色; XL(175/96A): xl)."""
    whole = [words.plain(value) for value in values]
    parts = (word for value in whole for word in words.terms(value) if len(word) > 1)
    return list(_unique([*whole, *parts]))


def _unique(found: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(found)


def _selections(axes: list[str], sku: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], ...]]:
    pairs = list(zip(axes, sku["values"], strict=True))
    for size in range(1, len(pairs) + 1):
        yield from combinations(pairs, size)


def _together(skus: list[Document]) -> Iterator[str]:
    """The terms of what can be said of one SKU at once: up to as many words as a SKU has axes."""
    for sku in skus:
        most = SAID_MOST if len(skus) < MANY_SKUS else len(sku["values"])
        said = said_by(sku["values"])[:most]
        for size in range(1, AXES_MOST + 1):
            yield from map(values_of, combinations(said, size))


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
    return " ".join([*_holding(listing, path), *values, *codes, said])


def _own(listing: Document, path: list[Category]) -> str:
    """What is said of the product and so of every SKU; a description says too much."""
    return " ".join([listing["name"], *_holding(listing, path)])


def _holding(listing: Document, path: list[Category]) -> Iterator[str]:
    yield from (category.name for category in path)
    yield from (found["value"] for found in listing["properties"])


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
