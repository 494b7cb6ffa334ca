"""Bulk calls on products that are there: a handful of round trips whatever the number of items, then one transaction with all of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from services.catalog.commands.products import shop_of
from services.catalog.model import imports
from services.catalog.model.bulk import (
    BulkPlan,
    Found,
    Price,
    ProductRef,
    Results,
    SkuRef,
    plan_deletions,
    plan_prices,
    plan_states,
)
from services.catalog.model.chunks import Shop
from services.catalog.model.names import product_name, sku_name
from services.catalog.model.products import State
from services.catalog.model.restock import StockItem, StockPlan, plan_stock
from services.catalog.store import BATCH, SERVICE, Store, limits
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.decisions import Fact
from services.chassis.errors import Refusal, Violation
from services.chassis.mongo import Document


def stock_item(raw: Mapping[str, Any]) -> StockItem:
    """One change of stock as a request has it."""
    ref = SkuRef(raw["sku_id"], raw["merchant_sku"])
    return StockItem(ref, raw["request_id"], raw["delta"], raw.get("quantity"), raw.get("expected_on_hand"))


def price(raw: Mapping[str, Any]) -> Price:
    """One new price as a request has it."""
    return Price(SkuRef(raw["sku_id"], raw["merchant_sku"]), raw["price"], raw.get("original_price"))


def product_ref(raw: Mapping[str, Any]) -> ProductRef:
    """One product as a request names it."""
    return ProductRef(raw["product_id"], raw["external_id"])


class _Planned(Protocol):
    @property
    def results(self) -> Results: ...


P = TypeVar("P", bound=_Planned)


@dataclass(frozen=True, slots=True)
class Bulk:
    """One bulk call: for which shop, why, under which policy (reject_all, reject_failed, stop_after_n with ``max_errors``)."""

    store: Store
    cause: Cause
    shop_id: str
    policy: str = ""
    max_errors: int = 0

    def run(
        self, size: int, plan: Callable[[Shop, Results], P], write: Callable[[Shop, Transaction, P], None]
    ) -> Outcome:
        """Plan and write all items, or answer as the first time. The outcome's answer has ``results`` and the counts.

        ``plan`` runs again when somebody else changed what it read. Raises Refusal INVALID_ARGUMENT for too many items or a wrong
        policy, CONDITION_UNMET, IDEMPOTENCY_KEY_REUSED, VERSION_CONFLICT when the products keep changing.
        """
        shop = shop_of(self.store, self.shop_id)
        self._check(size, shop)
        until = clock.monotonic() + commit.PATIENCE_S
        while True:
            before = commit.answered(self.store.database, self.cause)
            if before is not None:
                return Outcome({}, before, replayed=True, changed=False)
            made = plan(shop, Results(self.max_errors if self.policy == "stop_after_n" else None))
            results = made.results
            if self.policy == "reject_all" and results.failed:
                refused = Results(rows=results.rejected())
                return Outcome({}, {"results": refused.rows, **refused.counts()}, changed=False)
            answer = {"results": results.rows, **results.counts()}
            transaction = Transaction(self.store.client)
            write(shop, transaction, made)
            transaction.answer(self.store.database, self.cause, answer)
            try:
                transaction.commit()
            except (Shortfall, Taken):
                if clock.monotonic() > until:
                    message = "the products of this call kept changing; try again"
                    raise Refusal("VERSION_CONFLICT", message, retry_after_s=1) from None
            else:
                return Outcome({}, answer)

    def _check(self, size: int, shop: Shop) -> None:
        most = policy.load(SERVICE).value("bulk_items", shop.now)
        found = imports.policy_problems(self.policy, self.max_errors)
        if not 1 <= size <= most:
            found.insert(0, Violation("items", f"between 1 and {most} items a call; split them"))
        if found:
            raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def update_prices(bulk: Bulk, items: Sequence[Price]) -> Outcome:
    """New prices of SKUs."""
    store = bulk.store

    def plan(shop: Shop, results: Results) -> BulkPlan:
        stock = _stock(store, shop, [item.ref for item in items])
        rows = {row["_id"]: row for row in stock.values()}
        found = Found(
            _own(store.products_by_id({row["product_id"] for row in rows.values()}).values(), shop),
            {identity: row["product_id"] for identity, row in rows.items()},
            {ref.merchant_sku: row["_id"] for ref, row in stock.items() if ref.merchant_sku},
        )
        return plan_prices(items, found, shop.now, limits(shop.now).price, results)

    return bulk.run(len(items), plan, partial(_write, bulk))


def update_states(bulk: Bulk, items: Sequence[tuple[ProductRef, str]]) -> Outcome:
    """Products put on sale or taken off. Raises Refusal INVALID_ARGUMENT for a state that is neither, as ``Bulk.run`` besides."""
    wrong = tuple(
        Violation(f"items[{number}].state", "must be listed or delisted; DELETE goes by products:bulkDelete")
        for number, (_, state) in enumerate(items)
        if state not in (State.LISTED, State.DELISTED)
    )
    if wrong:
        raise Refusal("INVALID_ARGUMENT", f"{wrong[0].field}: {wrong[0].message}", wrong)
    targets = [(ref, State(state)) for ref, state in items]

    def plan(shop: Shop, results: Results) -> BulkPlan:
        found = _products(bulk.store, shop, [ref for ref, _ in items])
        return plan_states(targets, found, bulk.store.tree(), results)

    return bulk.run(len(items), plan, partial(_write, bulk))


def delete(bulk: Bulk, refs: Sequence[ProductRef]) -> Outcome:
    """Products gone for good."""
    store = bulk.store

    def plan(shop: Shop, results: Results) -> BulkPlan:
        most = policy.load(SERVICE).value("bulk_names", shop.now)
        return plan_deletions(refs, _products(store, shop, refs), most, results)

    def write(shop: Shop, transaction: Transaction, made: BulkPlan) -> None:
        _write(bulk, shop, transaction, made, deleted=len(made.changes))
        for row in made.unnamed:
            transaction.delete(store.names, row)

    return bulk.run(len(refs), plan, write)


def update_stock(bulk: Bulk, items: Sequence[StockItem]) -> Outcome:
    """Changes of stock. An item without a request_id counts under the call's own key."""
    store = bulk.store

    def plan(shop: Shop, results: Results) -> StockPlan:
        rows = [_movement(shop, bulk.cause, number, item) for number, item in enumerate(items)]
        before = {
            row["_id"]: row
            for row in store.movements.find({"_id": {"$in": [row["_id"] for row in rows]}}, batch_size=BATCH)
        }
        stock = _stock(store, shop, [item.ref for item in items])
        return plan_stock(items, rows, stock, before, limits(shop.now).stock, results)

    def write(_shop: Shop, transaction: Transaction, made: StockPlan) -> None:
        for condition, update in made.updates:
            transaction.update(store.stock, condition, update)
        transaction.insert_many(store.movements, made.movements)

    return bulk.run(len(items), plan, write)


