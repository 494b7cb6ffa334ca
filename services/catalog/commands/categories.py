"""Edits of the category tree. Each is one transaction: the category, the tree's revision, the record of who did it and why."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.catalog.model import category_edits
from services.catalog.model.categories import Category, Tree, to_row
from services.catalog.model.category_edits import Asked, EditLimits, Wanted
from services.catalog.store import SERVICE, Store
from services.catalog.store.trees import REVISION
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal
from services.chassis.mongo import Document

CREATE: Final = "create"
UPDATE: Final = "update"
RETIRE: Final = "retire"
RESTORE: Final = "restore"
Decide = Callable[[Tree], Category | None]


def wanted(raw: Mapping[str, Any]) -> Wanted:
    """What a request asks a category to be: {name, sku_attributes, properties}, each of them {name, values, required, closed}."""
    skus, properties = (
        tuple(Asked(each["name"], tuple(each["values"]), each["required"], each["closed"]) for each in raw[field])
        for field in ("sku_attributes", "properties")
    )
    return Wanted(raw["name"], skus, properties)


def create(
    store: Store, cause: Cause, actor: str, parent_id: int, asked: Wanted, reason: str, *, leaf: bool
) -> Outcome:
    """Make a category; the answer is {id}. Raises Refusal INVALID_ARGUMENT, CONDITION_UNMET, IDEMPOTENCY_KEY_REUSED."""
    limits = _limits(reason)
    return _edit(
        store,
        cause,
        (actor, CREATE, reason),
        lambda tree: category_edits.create(tree, parent_id, asked, ids.small_id, limits, leaf=leaf),
    )


def change(store: Store, cause: Cause, actor: str, category_id: int, asked: Wanted, etag: str, reason: str) -> Outcome:
    """Rename it, give it other attributes. Raises Refusal NOT_FOUND, ETAG_MISMATCH, INVALID_ARGUMENT, IDEMPOTENCY_KEY_REUSED."""
    limits = _limits(reason)
    return _edit(
        store,
        cause,
        (actor, UPDATE, reason),
        lambda tree: category_edits.change(tree, category_id, asked, etag, ids.small_id, limits),
        category_id,
    )


def retire(store: Store, cause: Cause, actor: str, category_id: int, reason: str, *, retired: bool) -> Outcome:
    """Close a leaf to new products, or open it again. Raises Refusal NOT_FOUND, CONDITION_UNMET, IDEMPOTENCY_KEY_REUSED."""
    _limits(reason)
    return _edit(
        store,
        cause,
        (actor, RETIRE if retired else RESTORE, reason),
        lambda tree: category_edits.retire(tree, category_id, retired=retired),
        category_id,
    )


def _limits(reason: str) -> EditLimits:
    limits = EditLimits(**policy.load(SERVICE).value("category_limits", clock.business()))
    category_edits.check_reason(reason, limits)
    return limits


def _edit(store: Store, cause: Cause, told: tuple[str, str, str], decide: Decide, category_id: int = 0) -> Outcome:
    """Write what ``decide`` makes of the tree. The outcome's answer is the category as a stored row with its path."""
    until = clock.monotonic() + commit.PATIENCE_S
    while True:
        before = commit.answered(store.database, cause)
        if before is not None:
            return Outcome({}, before, replayed=True, changed=False)
        tree = store.trees.read()
        after = decide(tree)
        transaction = Transaction(store.client)
        if after is None:
            same = category_edits.known(tree, category_id)
            answer = {**to_row(same, 0), "path": same.path}
        else:
            answer = _write(store, transaction, tree, after, told)
        transaction.answer(store.database, cause, answer)
        try:
            transaction.commit()
        except (Shortfall, Taken):  # another edit of the tree, or this one running beside itself, was faster
            if clock.monotonic() > until:
                message = "the category tree kept changing; try again"
                raise Refusal("VERSION_CONFLICT", message, retry_after_s=1) from None
        else:
            store.trees.forget()
            return Outcome({}, answer, changed=after is not None)


def _write(store: Store, transaction: Transaction, tree: Tree, after: Category, told: tuple[str, str, str]) -> Document:
    """Add the writes of one edit; the category as the answer shows it."""
    revision, now = tree.revision + 1, clock.business()
    before = tree.get(after.id)
    if tree.revision:
        step: dict[str, Any] = {"$set": {"revision": revision}}
        transaction.update(store.category_revision, {"_id": REVISION, "revision": tree.revision}, step)
    else:
        transaction.insert(store.category_revision, {"_id": REVISION, "revision": revision})
    row = to_row(after, revision)
    stored = store.categories.find_one({"_id": after.id}, {"order": 1})
    if stored is None:
        transaction.insert(store.categories, row)
    else:
        row["order"] = stored["order"]
        values = {name: value for name, value in row.items() if name != "_id"}
        transaction.update(store.categories, {"_id": after.id, "version": after.version - 1}, {"$set": values})
    (path,) = (found.path for found in tree.over([row], revision) if found.id == after.id)
    actor, action, reason = told
    change: Document = {
        "_id": revision,
        "revision": revision,
        "category_id": after.id,
        "action": action,
        "actor": actor,
        "at": now,
        "reason": reason,
        "before": {**to_row(before, 0), "path": before.path} if before else None,
        "after": {**row, "path": path},
    }
    transaction.insert(store.category_changes, change)
    return {**row, "path": path}
