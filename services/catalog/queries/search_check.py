"""Whether the search index holds what is on sale, shop by shop."""

import json
from collections.abc import Iterator
from typing import Final

import tantivy

from services.catalog.model.products import State
from services.catalog.store import BATCH, FIRST, LAST, Store
from services.catalog.store.search.documents import LISTED_AS
from services.chassis.errors import not_found
from services.chassis.mongo import Document

PAGES: Final = (20, 100)
"""Shops that are answered unless something is said, and at most."""
NAMED_MOST: Final = 20
"""Products of each kind that an answer names."""


def one(store: Store, index: tantivy.Index, shop_id: str) -> Document:
    """A shop as SearchedShop shows it. Raises Refusal NOT_FOUND."""
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    return _compared(store, index, shop)


def page(store: Store, index: tantivy.Index, after: str | None, size: int) -> tuple[list[Document], str | None]:
    """Shops by id, and the id after which the next page begins."""
    query = {"_id": {"$gt": after or "", "$lt": LAST}}
    rows = list(store.shops.find(query, {"state": 1}).sort("_id", 1).limit(size + 1))
    shown = rows[:size]
    return [_compared(store, index, row) for row in shown], shown[-1]["_id"] if len(rows) > size else None


def _compared(store: Store, index: tantivy.Index, shop: Document) -> Document:
    wanted = dict(_on_sale(store, shop["_id"])) if shop["state"] == "open" else {}
    held = dict(_held(index, shop["_id"]))
    return {
        "shop_id": shop["_id"],
        "on_sale": len(wanted),
        "held": len(held),
        "missing": sorted(wanted.keys() - held.keys())[:NAMED_MOST],
        "outdated": sorted(found for found in wanted.keys() & held.keys() if wanted[found] != held[found])[:NAMED_MOST],
        "surplus": sorted(held.keys() - wanted.keys())[:NAMED_MOST],
    }


def _on_sale(store: Store, shop_id: str) -> Iterator[tuple[str, int]]:
    """(id, version of the listing) of everything that the shop has on sale."""
    query = {"shop_id": shop_id, "state": State.LISTED, "position": {"$gt": FIRST, "$lt": LAST}}
    for row in store.products.find(query, {LISTED_AS: 1}, batch_size=BATCH):
        yield row["_id"], row[LISTED_AS]


def _held(index: tantivy.Index, shop_id: str) -> Iterator[tuple[str, int]]:
    """The same as the index has it."""
    searcher = index.searcher()
    query = tantivy.Query.term_query(index.schema, "shop", shop_id, "basic")
    for _, address in searcher.search(query, max(1, searcher.num_docs), count=False).hits:
        found = searcher.doc(address)
        yield found["id"][0], int(json.loads(bytes(found["hit"][0]))[LISTED_AS])
