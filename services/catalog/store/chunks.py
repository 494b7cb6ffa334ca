"""Applying a chunk: two or three reads whatever its size, then one transaction with every write of it.

The chunk's own row carries the results, the stock movements and the event, under an id that follows from its cause: applied twice, it
meets itself.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.catalog.model import freight
from services.catalog.model.chunks import Item, Known, Plan, Shop, says_anew
from services.catalog.model.imports import RUN, chunk_id
from services.catalog.model.named import named
from services.catalog.model.names import own_part, product_name, sku_name
from services.catalog.model.planning import plan
from services.catalog.model.products import ProductDraft, State, sku_ids
from services.catalog.model.undo import before
from services.catalog.store import SERVICE, Store
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Shortfall, Taken, Transaction
from services.chassis.decisions import Fact
from services.chassis.errors import Refusal
from services.chassis.mongo import Document

CHUNKS_AT_ONCE: Final = 8


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
    """What a plan for ``items`` needs: the known products, and for those that change their stock, the owners of their codes and the
    freight templates that they name.
    """
    drafts = [(item, item.draft) for item in items if item.draft is not None]
    there = store.named(product_name(shop_id, draft.external_id) for _, draft in drafts)
    ids = {row["product_id"] for row in there.values()}
    products = {row["external_id"]: row for row in store.products_by_id(ids).values() if row["state"] != State.DELETED}
    anew = [draft for item, draft in drafts if says_anew(item, draft, products.get(draft.external_id))]
    codes = store.named(sku_name(shop_id, sku.merchant_sku) for draft in anew for sku in draft.skus if sku.merchant_sku)
    owners = {own_part(name): row["product_id"] for name, row in codes.items()}
    wanted = {draft.freight.template_id for draft in anew if draft.freight.template_id}
    templates = {
        number: row for number, row in store.templates(shop_id, wanted).items() if row["state"] == freight.ACTIVE
    }
    return Known(products, store.stock_by_id(_skus(anew, products)), owners, templates)


def _skus(drafts: Iterable[ProductDraft], products: Mapping[str, Document]) -> Iterator[str]:
    """The SKUs that the known ones of these products have, and those that they are to have."""
    for draft in drafts:
        product = products.get(draft.external_id)
        if product is not None:
            yield from (sku["sku_id"] for sku in product["listing"]["skus"])
            yield from sku_ids(draft, product["_id"])


def failed_rows(store: Store, import_id: str) -> frozenset[int]:
    """The rows in the file where the products begin that failed when the import was applied."""
    job = store.imports.find_one({"_id": import_id}, {"next_chunk": 1}) or {"next_chunk": 0}
    rows: set[int] = set()
    for start in range(0, job["next_chunk"], CHUNKS_AT_ONCE):
        numbers = range(start, min(start + CHUNKS_AT_ONCE, job["next_chunk"]))
        wanted = [chunk_id(import_id, RUN, number) for number in numbers]
        for chunk in store.chunks.find({"_id": {"$in": wanted}}, {"results.row": 1, "results.outcome": 1}):
            rows.update(result["row"] for result in chunk["results"] if result["outcome"] == "failed")
    return frozenset(rows)


def planned(store: Store, shop: Shop, items: list[Item], most_failed: int | None = None) -> Plan:
    """What ``items`` come to as the database is now; nothing is written."""
    wanted = _with_products(store, shop, items)
    return plan(wanted, read_known(store, shop.shop_id, wanted), shop, ids.product_id, most_failed=most_failed)


def apply_chunk(
    store: Store,
    shop: Shop,
    items: list[Item],
    chunk: Chunk,
    *,
    most_failed: int | None = None,
    only_if_clean: bool = False,
    also: Callable[[Transaction, Plan], None] = lambda _transaction, _plan: None,
    ahead: Plan | None = None,
) -> Plan:
    """Write what ``items`` say, in one transaction; the plan that was written.

    ``also`` adds writes that depend on it (the import's progress). With ``only_if_clean`` a plan with failures is answered
    unwritten. ``ahead``: a plan that was made a moment ago, tried first; its writes are guarded by what it read, like those of any plan.
    Raises ChunkAppliedError when the chunk is there already, Refusal VERSION_CONFLICT when its products keep changing.
    """
    waiting = [ahead] if ahead is not None else []

    def attempt() -> tuple[Transaction | None, Plan]:
        made = waiting.pop() if waiting else planned(store, shop, items, most_failed)
        if only_if_clean and made.count("failed"):
            return None, made
        transaction = Transaction(store.client)
        transaction.insert(store.chunks, chunk_row(store, shop, chunk, made))
        add_products(store, transaction, made, chunk)
        if chunk.import_id:
            transaction.insert_many(store.befores, _befores(made, chunk))
        also(transaction, made)
        return transaction, made

    return settled(store, chunk.chunk_id, attempt)


def _with_products(store: Store, shop: Shop, items: list[Item]) -> list[Item]:
    by_id = {item.product_id for item in items if item.product_id}
    return named(items, store.products_by_id(by_id), shop.shop_id) if by_id else items


def settled(store: Store, identity: str, attempt: Callable[[], tuple[Transaction | None, Plan]]) -> Plan:
    """Commit what ``attempt`` reads and plans, again and again while its products change meanwhile; no transaction: nothing to write.

    Raises ChunkAppliedError, Refusal VERSION_CONFLICT.
    """
    until = clock.monotonic() + commit.PATIENCE_S
    while True:
        transaction, made = attempt()
        if transaction is None:
            return made
        try:
            transaction.commit()
        except (Shortfall, Taken):
            row = store.chunks.find_one({"_id": identity})
            if row is not None:
                raise ChunkAppliedError(row) from None
            if clock.monotonic() > until:
                message = "the products of this call kept changing; try again"
                raise Refusal("VERSION_CONFLICT", message, retry_after_s=1) from None
            time.sleep(random.uniform(0, 0.02))  # noqa: S311 - spreads writers, no secret
        else:
            return made


def _befores(made: Plan, chunk: Chunk) -> list[Document]:
    """The products that an import changes, as they are, for as long as its file is kept."""
    fresh: dict[str, list[str]] = {}
    for row in made.stock:
        fresh.setdefault(row["product_id"], []).append(row["_id"])
    expires = clock.wall() + policy.load(SERVICE).span("import_file_kept", clock.business())
    return [
        {
            "_id": f"{chunk.chunk_id}:{product['_id']}",
            "product_id": product["_id"],
            **before(product, fresh.get(product["_id"], [])),
            "expire_at": expires,
        }
        for product, change in made.changes
        if "state" in change.set
    ]


def add_products(store: Store, transaction: Transaction, made: Plan, chunk: Chunk) -> None:
    """Everything that ``made`` writes to products, their names, stock and versions."""
    for row in made.unnamed:
        transaction.delete(store.names, row)
    for condition, update in made.stock_updates:
        transaction.update(store.stock, condition, update)
    for product, change in made.changes:
        transaction.change(store.products, dict(product), change, chunk.cause)
    for template in made.templates.values():  # not while it is deleted, or begins to count something else
        condition = {"_id": template["_id"], "state": freight.ACTIVE, "valuation": template["valuation"]}
        transaction.update(store.freight_templates, condition, {"$inc": {"attached": 1}})
    transaction.insert_many(store.products, [_prepared(store, row, chunk.cause) for row in made.products])
    transaction.insert_many(store.names, made.named)
    transaction.insert_many(store.stock, made.stock)
    transaction.insert_many(store.versions, made.versions)


def _prepared(store: Store, product: Document, cause: Cause) -> Document:
    return commit.prepare(store.products, {**product, "position": product["_id"]}, cause)


def chunk_row(store: Store, shop: Shop, chunk: Chunk, made: Plan) -> Document:
    """The chunk's own row, with its results, movements and event."""
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
