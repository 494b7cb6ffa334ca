"""Bulk calls on products that are there: prices, states, deletion. Every item gets a result; what it writes is planned and not written.

An item names its product or SKU by our id or by the merchant's own; what belongs to another shop is not there. Results are plain values
without what is empty: {product_id, external_id, sku_id, merchant_sku, outcome, problems: [{field, reason, message}]}. They are kept for
ever, so that a call repeated with its key answers as the first time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model.categories import Tree
from services.catalog.model.names import names_of
from services.catalog.model.products import Problem, State, missing_properties, move
from services.catalog.model.versions import PRICES, before_prices, was_shown
from services.chassis.decisions import Change
from services.chassis.errors import Refusal

Document = Mapping[str, Any]
APART: Final = "~"
"""Where the positions of deleted products begin: behind all others, so that no list walks past what is gone."""
OUTCOMES: Final = ("updated", "unchanged", "deleted", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class SkuRef:
    """A SKU as an item names it: our id, or the merchant's own."""

    sku_id: str = ""
    merchant_sku: str = ""


@dataclass(frozen=True, slots=True)
class ProductRef:
    """A product as an item names it: our id, or the merchant's own."""

    product_id: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """A new price of a SKU in minor units; ``original_price`` None: stays as it is."""

    ref: SkuRef
    price: int
    original_price: int | None = None


@dataclass(slots=True)
class Results:
    """What became of the items so far. After ``most_failed`` failures (None: never) the rest is skipped."""

    most_failed: int | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0

    @property
    def over(self) -> bool:
        """Whether no further item is looked at."""
        return self.most_failed is not None and self.failed >= self.most_failed

    def add(self, told: Mapping[str, Any], outcome: str, *problems: Problem) -> None:
        """The next item: ``told`` says which it is."""
        row: dict[str, Any] = {**{name: value for name, value in told.items() if value}, "outcome": outcome}
        if problems:
            row["problems"] = [
                {"field": each.field, "reason": each.reason, "message": each.message} for each in problems
            ]
        self.rows.append(row)
        self.failed += outcome == "failed"

    def rejected(self) -> list[dict[str, Any]]:
        """The rows as reject_all shows them: what did not fail was not looked at further."""
        return [row if row["outcome"] == "failed" else {**row, "outcome": "skipped"} for row in self.rows]

    def counts(self) -> dict[str, int]:
        """How many items ended how."""
        return {outcome: sum(row["outcome"] == outcome for row in self.rows) for outcome in OUTCOMES}


@dataclass(slots=True)
class BulkPlan:
    """Every write of a bulk call: (stored product, Change), versions to keep, rows of names that are given up."""

    results: Results
    changes: dict[str, tuple[Document, Change]] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    unnamed: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What the database holds of what the items name, all of the same shop: products by id, and the ids behind the merchant's own names."""

    products: Mapping[str, Document]
    sku_products: Mapping[str, str] = field(default_factory=dict)
    """SKU id → product id."""
    merchant_skus: Mapping[str, str] = field(default_factory=dict)
    """merchant_sku → SKU id."""

    def product(self, ref: ProductRef) -> Document | None:
        """The product that ``ref`` names."""
        if ref.product_id:
            return self.products.get(ref.product_id)
        named = (row for row in self.products.values() if ref.external_id and row["external_id"] == ref.external_id)
        return next((row for row in named if row["state"] != State.DELETED), None)


def ambiguous(names: Mapping[str, str]) -> Problem | None:
    """What is wrong with an item that names its thing by none of two names or by both."""
    given = [name for name, value in names.items() if value]
    if len(given) == 1:
        return None
    first, second = names
    return Problem(first, "REQUIRED", f"name it by exactly one of {first} and {second}")


# -------------------------------------------------------------------------------------------------------------------- prices


