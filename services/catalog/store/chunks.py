"""Applying a chunk: two or three reads whatever its size, then one transaction with every write of it.

The chunk's own row carries the results, the stock movements and the event, under an id that follows from its cause: applied twice, it
meets itself.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.catalog.model.chunks import Item, Known, Plan, Shop, external_key, merchant_key, plan, says_anew
from services.catalog.store import Store
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Fact
from services.chassis.errors import Refusal
from services.chassis.mongo import Document


@dataclass(frozen=True, slots=True)
class Chunk:
    """Which chunk of what: ``import_id`` is empty for a bulk call."""

    chunk_id: str
    import_id: str
    number: int
    cause: Cause


@dataclass(slots=True)
class ChunkAppliedError(Exception):
    """The chunk is there already (another copy of this process, or this call before): its row."""

    row: Document = field(default_factory=dict)


def read_known(store: Store, shop_id: str, items: list[Item]) -> Known:
    """What a plan for ``items`` needs: the known products, and for those that change their stock and the owners of their codes."""
    drafts = [item.draft for item in items if item.draft is not None]
    keys = [external_key(shop_id, draft.external_id) for draft in drafts]
    products = {row["external_id"]: row for row in store.products.find({"external_key": {"$in": keys}})} if keys else {}
    anew = [draft for draft in drafts if says_anew(draft, products.get(draft.external_id))]
    changing = [products[draft.external_id]["_id"] for draft in anew if draft.external_id in products]
    codes = [merchant_key(shop_id, sku.merchant_sku) for draft in anew for sku in draft.skus if sku.merchant_sku]
    owners = {}
    if codes:
        found = store.stock.find({"merchant_key": {"$in": codes}}, {"merchant_key": 1, "product_id": 1})
        owners = {row["merchant_key"].partition("/")[2]: row["product_id"] for row in found}
    return Known(products, store.stock_of(changing) if changing else {}, owners)


def apply_chunk(
    store: Store,
    shop: Shop,
    items: list[Item],
    chunk: Chunk,
    *,
    most_failed: int | None = None,
    only_if_clean: bool = False,
    also: Callable[[Transaction, Plan], None] = lambda _transaction, _plan: None,
) -> Plan:
    """Write what ``items`` say, in one transaction; the plan that was written.

    ``also`` adds writes that depend on it (the import's progress). With ``only_if_clean`` a plan with failures is answered
    unwritten. Raises ChunkAppliedError when the chunk is there already, Refusal VERSION_CONFLICT when its products keep changing.
    """
    until = clock.monotonic() + commit.PATIENCE_S
    while True:
        made = plan(items, read_known(store, shop.shop_id, items), shop, ids.product_id, most_failed=most_failed)
        if only_if_clean and made.count("failed"):
            return made
        transaction = Transaction(store.client)
        transaction.insert(store.chunks, _row(store, shop, chunk, made))
        _products(store, transaction, made, chunk)
        also(transaction, made)
        try:
            transaction.commit()
        except (Shortfall, Taken):
            row = store.chunks.find_one({"_id": chunk.chunk_id})
            if row is not None:
                raise ChunkAppliedError(row) from None
            if clock.monotonic() > until:
                message = "the products of this call kept changing; try again"
                raise Refusal("VERSION_CONFLICT", message, retry_after_s=1) from None
            time.sleep(random.uniform(0, 0.02))  # noqa: S311 - spreads writers, no secret
        else:
            return made


def _products(store: Store, transaction: Transaction, made: Plan, chunk: Chunk) -> None:
    for condition, update in made.stock_updates:
        transaction.update(store.stock, condition, update)
    for product, change in made.changes:
        transaction.change(store.products, dict(product), change, chunk.cause)
    transaction.insert_many(store.products, [_prepared(store, row, chunk.cause) for row in made.products])
    transaction.insert_many(store.stock, made.stock)
    transaction.insert_many(store.versions, made.versions)


def _prepared(store: Store, product: Document, cause: Cause) -> Document:
    return commit.prepare(store.products, {**product, "position": product["_id"]}, cause)


def _row(store: Store, shop: Shop, chunk: Chunk, made: Plan) -> Document:
    row: Document = {
        "_id": chunk.chunk_id,
        "import_id": chunk.import_id,
        "shop_id": shop.shop_id,
        "number": chunk.number,
        **made.counts(),
        "results": results_of(made),
        "movements": made.movements,
        "counted": False,
    }
    written = made.count("created") + made.count("updated")
    facts = (Fact("jishi.catalog.import.chunk_applied.v1", _told(row, made), shop.shop_id),) if written else ()
    return commit.prepare(store.chunks, row, chunk.cause, facts=facts)


def _told(row: Document, made: Plan) -> dict[str, Any]:
    return {
        "import_id": row["import_id"],
        "shop_id": row["shop_id"],
        "chunk": row["number"],
        **made.counts(),
        "product_ids": [result.product_id for result in made.results if result.outcome in ("created", "updated")],
        "categories": [
            {"category_id": category, "products": gain} for category, gain in made.categories.items() if gain
        ],
        "chunk_id": row["_id"],
    }


def results_of(made: Plan) -> list[Document]:
    """The results as rows of a chunk: {row, external_id, product_id, outcome, problems?}."""
    rows = []
    for result in made.results:
        row: Document = {
            "row": result.row,
            "external_id": result.external_id,
            "product_id": result.product_id,
            "outcome": result.outcome,
        }
        if result.problems:
            row["problems"] = [
                {"row": found.row, "field": found.field, "reason": found.reason, "message": found.message}
                for found in result.problems
            ]
        rows.append(row)
    return rows
