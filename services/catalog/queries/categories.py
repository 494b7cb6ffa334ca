"""Questions about the category tree: answered from memory; only the record of edits is read."""

from itertools import islice

from services.catalog.model.categories import Attribute, Category, Tree, from_row
from services.catalog.model.category_edits import known
from services.catalog.store import Store
from services.chassis.errors import Refusal, Violation, not_found
from services.chassis.mongo import Document


def page(tree: Tree, parent_id: int, after: int, size: int) -> tuple[list[Category], int]:
    """Up to ``size`` categories after the one with id ``after`` (0: from the beginning), and the id to go on after (0: that was all).

    ``parent_id`` 0: of the whole tree, parents before their children; else what stands directly below it. Raises Refusal NOT_FOUND,
    INVALID_PAGE_TOKEN for an ``after`` that is none of them.
    """
    if parent_id not in (0, tree.root):
        known(tree, parent_id)
    rest = iter(tree.children(parent_id) if parent_id else tree)
    if after and not any(category.id == after for category in rest):  # leaves the iterator behind it
        message = "page_token is not a token of ours; pass next_page_token on unchanged"
        raise Refusal("INVALID_PAGE_TOKEN", message, (Violation("page_token", message),))
    found = list(islice(rest, size + 1))
    return found[:size], found[size - 1].id if len(found) > size else 0


def one(tree: Tree, category_id: int) -> Document:
    """One category with its attributes. Raises Refusal NOT_FOUND."""
    return category(known(tree, category_id))


def children(tree: Tree, category_id: int) -> list[Document]:
    """The direct children, those left out that are retired or lead to none that is not. Raises Refusal NOT_FOUND."""
    if category_id != tree.root:
        known(tree, category_id)
    return [category(each, attributes=False) for each in tree.children(category_id) if tree.is_open(each)]


def sku_attributes(tree: Tree, category_id: int) -> list[Document]:
    """The SKU attributes of one category. Raises Refusal NOT_FOUND."""
    return [_attribute(found) for found in known(tree, category_id).skus]


def properties(tree: Tree, category_id: int) -> list[Document]:
    """The properties of one category. Raises Refusal NOT_FOUND."""
    return [_attribute(found) for found in known(tree, category_id).properties]


def changes(store: Store, category_id: int, before: int, size: int) -> tuple[list[Document], int]:
    """The edits below revision ``before``, newest first, and the revision to go on below (0: that was all). ``category_id`` 0: all.

    Without attributes: ``change`` has those of one edit.
    """
    query: Document = {"revision": {"$gt": 0, "$lt": before}}
    if category_id:
        query["category_id"] = category_id
    rows = list(store.category_changes.find(query).sort("revision", -1).limit(size + 1))
    return [_change(row, attributes=False) for row in rows[:size]], rows[size - 1]["revision"] if len(
        rows
    ) > size else 0


def change(store: Store, revision: int) -> Document:
    """One edit with everything that was before and after. Raises Refusal NOT_FOUND."""
    row = store.category_changes.find_one({"_id": revision})
    if row is None:
        raise not_found("category change", str(revision))
    return _change(row, attributes=True)


def _change(row: Document, *, attributes: bool) -> Document:
    before, after = (row[name] and stored(row[name], attributes=attributes) for name in ("before", "after"))
    return {**row, "time": row["at"], "before": before, "after": after}


def stored(row: Document, *, attributes: bool = True) -> Document:
    """A category from its stored row, which tells its path."""
    return {**category(from_row(row), attributes=attributes), "path": row["path"]}


def category(found: Category, *, attributes: bool = True) -> Document:
    """A category as the proto message shows it."""
    shown: Document = {
        "id": found.id,
        "parent_id": found.parent_id,
        "name": found.name,
        "path": found.path,
        "leaf": found.leaf,
        "retired": found.retired,
        "etag": str(found.version),
    }
    if attributes:
        shown["sku_attributes"] = [_attribute(each) for each in found.skus]
        shown["properties"] = [_attribute(each) for each in found.properties]
    return shown


def _attribute(found: Attribute) -> Document:
    values = [{"id": identity, "name": name} for identity, name in found.values]
    flags = {"required": found.required, "closed": found.closed}
    return {"id": found.id, "name": found.name, "values": values, **flags}
