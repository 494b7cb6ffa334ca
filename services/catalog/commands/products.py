"""Bulk upserts, stock changes, putting on sale and taking off."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.catalog.model import imports
from services.catalog.model.chunks import PROBLEMS_TOLD, Item, RowProblem, Shop
from services.catalog.model.products import (
    Freight,
    Limits,
    Problem,
    ProductDraft,
    SkuDraft,
    State,
    missing_properties,
    move,
    validate,
)
from services.catalog.store import SERVICE, Store, limits, tree
from services.catalog.store.chunks import Chunk, ChunkAppliedError, apply_chunk, results_of
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, not_found
from services.chassis.mongo import Document


def shop_of(store: Store, shop_id: str) -> Shop:
    """The shop for which something is written. Raises Refusal CONDITION_UNMET without one, UNAVAILABLE while its copy is on its way."""
    if not shop_id:
        raise Refusal("CONDITION_UNMET", "this account has no shop yet; apply for one with POST /v1/shops")
    row = store.shop(shop_id)
    if row is None:
        raise Refusal("UNAVAILABLE", f"shop {shop_id} is not known here yet; try again", retry_after_s=1)
    if row["state"] == "closed":
        raise Refusal("CONDITION_UNMET", f"shop {shop_id} is closed; its catalog does not change any more")
    return Shop(shop_id, row["currency"], clock.business())


def bulk_upsert(
    store: Store, cause: Cause, shop_id: str, items: list[Mapping[str, Any]], policy_name: str, max_errors: int
) -> Outcome:
    """Create or update products by external_id under one policy. The outcome's document has ``results`` and the counters.

    Raises Refusal INVALID_ARGUMENT for too many items or a wrong policy, IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    found = [*_sized(len(items), shop), *imports.policy_problems(policy_name, max_errors)]
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    chunk = Chunk(ids.derived_id("chk", cause.id), "", 0, cause)
    before = store.chunks.find_one({"_id": chunk.chunk_id})
    if before is not None:
        return commit.created_before(before, cause)
    most = limits(shop.now)
    try:
        made = apply_chunk(
            store,
            shop,
            [_item(number, raw, most) for number, raw in enumerate(items)],
            chunk,
            most_failed=max_errors if policy_name == "stop_after_n" else None,
            only_if_clean=policy_name == "reject_all",
        )
    except ChunkAppliedError as error:
        return commit.created_before(error.row, cause)
    results = results_of(made)
    if policy_name == "reject_all" and made.count("failed"):
        refused = [
            row if row["outcome"] == "failed" else {**row, "outcome": "skipped", "product_id": ""} for row in results
        ]
        return Outcome(
            {"results": refused, "created": 0, "updated": 0, "unchanged": 0, "failed": made.count("failed")},
            changed=False,
        )
    return Outcome({"results": results, **made.counts()})


def _sized(number: int, shop: Shop) -> list[Violation]:
    most = policy.load(SERVICE).value("bulk_items", shop.now)
    return [] if 1 <= number <= most else [Violation("items", f"between 1 and {most} items a call; split them")]


def _item(number: int, raw: Mapping[str, Any], most: Limits) -> Item:
    draft = _draft(raw)
    found = validate(draft, tree(), most)
    found += [
        Problem(f"detail[{place}]", "BLOCK_INVALID", "a block holds a text or an image, not both")
        for place, block in enumerate(raw["detail"])
        if block["text"] and block["image"]
    ]
    problems = tuple(RowProblem(number, each.field, each.reason, each.message) for each in found[:PROBLEMS_TOLD])
    return Item(draft.external_id, number, None if problems else draft, problems)


def _draft(raw: Mapping[str, Any]) -> ProductDraft:
    freight = raw.get("freight") or {}
    return ProductDraft(
        external_id=raw["external_id"].strip(),
        name=raw["name"].strip(),
        category_id=raw["category_id"] or tree().uncategorised,
        skus=tuple(_sku(sku) for sku in raw["skus"]),
        axes=tuple(raw["axes"]),
        images=tuple(raw["images"]),
        detail=tuple(
            ("image", block["image"]) if block["image"] else ("text", block["text"]) for block in raw["detail"]
        ),
        properties=tuple((found["name"], found["value"]) for found in raw["properties"]),
        buy_limit=raw["buy_limit"],
        freight=Freight(freight.get("kind") or "free", freight.get("fee", 0)),
        listed=raw.get("listed"),
    )


def _sku(raw: Mapping[str, Any]) -> SkuDraft:
    plain = {name: raw[name] for name in ("price", "merchant_sku", "barcode", "image", "weight_g", "volume_cm3")}
    return SkuDraft(
        values=tuple(raw["values"]),
        original_price=raw["original_price"] or raw["price"],
        quantity=raw.get("quantity"),
        **plain,
    )


# -------------------------------------------------------------------------------------------------------------------- stock


@dataclass(frozen=True, slots=True)
class Delta:
    """One change of stock, applied once under ``request_id``."""

    sku_id: str
    delta: int
    request_id: str


