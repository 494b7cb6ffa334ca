"""What admins do to the category tree: making, changing, retiring and restoring categories, and what each of it must hold to.

Attributes and values come by name; a name that stands anywhere in the tree keeps its id, so that the ids which old clients saw (category
/getsku, /getproperty of the 微信商铺API手册 V1.15) stay good. A category never moves and never goes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from services.catalog.model.categories import Attribute, Category, Tree
from services.chassis.errors import Refusal, Violation, invalid, not_found
from services.chassis.texts import has_control

KINDS: Final = (("skus", "sku_attributes"), ("properties", "properties"))
"""The two kinds of attributes: how a category and how a request calls them."""


@dataclass(frozen=True, slots=True)
class EditLimits:
    """How large the tree and its parts may grow; the values are policy."""

    name: int
    depth: int
    total: int
    children: int
    attributes: int
    values: int
    all_values: int
    reason: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A SKU attribute or property as an admin gives it."""

    name: str
    values: tuple[str, ...] = ()
    required: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a category is to be."""

    name: str
    skus: tuple[Asked, ...] = ()
    properties: tuple[Asked, ...] = ()


def create(
    tree: Tree, parent_id: int, wanted: Wanted, draw: Callable[[], int], limits: EditLimits, *, leaf: bool
) -> Category:
    """A new category below ``parent_id``. ``draw`` gives random ids. Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    parent = tree.get(parent_id)
    if parent_id != tree.root and (parent is None or parent.leaf):
        raise invalid("parent_id", "give 1 (the top) or a category that is no leaf; see GET /v1/categories")
    deepest = tree.depth(parent_id) + (1 if leaf else 2)
    if deepest > limits.depth:
        raise invalid("parent_id", f"the tree has at most {limits.depth} levels; choose a parent higher up")
    if len(tree) >= limits.total or len(tree.children(parent_id)) >= limits.children:
        message = f"at most {limits.total} categories in the tree and {limits.children} below one"
        raise Refusal("CONDITION_UNMET", message)
    _check(tree, parent_id, 0, wanted, limits, leaf=leaf)
    numbers = _Numbers(tree, draw)
    skus, properties = numbers.attributes("skus", wanted.skus), numbers.attributes("properties", wanted.properties)
    return Category(numbers.new(), parent_id, wanted.name, "", leaf, skus, properties, version=1)


def change(
    tree: Tree, category_id: int, wanted: Wanted, etag: str, draw: Callable[[], int], limits: EditLimits
) -> Category | None:
    """The category as it becomes; None when it is so already.

    Raises Refusal NOT_FOUND, ETAG_MISMATCH, INVALID_ARGUMENT naming every wrong field.
    """
    category = known(tree, category_id)
    if not etag:
        raise invalid("etag", "send the etag of the category as you read it, so that nobody's edit is lost")
    if etag != str(category.version):
        message = f"category {category_id} was changed meanwhile; read it again (its etag is now {category.version})"
        raise Refusal("ETAG_MISMATCH", message, (Violation("etag", message),))
    _check(tree, category.parent_id, category_id, wanted, limits, leaf=category.leaf)
    numbers = _Numbers(tree, draw)
    skus, properties = numbers.attributes("skus", wanted.skus), numbers.attributes("properties", wanted.properties)
    after = replace(category, name=wanted.name, skus=skus, properties=properties)
    return None if after == category else replace(after, version=category.version + 1)


def retire(tree: Tree, category_id: int, *, retired: bool) -> Category | None:
    """The leaf closed to new products, or open again; None when it is so already. Raises Refusal NOT_FOUND, CONDITION_UNMET."""
    category = known(tree, category_id)
    if not category.leaf:
        message = f"{category.path} is no leaf; retire the leaves below it, it leads to nothing then"
        raise Refusal("CONDITION_UNMET", message)
    if category_id == tree.uncategorised and retired:
        raise Refusal("CONDITION_UNMET", f"{category.path} takes the products that name no category; it cannot retire")
    return None if category.retired == retired else replace(category, retired=retired, version=category.version + 1)


def known(tree: Tree, category_id: int) -> Category:
    """The category. Raises Refusal NOT_FOUND."""
    found = tree.get(category_id)
    if found is None:
        raise not_found("category", str(category_id))
    return found


