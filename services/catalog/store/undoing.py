"""Undoing a chunk of an import: a few reads, then one transaction with everything that goes back."""

from collections.abc import Callable, Iterator, Mapping

from services.catalog.model import freight
from services.catalog.model.chunks import Plan, Shop
from services.catalog.model.names import names_of
from services.catalog.model.undo import Past, plan_undo, template_again
from services.catalog.model.versions import version_id
from services.catalog.store import BATCH, Store
from services.catalog.store.chunks import Chunk, add_products, chunk_row, settled
from services.chassis.commit import Transaction
from services.chassis.mongo import Document

LINES: int = 500
"""SKU ids in one question."""


def read_past(store: Store, import_id: str, chunk_id: str) -> Past:
    """What a plan to undo the chunk ``chunk_id`` of the import needs."""
    row = store.chunks.find_one({"_id": chunk_id})
    if row is None:
        return Past(import_id, [], [])
    changed = [result for result in row["results"] if result["outcome"] in ("created", "updated")]
    ids = [result["product_id"] for result in changed]
    kept = [f"{chunk_id}:{result['product_id']}" for result in changed if result["outcome"] == "updated"]
    found = store.befores.find({"_id": {"$in": kept}}, batch_size=BATCH) if kept else ()
    befores = {was["product_id"]: was for was in found}
    products = store.products_by_id(ids) if ids else {}
    stock = store.stock_by_id(_skus(store, products, befores))
    made = {result["product_id"] for result in changed if result["outcome"] == "created"}
    return Past(
        import_id,
        changed,
        row["movements"],
        befores,
        products,
        stock,
        _sold(store, [identity for identity, found in stock.items() if found["product_id"] in made]),
        _owners(store, befores, products),
        _templates(store, row["shop_id"], befores, products),
    )


def _skus(store: Store, products: Mapping[str, Document], befores: Mapping[str, Document]) -> Iterator[str]:
    """The SKUs that these products have now, those that they had or began to have when the import changed them, and of those that the
    import made also what other imports gave and took since: buyers may hold some.
    """
    made = [row for identity, row in products.items() if identity not in befores]
    old = [version_id(row["_id"], number) for row in made for number in range(1, row["listing_version"])]
    found = store.versions.find({"_id": {"$in": old}}, {"listing.skus.sku_id": 1}, batch_size=BATCH) if old else ()
    yield from (sku["sku_id"] for row in found if "listing" in row for sku in row["listing"]["skus"])
    yield from (sku["sku_id"] for row in (*products.values(), *befores.values()) for sku in row["listing"]["skus"])
    yield from (sku_id for was in befores.values() for sku_id in was["new_skus"])


def _templates(
    store: Store, shop_id: str, befores: dict[str, Document], products: dict[str, Document]
) -> dict[int, Document]:
    wanted = {template_again(products[key], was) for key, was in befores.items() if key in products} - {0}
    return {number: row for number, row in store.templates(shop_id, wanted).items() if row["state"] == freight.ACTIVE}


def _sold(store: Store, sku_ids: list[str]) -> dict[str, int]:
    """Units of these SKUs that orders took and did not give back."""
    sold: dict[str, int] = {}
    for start in range(0, len(sku_ids), LINES):
        asked = set(sku_ids[start : start + LINES])
        for row in store.movements.find(
            {"movements.sku_id": {"$in": sorted(asked)}}, {"movements": 1}, batch_size=BATCH
        ):
            for movement in row["movements"]:
                if movement["sku_id"] in asked:
                    sold[movement["sku_id"]] = sold.get(movement["sku_id"], 0) - movement["delta"]
    return sold


def _owners(store: Store, befores: dict[str, Document], products: dict[str, Document]) -> dict[str, str]:
    again = (
        {**products[identity], "state": was["state"], "listing": was["listing"]}
        for identity, was in befores.items()
        if identity in products
    )
    names = (name for row in again for name in names_of(row))
    return {name: row["product_id"] for name, row in store.named(names).items()}


def undo_chunk(
    store: Store,
    shop: Shop,
    origin: tuple[str, str],
    chunk: Chunk,
    also: Callable[[Transaction, Plan], None] = lambda _transaction, _plan: None,
) -> Plan:
    """Undo the chunk ``origin`` (import id, chunk id) as ``chunk``; the plan that was written. ``also`` adds writes.

    Raises ChunkAppliedError when it is done already, Refusal VERSION_CONFLICT when its products keep changing.
    """

    def attempt() -> tuple[Transaction, Plan]:
        made, movements = plan_undo(read_past(store, *origin), shop.now)
        transaction = Transaction(store.client)
        transaction.insert(store.chunks, chunk_row(store, shop, chunk, made))
        add_products(store, transaction, made, chunk)
        transaction.insert_many(store.movements, movements)
        also(transaction, made)
        return transaction, made

    return settled(store, chunk.chunk_id, attempt)
