"""A chunk: some products that are applied together, from an import or from one bulk call.

``plan`` compares drafts with what the database holds and says every write that follows; it writes nothing. Known products are found by
external_id. Equal digests mean *unchanged*: the merchant said the same values as last time, so nothing is written and stock that was
sold since does not come back. A quantity that differs from the one said last sets the stock; one that does not leaves it alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model.products import Listing, ProductDraft, SkuDraft, State, listing, state_after
from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision, apply

Document = Mapping[str, Any]
OUTCOMES: Final = ("created", "updated", "unchanged", "failed")
PROBLEMS_TOLD: Final = 20
"""So many problems of one product are told; more would not help to mend it."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with one product: where it stands, why (for programs), and how to mend it."""

    row: int
    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """One product to apply, or what is wrong with it. ``row``: where it begins. ``code_field``: how its source calls merchant_sku."""

    external_id: str
    row: int
    draft: ProductDraft | None
    problems: tuple[RowProblem, ...] = ()
    code_field: str = "merchant_sku"


@dataclass(frozen=True, slots=True)
class Known:
    """What the database holds: products by external_id, stock by SKU id (of those that change), owners (product ids) of merchant SKUs."""

    products: Mapping[str, Document] = field(default_factory=dict)
    stock: Mapping[str, Document] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item."""

    external_id: str
    product_id: str
    outcome: str
    row: int
    problems: tuple[RowProblem, ...] = ()


@dataclass(slots=True)
class Plan:
    """Every write of a chunk, and a result for each item.

    ``changes``: (stored product, Change); ``stock_updates``: (condition, update) in order; ``movements``: [{sku_id, delta}];
    ``categories``: category id → products more (or fewer).
    """

    results: list[Result] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    stock: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[Document, Change]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    stock_updates: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    movements: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[int, int] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        """How many items ended so."""
        return sum(result.outcome == outcome for result in self.results)

    def counts(self) -> dict[str, int]:
        """created, updated, unchanged, failed."""
        return {outcome: self.count(outcome) for outcome in OUTCOMES}


@dataclass(frozen=True, slots=True)
class Shop:
    """For whom a chunk is applied, and when (business time)."""

    shop_id: str
    currency: str
    now: datetime


def external_key(shop_id: str, external_id: str) -> str:
    """Unique over all shops: what the index on products holds."""
    return f"{shop_id}/{external_id}"


def merchant_key(shop_id: str, merchant_sku: str) -> str:
    """Unique over all shops: what the index on stock holds."""
    return f"{shop_id}/{merchant_sku}"


def says_anew(draft: ProductDraft, product: Document | None) -> bool:
    """Whether ``draft`` differs from what was said of the product last time."""
    return product is None or bool(product["source"]["digest"] != draft.digest)


def plan(
    items: list[Item], known: Known, shop: Shop, new_id: Callable[[], str], *, most_failed: int | None = None
) -> Plan:
    """The writes for ``items``. After ``most_failed`` failures the rest is skipped (None: never)."""
    out = Plan()
    seen: set[str] = set()
    codes: dict[str, str] = {}
    for item in items:
        if most_failed is not None and out.count("failed") >= most_failed:
            out.results.append(Result(item.external_id, "", "skipped", item.row))
            continue
        problems = list(item.problems)
        if item.external_id and item.external_id in seen:
            problems.append(
                RowProblem(
                    item.row,
                    "external_id",
                    "DUPLICATE_ITEM",
                    f"{item.external_id} stands twice in this call; send it once",
                )
            )
        seen.add(item.external_id)
        product = known.products.get(item.external_id)
        product_id = product["_id"] if product else new_id()
        if item.draft is not None and not problems:
            problems += _taken_codes(item, item.draft, product_id, known, codes)
        if item.draft is None or problems:
            out.results.append(
                Result(item.external_id, product["_id"] if product else "", "failed", item.row, tuple(problems))
            )
            continue
        codes.update({sku.merchant_sku: product_id for sku in item.draft.skus if sku.merchant_sku})
        outcome = _take(out, item.draft, product, product_id, known, shop)
        out.results.append(Result(item.external_id, product_id, outcome, item.row))
    return out


def _taken_codes(
    item: Item, draft: ProductDraft, product_id: str, known: Known, codes: Mapping[str, str]
) -> list[RowProblem]:
    problems = []
    for number, sku in enumerate(draft.skus):
        owner = codes.get(sku.merchant_sku) or known.owners.get(sku.merchant_sku)
        if sku.merchant_sku and owner not in (None, product_id):
            where = item.code_field if sku.row else f"skus[{number}].merchant_sku"
            message = (
                f"{sku.merchant_sku} belongs to another product of this shop; a merchant SKU is unique in its shop"
            )
            problems.append(RowProblem(sku.row or item.row, where, "MERCHANT_SKU_TAKEN", message))
    return problems


def _take(out: Plan, draft: ProductDraft, product: Document | None, product_id: str, known: Known, shop: Shop) -> str:
    if product is None:
        _create(out, draft, product_id, shop)
        return "created"
    if not says_anew(draft, product):
        return "unchanged"
    _change(out, draft, product, known, shop)
    return "updated"


def _create(out: Plan, draft: ProductDraft, product_id: str, shop: Shop) -> None:
    state = state_after(None, draft.listed)
    seen = listing(draft, product_id)
    out.products.append(
        {
            "_id": product_id,
            "shop_id": shop.shop_id,
            "external_id": draft.external_id,
            "external_key": external_key(shop.shop_id, draft.external_id),
            "currency": shop.currency,
            "state": state,
            "ever_listed": state is State.LISTED,
            "listing_version": 1,
            "listing": seen,
            "source": _source(draft, seen, {}),
        }
    )
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        out.stock.append(_new_stock(shown["sku_id"], sku, product_id, shop))
    _recount(out, draft.category_id, 1)


def _change(out: Plan, draft: ProductDraft, product: Document, known: Known, shop: Shop) -> None:
    product_id = product["_id"]
    state = state_after(product["state"], draft.listed)
    seen = listing(draft, product_id)
    values: dict[str, Any] = {
        "source": _source(draft, seen, product["source"]["quantities"]),
        "state": state,
        "ever_listed": product["ever_listed"] or state is State.LISTED,
    }
    if seen != product["listing"]:
        values["listing"] = seen
        if product["ever_listed"]:
            out.versions.append(old_version(product, shop.now))
            values["listing_version"] = product["listing_version"] + 1
    out.changes.append((product, Change(set=values)))
    if draft.category_id != product["listing"]["category_id"]:
        _recount(out, product["listing"]["category_id"], -1)
        _recount(out, draft.category_id, 1)
    _restock(out, draft, product, seen, known, shop)


def _restock(out: Plan, draft: ProductDraft, product: Document, seen: Listing, known: Known, shop: Shop) -> None:
    said = product["source"]["quantities"]
    released: list[tuple[dict[str, Any], dict[str, Any]]] = []
    claimed: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        identity = shown["sku_id"]
        row = known.stock.get(identity)
        if row is None:
            out.stock.append(_new_stock(identity, sku, product["_id"], shop))
            continue
        key = merchant_key(shop.shop_id, sku.merchant_sku) if sku.merchant_sku else None
        if row.get("merchant_key") not in (None, key):
            released.append(({"_id": identity}, {"$unset": {"merchant_key": ""}}))
        if key is not None and row.get("merchant_key") != key:
            claimed.append(({"_id": identity}, {"$set": {"merchant_key": key}}))
        if sku.quantity is not None and sku.quantity != said.get(identity):
            target = max(sku.quantity, row["reserved"])
            delta = target - row["on_hand"]
            if delta:
                condition = {"_id": identity, "on_hand": row["on_hand"], "reserved": {"$lte": target}}
                out.stock_updates.append((condition, {"$inc": {"on_hand": delta, "available": delta}}))
                out.movements.append({"sku_id": identity, "delta": delta})
    kept = {shown["sku_id"] for shown in seen["skus"]}
    gone = [shown["sku_id"] for shown in product["listing"]["skus"] if shown["sku_id"] not in kept]
    released += [({"_id": identity}, {"$unset": {"merchant_key": ""}}) for identity in gone]
    out.stock_updates[:0] = released
    out.stock_updates += claimed


def old_version(product: Document, now: datetime) -> dict[str, Any]:
    """What a buyer saw until now, as a row of its own: copied out only when it changes."""
    version = product["listing_version"]
    return {
        "_id": f"{product['_id']}:{version}",
        "product_id": product["_id"],
        "shop_id": product["shop_id"],
        "version": version,
        "currency": product["currency"],
        "external_id": product["external_id"],
        "listing": product["listing"],
        "until": now,
    }


def _new_stock(identity: str, sku: SkuDraft, product_id: str, shop: Shop) -> dict[str, Any]:
    quantity = sku.quantity or 0
    row = {
        "_id": identity,
        "product_id": product_id,
        "shop_id": shop.shop_id,
        "initial": quantity,
        "on_hand": quantity,
        "reserved": 0,
        "available": quantity,
    }
    if sku.merchant_sku:
        row["merchant_key"] = merchant_key(shop.shop_id, sku.merchant_sku)
    return row


def _source(draft: ProductDraft, seen: Listing, said: Mapping[str, int]) -> dict[str, Any]:
    """The digest and what was said last of each SKU's stock: a draft without a quantity leaves standing what was ``said`` before."""
    quantities = {}
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        quantity = said.get(shown["sku_id"]) if sku.quantity is None else sku.quantity
        if quantity is not None:
            quantities[shown["sku_id"]] = quantity
    return {"digest": draft.digest, "quantities": quantities}


def _recount(out: Plan, category_id: int, by: int) -> None:
    out.categories[category_id] = out.categories.get(category_id, 0) + by


# ------------------------------------------------------------------------------------------------------------------- events


def decide_counted(chunk: Document | None, shop: Document | None) -> Decision:
    """``import.chunk_applied``: the shop's categories are counted once a chunk; the chunk says whether they were."""
    if chunk is None or shop is None:
        return EARLY
    return DONE if chunk["counted"] else apply()


def decide_import_noted(shop: Document | None, data: Mapping[str, Any]) -> Decision:
    """``import.completed``: the shop remembers the import that ended last."""
    if shop is None:
        return EARLY
    noted = shop.get("last_import")
    if noted is None or noted["at"] < data["end_time"]:
        return apply()
    return DONE if noted["import_id"] == data["import_id"] else STALE