def plan_prices(items: Iterable[Price], found: Found, now: datetime, dearest: int, results: Results) -> BulkPlan:
    """New prices, at most ``dearest`` minor units. All items of one product make one new version of it."""
    out = BulkPlan(results)
    priced_skus: dict[str, list[Document]] = {}
    seen: set[str] = set()
    for item in items:
        identity = item.ref.sku_id or found.merchant_skus.get(item.ref.merchant_sku, "")
        row = found.products.get(found.sku_products.get(identity, ""))
        told = {"sku_id": identity, "merchant_sku": item.ref.merchant_sku}
        told |= {"product_id": row["_id"], "external_id": row["external_id"]} if row else {}
        if results.over:
            results.add(told, "skipped")
            continue
        skus = [] if row is None else priced_skus.get(row["_id"]) or row["listing"]["skus"]
        sku = next((each for each in skus if each["sku_id"] == identity), None)
        problem = _price_problem(item, row, sku, dearest) or _twice(identity, seen, "SKU")
        if problem is not None or row is None or sku is None:
            results.add(told, "failed", *filter(None, [problem]))
            continue
        seen.add(identity)
        priced = {**sku, "price": item.price, "original_price": _original(item, sku)}
        if priced != sku:
            priced_skus[row["_id"]] = [priced if each is sku else each for each in skus]
        results.add(told, "unchanged" if priced == sku else "updated")
    for product_id, skus in priced_skus.items():
        _reprice(out, found.products[product_id], skus, now)
    return out


def _original(item: Price, sku: Document) -> int:
    return int(sku["original_price"]) if item.original_price is None else item.original_price


def _price_problem(item: Price, row: Document | None, sku: Document | None, dearest: int) -> Problem | None:
    wrong = ambiguous({"sku_id": item.ref.sku_id, "merchant_sku": item.ref.merchant_sku})
    if wrong:
        return wrong
    if row is None or sku is None:
        name = "sku_id" if item.ref.sku_id else "merchant_sku"
        return Problem(
            name, "NOT_FOUND", f"the shop has no SKU {item.ref.sku_id or item.ref.merchant_sku} on a product"
        )
    if row["state"] == State.DELETED:
        return Problem("sku_id", "WRONG_STATE", f"product {row['_id']} is deleted; it does not change any more")
    if not 1 <= item.price <= dearest:
        return Problem("price", "OUT_OF_RANGE", f"the price must lie between 1 and {dearest} minor units")
    if not item.price <= _original(item, sku) <= dearest:
        message = f"the original price ({_original(item, sku)}) must not be lower than the price ({item.price}); send a higher one with it"
        return Problem("original_price", "PRICE_ABOVE_ORIGINAL", message)
    return None


def _twice(identity: str, seen: set[str], kind: str) -> Problem | None:
    if identity not in seen:
        return None
    field_name = "sku_id" if kind == "SKU" else "product_id"
    return Problem(field_name, "DUPLICATE_ITEM", f"this {kind} stands twice in this call; send it once")


def _reprice(out: BulkPlan, row: Document, skus: Sequence[Document], now: datetime) -> None:
    """Only the prices that differ are written, by their places (the version of the product is guarded). A listing that was not said by
    a file or an upsert: what is said next is compared in full, so the fingerprint goes.
    """
    values: dict[str, Any] = {"source.digest": ""}
    for place, (sku, old) in enumerate(zip(skus, row["listing"]["skus"], strict=True)):
        values |= {f"listing.skus.{place}.{name}": sku[name] for name in PRICES if sku[name] != old[name]}
    if row["ever_listed"]:
        out.versions.append(before_prices(row, skus, now))
        values |= {"listing_version": row["listing_version"] + 1, "shown": row["state"] == State.LISTED}
    out.changes[row["_id"]] = (row, Change(set=values))


# -------------------------------------------------------------------------------------------------------------------- states