def check_reason(reason: str, limits: EditLimits) -> None:
    """Every edit says why. Raises Refusal INVALID_ARGUMENT."""
    if not reason.strip() or len(reason) > limits.reason or has_control(reason, lines=True):
        raise invalid("reason", f"say why in at most {limits.reason} characters; it is kept with the edit")


# ------------------------------------------------------------------------------------------------------------------- checks


def _check(tree: Tree, parent_id: int, own_id: int, wanted: Wanted, limits: EditLimits, *, leaf: bool) -> None:
    found = [*_name(wanted.name, limits), *_sibling(tree, parent_id, own_id, wanted.name)]
    for kind, field in KINDS:
        found += _attributes(field, getattr(wanted, kind), limits)
    if sum(len(asked.values) for asked in (*wanted.skus, *wanted.properties)) > limits.all_values:
        found.append(
            Violation("properties", f"at most {limits.all_values} values in all; leave long lists to free text")
        )
    for number, asked in enumerate(wanted.skus):
        if asked.closed or asked.required:
            path = f"sku_attributes[{number}].{'closed' if asked.closed else 'required'}"
            found.append(Violation(path, "only properties can be; a product may always have axes of its own"))
    if leaf and not any(len(asked.values) > 1 for asked in wanted.skus):
        found.append(Violation("sku_attributes", "a leaf needs one with at least two values, such as 颜色"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def _name(name: str, limits: EditLimits) -> Iterator[Violation]:
    if not 0 < len(name) <= limits.name or name != name.strip() or has_control(name):
        yield Violation("name", f"between 1 and {limits.name} characters, without spaces around them")
    elif "/" in name or (name.isascii() and name.isdecimal()):
        yield Violation("name", "a name with a slash reads as a path, digits alone as an id; put it another way")


def _sibling(tree: Tree, parent_id: int, own_id: int, name: str) -> Iterator[Violation]:
    for category in tree.children(parent_id):
        if category.name == name and category.id != own_id:
            yield Violation(
                "name", f"category {category.id} beside it has this name; change that one or choose another"
            )


def _attributes(field: str, asked: tuple[Asked, ...], limits: EditLimits) -> Iterator[Violation]:
    if len(asked) > limits.attributes:
        yield Violation(field, f"at most {limits.attributes}")
    names = [each.name for each in asked]
    for number, each in enumerate(asked):
        path = f"{field}[{number}]"
        if not _is_name(each.name, limits) or each.name in names[:number]:
            yield Violation(f"{path}.name", f"names have 1 to {limits.name} characters and differ from each other")
        if len(each.values) > limits.values:
            yield Violation(f"{path}.values", f"at most {limits.values} values")
        if len(set(each.values)) != len(each.values):
            yield Violation(f"{path}.values", "a value stands twice; send it once")
        for place, value in enumerate(each.values):
            if not _is_name(value, limits):
                yield Violation(f"{path}.values[{place}]", f"values have 1 to {limits.name} characters")
        if each.closed and not each.values:
            yield Violation(f"{path}.values", "a closed property offers at least one value; add some or leave it open")


def _is_name(text: str, limits: EditLimits) -> bool:
    return 0 < len(text) <= limits.name and text == text.strip() and not has_control(text)


class _Numbers:
    """The ids of the tree by name, and new ones that nothing in it has."""

    def __init__(self, tree: Tree, draw: Callable[[], int]) -> None:
        self._draw = draw
        self._taken = {tree.root, *(category.id for category in tree)}
        self._attributes: dict[tuple[str, str], int] = {}
        self._values: dict[tuple[int, str], int] = {}
        for category in tree:
            for kind, _ in KINDS:
                for attribute in getattr(category, kind):
                    self._attributes.setdefault((kind, attribute.name), attribute.id)
                    self._values.update({(attribute.id, name): identity for identity, name in attribute.values})
        self._taken.update(self._attributes.values(), self._values.values())

    def new(self) -> int:
        """An id of its own."""
        while (drawn := self._draw()) in self._taken:
            pass
        self._taken.add(drawn)
        return drawn

    def attributes(self, kind: str, asked: tuple[Asked, ...]) -> tuple[Attribute, ...]:
        """What was asked for, with ids."""
        return tuple(self._attribute(kind, each) for each in asked)

    def _attribute(self, kind: str, asked: Asked) -> Attribute:
        identity = self._attributes.get((kind, asked.name)) or self.new()
        values = tuple((self._values.get((identity, value)) or self.new(), value) for value in asked.values)
        return Attribute(identity, asked.name, values, required=asked.required, closed=asked.closed)
