"""Groups (分组).

A deleted group keeps its number, which is not given again, and the causes it knows; it belongs to no list any more.
"""

from typing import Final

from services.catalog.commands.products import shop_of
from services.catalog.model import groups
from services.catalog.store import SERVICE, Store
from services.catalog.store.shelving import shelf_key
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, check_etag, invalid, not_found
from services.chassis.mongo import Document

ATTEMPTS: Final = 5


def create_group(store: Store, cause: Cause, shop_id: str, name: str, product_ids: list[str]) -> Outcome:
    """A new group of the shop's products. The outcome's document is as it was made.

    Raises Refusal INVALID_ARGUMENT naming the field, CONDITION_UNMET for too many groups, IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    before = commit.created(store.groups, cause)
    members = groups.added([], product_ids, policy.load(SERVICE).value("group_products", shop.now))
    said = {"shop_id": shop_id, "name": name, "product_ids": members}
    if before is not None:
        return _as_made(before, said)
    groups.check_name(name, _longest())
    most = policy.load(SERVICE).value("group_count", shop.now)
    if store.groups.count_documents({"shop_id": shop_id}, limit=most) >= most:
        raise Refusal("CONDITION_UNMET", f"a shop has at most {most} groups; delete one first")
    _own_products(store, shop_id, "product_ids", product_ids)
    for _ in range(ATTEMPTS):
        number = ids.small_id()
        try:
            row = {"_id": shelf_key(shop_id, number), "group_id": number, **said}
            return _as_made(commit.create(store.groups, row, cause), said)
        except Taken:  # the number is another group's: draw again
            continue
    raise Refusal("UNAVAILABLE", "no free number was found; try again", retry_after_s=1)


def _as_made(outcome: Outcome, said: Document) -> Outcome:
    """The group as this very request made it, also when it was changed or deleted since."""
    made = {
        **outcome.document,
        **said,
        "product_count": len(said["product_ids"]),
        "version": 1,
        "changed_at": outcome.document["created_at"],
    }
    return Outcome(made, replayed=outcome.replayed, changed=outcome.changed)


def rename_group(store: Store, cause: Cause, shop_id: str, group_id: int, name: str, etag: str) -> Outcome:
    """Another name. Raises Refusal NOT_FOUND, ETAG_MISMATCH, INVALID_ARGUMENT."""

    def decide(group: Document) -> Change:
        check_etag("group", group["version"], etag)
        groups.check_name(name, _longest())
        return _changed(group, name, group["product_ids"])

    return _change(store, cause, shop_id, group_id, decide)


def change_products(
    store: Store, cause: Cause, shop_id: str, group_id: int, *, add: list[str], remove: list[str]
) -> Outcome:
    """Take products out of a group and put others at its end, in one change. Raises Refusal NOT_FOUND, INVALID_ARGUMENT."""
    _bounded("remove", remove)
    groups.check_apart(add, remove)
    _own_products(store, shop_id, "add", add)
    most = policy.load(SERVICE).value("group_products", clock.business())

    def decide(group: Document) -> Change:
        return _changed(group, group["name"], groups.changed(group["product_ids"], add, remove, most))

    return _change(store, cause, shop_id, group_id, decide)


def move_products(
    store: Store, cause: Cause, shop_id: str, group_id: int, product_ids: list[str], position: int
) -> Outcome:
    """Put products of a group at another place of its order. Raises Refusal NOT_FOUND, INVALID_ARGUMENT."""
    _bounded("product_ids", product_ids)

    def decide(group: Document) -> Change:
        return _changed(group, group["name"], groups.moved(group["product_ids"], product_ids, position))

    return _change(store, cause, shop_id, group_id, decide)


def delete_group(store: Store, cause: Cause, shop_id: str, group_id: int) -> Outcome:
    """Delete a group; shelves that name it leave it out. The outcome's answer lists them. Raises Refusal NOT_FOUND."""
    shelf_ids = store.shelves_of_group(shop_id, group_id)

    def decide(_group: Document) -> Change:
        gone = ("shop_id", "name", "product_ids")
        return Change(set={"deleted_at": clock.business()}, unset=gone, answer={"shelf_ids": shelf_ids})

    return _change(store, cause, shop_id, group_id, decide)


def _change(store: Store, cause: Cause, shop_id: str, group_id: int, decide: commit.Decide) -> Outcome:
    """Change a living group. The outcome's document is as this change left it."""

    def living(group: Document) -> Change | None:
        if "deleted_at" in group:
            raise not_found("group", str(group_id))
        return decide(group)

    outcome = commit.change(store.groups, shelf_key(shop_id, group_id), cause, living, kind="group")
    left = {**outcome.document, "shop_id": shop_id, **(outcome.answer or {})}
    return Outcome(left, outcome.answer, replayed=outcome.replayed, changed=outcome.changed)


def _changed(group: Document, name: str, members: list[str]) -> Change:
    now = clock.business()
    answer = {"name": name, "product_count": len(members), "version": group["version"] + 1, "changed_at": now}
    return Change(set={"name": name, "product_ids": members, "changed_at": now}, answer=answer)


def _longest() -> int:
    return int(policy.load(SERVICE).value("shelf_limits", clock.business())["name"])


def _bounded(path: str, product_ids: list[str]) -> None:
    most = policy.load(SERVICE).value("bulk_items", clock.business())
    if len(product_ids) > most:
        raise invalid(path, f"at most {most} a call; split them")


def _own_products(store: Store, shop_id: str, path: str, product_ids: list[str]) -> None:
    _bounded(path, product_ids)
    own = store.own_products(shop_id, product_ids)
    wrong = [number for number, product_id in enumerate(product_ids) if product_id not in own]
    if wrong:
        violations = tuple(Violation(f"{path}[{number}]", "the shop has no such product") for number in wrong)
        raise Refusal("INVALID_ARGUMENT", f"{violations[0].field}: {violations[0].message}", violations)
