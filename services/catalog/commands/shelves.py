"""Groups and shelves."""

from collections.abc import Callable
from typing import Any, Final

from services.catalog.commands.products import shop_of
from services.catalog.model import shelves
from services.catalog.store import SERVICE, Store
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, invalid, not_found
from services.chassis.mongo import Document
from services.chassis.texts import has_control

ATTEMPTS: Final = 5


def key(shop_id: str, number: int) -> str:
    """The id of a group's or shelf's document: its number is unique in the shop only."""
    return f"{shop_id}:{number}"


def create_group(store: Store, cause: Cause, shop_id: str, name: str, product_ids: list[str]) -> Outcome:
    """A new group (分组) of the shop's products. Raises Refusal INVALID_ARGUMENT naming the field."""
    shop = shop_of(store, shop_id)
    most = policy.load(SERVICE).value("group_count", shop.now)
    longest = policy.load(SERVICE).value("shelf_limits", shop.now)["name"]
    if not 0 < len(name) <= longest or has_control(name):
        raise invalid("name", f"give the group a name of at most {longest} characters, none of them control")
    if store.groups.count_documents({"shop_id": shop_id}, limit=most) >= most:
        raise Refusal("CONDITION_UNMET", f"a shop has at most {most} groups; remove one first")
    _own_products(store, shop_id, product_ids)
    members = shelves.added([], product_ids, policy.load(SERVICE).value("group_products", shop.now))
    row = {"shop_id": shop_id, "name": name, "product_ids": members}
    return _create(store, "groups", cause, shop_id, lambda number: {**row, "group_id": number})


def change_group(
    store: Store, cause: Cause, shop_id: str, group_id: int, *, add: list[str], remove: list[str]
) -> Outcome:
    """Add products at the end of a group, or take some out. Raises Refusal NOT_FOUND, INVALID_ARGUMENT."""
    most = policy.load(SERVICE).value("group_products", clock.business())
    _own_products(store, shop_id, add)
    gone = set(remove)

    def decide(group: Document) -> Change:
        members = [
            product_id for product_id in shelves.added(group["product_ids"], add, most) if product_id not in gone
        ]
        return Change(set={"product_ids": members}, answer={"product_count": len(members)})

    return commit.change(store.groups, key(shop_id, group_id), cause, decide, kind="group")


def _own_products(store: Store, shop_id: str, product_ids: list[str]) -> None:
    most = policy.load(SERVICE).value("bulk_items", clock.business())
    if len(product_ids) > most:
        raise invalid("product_ids", f"at most {most} a call; split them")
    if not product_ids:
        return
    found = store.products.find({"_id": {"$in": product_ids}}, {"shop_id": 1})
    own = {row["_id"] for row in found if row["shop_id"] == shop_id}
    wrong = [number for number, product_id in enumerate(product_ids) if product_id not in own]
    if wrong:
        violations = tuple(Violation(f"product_ids[{number}]", "the shop has no such product") for number in wrong)
        raise Refusal("INVALID_ARGUMENT", f"{violations[0].field}: {violations[0].message}", violations)


def create_shelf(store: Store, cause: Cause, shop_id: str, slug: str, draft: Document) -> Outcome:
    """A new shelf (货架); ``draft`` is {name, banner, modules}. Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS for a slug in use."""
    shop_of(store, shop_id)
    _check(store, shop_id, slug, draft)

    def made(number: int) -> Document:
        name = slug or str(number)
        return {
            "shop_id": shop_id,
            "shelf_id": number,
            "slug": name,
            "slug_key": f"{shop_id}/{name}",
            "draft": draft,
            "published_version": 0,
            "versions": 0,
        }

    return _create(store, "shelves", cause, shop_id, made)


def update_shelf(store: Store, cause: Cause, shop_id: str, shelf_id: int, draft: Document) -> Outcome:
    """Replace the draft; what is published stays. Raises Refusal NOT_FOUND, INVALID_ARGUMENT."""
    _check(store, shop_id, "", draft)

    def decide(shelf: Document) -> Change:
        left = {name: shelf[name] for name in ("published_version", "versions")}
        return Change(set={"draft": draft}, answer={**left, "draft": draft})

    return commit.change(store.shelves, key(shop_id, shelf_id), cause, decide, kind="shelf")


def publish_shelf(store: Store, cause: Cause, shop_id: str, shelf_id: int, version: int) -> Outcome:
    """Publish the draft as a new version, or an earlier ``version`` again (roll back). Raises Refusal NOT_FOUND."""
    identity = key(shop_id, shelf_id)
    for _ in range(ATTEMPTS):
        shelf = store.shelves.find_one({"_id": identity})
        if shelf is None:
            raise not_found("shelf", str(shelf_id))
        before = commit.applied(store.shelves, shelf, cause)
        if before is not None:
            return before
        if version:
            return _roll_back(store, cause, shelf, version)
        number = shelf["versions"] + 1
        content = {
            "_id": f"{identity}:{number}",
            "shop_id": shop_id,
            "shelf_id": shelf_id,
            "version": number,
            "content": shelf["draft"],
        }
        wanted = Change(set={"versions": number, "published_version": number})
        try:
            Transaction(store.client).insert(store.shelf_versions, content).change(
                store.shelves, shelf, wanted, cause
            ).commit()
        except (Taken, commit.Shortfall):
            continue
        return Outcome({**shelf, "versions": number, "published_version": number})
    raise Refusal("VERSION_CONFLICT", f"shelf {shelf_id} kept changing; try again", retry_after_s=1)


def _roll_back(store: Store, cause: Cause, shelf: Document, version: int) -> Outcome:
    if store.shelf_versions.find_one({"_id": f"{shelf['_id']}:{version}"}) is None:
        raise not_found("version of the shelf", str(version))
    return commit.change(
        store.shelves, shelf["_id"], cause, lambda _: Change(set={"published_version": version}), kind="shelf"
    )


def _check(store: Store, shop_id: str, slug: str, draft: Document) -> None:
    groups = {row["group_id"] for row in store.groups.find({"shop_id": shop_id}, {"group_id": 1})}
    shelves.check(
        draft["name"], slug, draft["modules"], groups, policy.load(SERVICE).value("shelf_limits", clock.business())
    )


def _create(
    store: Store, collection: str, cause: Cause, shop_id: str, made: Callable[[int], dict[str, Any]]
) -> Outcome:
    """Insert under a random number that is free in the shop."""
    rows = store.database[collection]
    for _ in range(ATTEMPTS):
        number = ids.small_id()
        row = made(number)
        try:
            return commit.create(rows, {"_id": key(shop_id, number), **row}, cause)
        except Taken:
            if "slug_key" in row and rows.find_one({"slug_key": row["slug_key"]}) is not None:
                raise Refusal(
                    "ALREADY_EXISTS", f"the shop has a shelf called {row['slug']} already; choose another slug"
                ) from None
    raise Refusal("UNAVAILABLE", "no free number was found; try again", retry_after_s=1)