def plan_states(items: Iterable[tuple[ProductRef, State]], found: Found, tree: Tree, results: Results) -> BulkPlan:
    """Products put on sale or taken off."""
    out = BulkPlan(results)
    seen: set[str] = set()
    for ref, target in items:
        row, told = found.product(ref), _told(ref, found)
        if results.over:
            results.add(told, "skipped")
            continue
        problems = _product_problems(ref, row, seen)
        if row is not None and not problems:
            problems = state_problems(row, target, tree)
        if row is None or problems:
            results.add(told, "failed", *problems)
            continue
        seen.add(row["_id"])
        if row["state"] == target:
            results.add(told, "unchanged")
            continue
        out.changes[row["_id"]] = (row, Change(set=moved(row, target)))
        results.add(told, "updated")
    return out


def state_problems(row: Document, target: State, tree: Tree) -> list[Problem]:
    """Why ``row`` cannot be put into the state ``target``."""
    try:
        state = move(row["_id"], row["state"], target)
    except Refusal as refusal:
        return [Problem("state", refusal.reason, refusal.message)]
    category = tree.get(row["listing"]["category_id"])
    if state is not State.LISTED or category is None:
        return []
    return missing_properties(category, (given["name"] for given in row["listing"]["properties"]))


def moved(row: Document, state: State) -> dict[str, Any]:
    """The fields of a product that enters ``state``."""
    listed = state is State.LISTED
    return {"state": state, "ever_listed": row["ever_listed"] or listed, "shown": was_shown(row) or listed}


# ------------------------------------------------------------------------------------------------------------------ deletion


def plan_deletions(refs: Iterable[ProductRef], found: Found, most_names: int, results: Results) -> BulkPlan:
    """Products gone for good: orders still show them, their ids and codes are free for new ones. ``most_names`` of them a call."""
    out = BulkPlan(results)
    seen: set[str] = set()
    for ref in refs:
        row, told = found.product(ref), _told(ref, found)
        if results.over:
            results.add(told, "skipped")
            continue
        problems = _product_problems(ref, row, seen)
        if row is not None and not problems:
            problems = _deletion_problems(row, len(out.unnamed), most_names)
        if row is None or problems:
            results.add(told, "failed", *problems)
            continue
        seen.add(row["_id"])
        if row["state"] == State.DELETED:
            results.add(told, "unchanged")
            continue
        out.changes[row["_id"]] = (row, deletion(row))
        out.unnamed += names_of(row).values()
        category = row["listing"]["category_id"]
        out.categories[category] = out.categories.get(category, 0) - 1
        results.add(told, "deleted")
    return out


def _deletion_problems(row: Document, unnamed: int, most_names: int) -> list[Problem]:
    if row["state"] == State.LISTED:
        return [Problem("product_id", "WRONG_STATE", f"product {row['_id']} is on sale; take it off sale first")]
    if unnamed and unnamed + len(names_of(row)) > most_names:
        message = f"one call gives at most {most_names} names of products and SKUs free; delete this product in a further call"
        return [Problem("product_id", "TOO_MANY", message)]
    return []


def deletion(row: Document) -> Change:
    """What deleting does to the product itself: it keeps what orders show. Its names go by themselves."""
    fields = {**moved(row, State.DELETED), "position": APART + row["_id"]}
    return Change(set=fields, unset=("freight_key",))


def _told(ref: ProductRef, found: Found) -> dict[str, Any]:
    row = found.product(ref)
    named = {"product_id": row["_id"], "external_id": row["external_id"]} if row else {}
    return {"product_id": ref.product_id, "external_id": ref.external_id, "sku_id": "", "merchant_sku": "", **named}


def _product_problems(ref: ProductRef, row: Document | None, seen: set[str]) -> list[Problem]:
    wrong = ambiguous({"product_id": ref.product_id, "external_id": ref.external_id})
    if wrong is None and row is None:
        name = "product_id" if ref.product_id else "external_id"
        wrong = Problem(name, "NOT_FOUND", f"the shop has no product {ref.product_id or ref.external_id}")
    if wrong is None and row is not None:
        wrong = _twice(row["_id"], seen, "product")
    return [wrong] if wrong else []
