"""Bulk upserts, putting on sale and taking off."""

from collections.abc import Mapping
from typing import Any

from services.catalog.model import imports
from services.catalog.model.bulk import moved
from services.catalog.model.categories import Tree
from services.catalog.model.chunks import Shop
from services.catalog.model.items import item_of
from services.catalog.model.products import State, missing_properties, move
from services.catalog.store import SERVICE, Store, limits
from services.catalog.store.chunks import Chunk, ChunkAppliedError, apply_chunk, results_of
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Transaction
from services.chassis.decisions import Change, Fact
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
    return Shop(shop_id, row["currency"], clock.business(), store.tree().retired)


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
    most, tree = limits(shop.now), store.tree()
    try:
        made = apply_chunk(
            store,
            shop,
            [item_of(number, raw, tree, most) for number, raw in enumerate(items)],
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


# ------------------------------------------------------------------------------------------------------------------- states


def put_on_sale(store: Store, cause: Cause, shop_id: str, product_id: str) -> Outcome:
    """上架. Raises Refusal NOT_FOUND, WRONG_STATE, CONDITION_UNMET naming the properties that its category wants first."""
    return _move(store, cause, shop_id, product_id, State.LISTED)


def take_off_sale(store: Store, cause: Cause, shop_id: str, product_id: str) -> Outcome:
    """下架. Raises Refusal NOT_FOUND, WRONG_STATE."""
    return _move(store, cause, shop_id, product_id, State.DELISTED)


def _move(store: Store, cause: Cause, shop_id: str, product_id: str, target: State) -> Outcome:

    def attempt() -> Outcome:
        product = store.products.find_one({"_id": product_id})
        if product is None or product["shop_id"] != shop_id:
            raise not_found("product", product_id)
        before = commit.applied(store.products, product, cause)
        if before is not None:
            return before
        state = move(product_id, product["state"], target)
        if state is State.LISTED:
            _check_listing(product, store.tree())
        changed = Change(set=moved(product, state)) if state else Change()
        transaction = Transaction(store.client).change(store.products, product, changed, cause)
        if state is not None:
            transaction.insert(store.chunks, _told(store, cause, product, state))
        transaction.commit()
        return Outcome(store.products.find_one({"_id": product_id}) or product)

    return commit.settled(f"product {product_id}", attempt)


def _told(store: Store, cause: Cause, product: Document, state: State) -> Document:
    """A chunk of one product, which counts nothing. Products carry no events: each index of theirs is paid for by every import."""
    row: Document = {"_id": ids.derived_id("chk", cause.id), "import_id": "", "shop_id": product["shop_id"]}
    row |= {"number": 0, "created": 0, "updated": 1, "unchanged": 0, "failed": 0}
    row |= {"results": [], "movements": [], "counted": True}
    told = {"product_id": product["_id"], "shop_id": product["shop_id"], "state": str(state)}
    fact = Fact("jishi.catalog.product.moved.v1", told, product["_id"])
    return commit.prepare(store.chunks, row, cause, facts=(fact,))


def _check_listing(product: Document, tree: Tree) -> None:
    category = tree.get(product["listing"]["category_id"])
    given = [found["name"] for found in product["listing"]["properties"]]
    missing = missing_properties(category, given) if category else []
    if missing:
        found = tuple(Violation(problem.field, problem.message) for problem in missing)
        raise Refusal("CONDITION_UNMET", f"{found[0].message} before putting the product on sale", found)