def bulk_update_stock(store: Store, cause: Cause, shop_id: str, items: list[Delta]) -> Outcome:
    """Add to or take from stock. The answer has a result for each item: {sku_id, request_id, ok, replayed, reason, message}.

    An item without a request_id counts under the call's own key. Raises Refusal INVALID_ARGUMENT for too many items,
    IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    found = _sized(len(items), shop)
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    before = commit.answered(store.database, cause)
    if before is not None:
        return Outcome({}, before, replayed=True, changed=False)
    rows = [_movement(shop, cause, number, item) for number, item in enumerate(items)]
    results = _known_results(store, shop, items, rows)
    fresh = [number for number in range(len(items)) if number not in results]
    together = {**results, **{number: _answer(items[number], rows[number]) for number in fresh}}
    answer = [together[number] for number in range(len(items))]
    transaction = Transaction(store.client).answer(store.database, cause, answer)
    if not _written(store, transaction, [rows[number] for number in fresh]):
        results.update({number: _alone(store, items[number], rows[number]) for number in fresh})
        answer = [results[number] for number in range(len(items))]
        with contextlib.suppress(Taken):  # the same call, running beside this one, was faster
            Transaction(store.client).answer(store.database, cause, answer).commit()
    return Outcome({}, answer)


def _known_results(store: Store, shop: Shop, items: list[Delta], rows: list[Document]) -> dict[int, Document]:
    """The items that need no writing: refused, or applied before."""
    found = store.stock_by_id({item.sku_id for item in items})
    own = {identity for identity, row in found.items() if row["shop_id"] == shop.shop_id}
    before = {row["_id"]: row for row in store.movements.find({"_id": {"$in": [row["_id"] for row in rows]}})}
    most = limits(shop.now).stock
    results: dict[int, Document] = {}
    for number, (item, row) in enumerate(zip(items, rows, strict=True)):
        refusal = _refused(item, own, most)
        if refusal:
            results[number] = _answer(item, row, *refusal)
        elif row["_id"] in before:
            results[number] = _again(item, row, before[row["_id"]])
    return results


def _movement(shop: Shop, cause: Cause, number: int, item: Delta) -> Document:
    key = f"req:{shop.shop_id}:{item.request_id}" if item.request_id else f"{cause.id}/{number}"
    return {
        "_id": key,
        "sku_id": item.sku_id,
        "shop_id": shop.shop_id,
        "delta": item.delta,
        "kind": "adjusted",
        "at": shop.now,
    }


def _refused(item: Delta, own: set[str], most: int) -> tuple[str, str] | None:
    if item.sku_id not in own:
        return "NOT_FOUND", f"the shop has no SKU {item.sku_id}"
    if item.delta == 0 or abs(item.delta) > most:
        return "INVALID_ARGUMENT", f"delta must lie between -{most} and {most} and not be 0"
    return None


def _written(store: Store, transaction: Transaction, rows: list[Document]) -> bool:
    """Whether all of these movements could be made, with what else is in the transaction."""
    for row in rows:
        enough: Document = {"available": {"$gte": -row["delta"]}} if row["delta"] < 0 else {}
        transaction.insert(store.movements, row)
        change = {"$inc": {"on_hand": row["delta"], "available": row["delta"]}}
        transaction.update(store.stock, {"_id": row["sku_id"], "shop_id": row["shop_id"], **enough}, change)
    try:
        transaction.commit()
    except (Shortfall, Taken):
        return False
    return True


def _alone(store: Store, item: Delta, row: Document) -> Document:
    if _written(store, Transaction(store.client), [row]):
        return _answer(item, row)
    before = store.movements.find_one({"_id": row["_id"]})
    if before is not None:
        return _again(item, row, before)
    return _answer(item, row, "OUT_OF_STOCK", "less is available than you take; what is reserved for buyers stays")


def _again(item: Delta, row: Document, before: Document) -> Document:
    if (before["sku_id"], before["delta"]) != (row["sku_id"], row["delta"]):
        return _answer(
            item, row, "IDEMPOTENCY_KEY_REUSED", "this request_id was used for another change; use a new one"
        )
    return {**_answer(item, row), "replayed": True}


def _answer(item: Delta, row: Document, reason: str = "", message: str = "") -> Document:
    shown = item.request_id or row["_id"]
    return {
        "sku_id": item.sku_id,
        "request_id": shown,
        "ok": not reason,
        "replayed": False,
        "reason": reason,
        "message": message,
    }


# ------------------------------------------------------------------------------------------------------------------- states


def put_on_sale(store: Store, cause: Cause, shop_id: str, product_id: str) -> Outcome:
    """上架. Raises Refusal NOT_FOUND, WRONG_STATE, CONDITION_UNMET naming the properties that its category wants first."""
    return _move(store, cause, shop_id, product_id, State.LISTED)


def take_off_sale(store: Store, cause: Cause, shop_id: str, product_id: str) -> Outcome:
    """下架. Raises Refusal NOT_FOUND, WRONG_STATE."""
    return _move(store, cause, shop_id, product_id, State.DELISTED)


def _move(store: Store, cause: Cause, shop_id: str, product_id: str, target: State) -> Outcome:

    def decide(product: Document) -> Change | None:
        if product["shop_id"] != shop_id:
            raise not_found("product", product_id)
        state = move(product_id, product["state"], target)
        if state is None:
            return None
        if state is State.LISTED:
            _check_listing(product)
        return Change(set={"state": state, "ever_listed": product["ever_listed"] or state is State.LISTED})

    return commit.change(store.products, product_id, cause, decide, kind="product")


def _check_listing(product: Document) -> None:
    category = tree().get(product["listing"]["category_id"])
    given = [found["name"] for found in product["listing"]["properties"]]
    missing = missing_properties(category, given) if category else []
    if missing:
        found = tuple(Violation(problem.field, problem.message) for problem in missing)
        raise Refusal("CONDITION_UNMET", f"{found[0].message} before putting the product on sale", found)