# ------------------------------------------------------------------------------------------------------------ reads and writes


def _own(rows: Iterable[Document], shop: Shop) -> dict[str, Document]:
    return {row["_id"]: row for row in rows if row["shop_id"] == shop.shop_id}


def _stock(store: Store, shop: Shop, refs: Sequence[SkuRef]) -> dict[SkuRef, Document]:
    """The shop's stock rows by how items name them."""
    names = {ref: sku_name(shop.shop_id, ref.merchant_sku) for ref in refs if ref.merchant_sku}
    coded = store.named(set(names.values()))
    ids = {ref: coded[name]["sku_id"] for ref, name in names.items() if name in coded}
    ids |= {ref: ref.sku_id for ref in refs if ref.sku_id}
    rows = _own(store.stock_by_id(ids.values()).values(), shop)
    return {ref: rows[identity] for ref, identity in ids.items() if identity in rows}


def _products(store: Store, shop: Shop, refs: Sequence[ProductRef]) -> Found:
    there = store.named({product_name(shop.shop_id, ref.external_id) for ref in refs if ref.external_id})
    wanted = {ref.product_id for ref in refs if ref.product_id} | {row["product_id"] for row in there.values()}
    return Found(_own(store.products_by_id(wanted).values(), shop))


def _write(bulk: Bulk, shop: Shop, transaction: Transaction, made: BulkPlan, *, deleted: int = 0) -> None:
    for row, change in made.changes.values():
        transaction.change(bulk.store.products, dict(row), change, bulk.cause)
    transaction.insert_many(bulk.store.versions, made.versions)
    if made.changes:
        transaction.insert(bulk.store.chunks, _told(bulk, shop, made, deleted))


def _told(bulk: Bulk, shop: Shop, made: BulkPlan, deleted: int) -> Document:
    """The chunk of a bulk call: who follows the products hears of it, and those gone from a category are counted like those that came."""
    chunk_id = ids.derived_id("chk", bulk.cause.id)
    counts = {
        "created": 0,
        "updated": len(made.changes) - deleted,
        "unchanged": made.results.counts()["unchanged"],
        "failed": made.results.failed,
    }
    told: Mapping[str, Any] = {
        "import_id": "",
        "shop_id": shop.shop_id,
        "chunk": 0,
        **counts,
        "product_ids": list(made.changes),
        "categories": [{"category_id": category, "products": gain} for category, gain in made.categories.items()],
        "chunk_id": chunk_id,
    }
    row: Document = {"_id": chunk_id, "import_id": "", "shop_id": shop.shop_id, "number": 0, **counts}
    row |= {"deleted": deleted, "results": [], "movements": [], "counted": False}
    fact = Fact("jishi.catalog.import.chunk_applied.v1", told, shop.shop_id)
    return commit.prepare(bulk.store.chunks, row, bulk.cause, facts=(fact,))


def _movement(shop: Shop, cause: Cause, number: int, item: StockItem) -> Document:
    """The row of one change under the id by which it happens once; what it moves is told when it is planned."""
    key = f"req:{shop.shop_id}:{item.request_id}" if item.request_id else f"{cause.id}/{number}"
    return {
        "_id": key,
        "sku_id": item.ref.sku_id,
        "shop_id": shop.shop_id,
        "delta": 0,
        "kind": "adjusted",
        "at": shop.now,
    }
