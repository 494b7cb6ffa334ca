"""The category tree (类目树): what a product may be filed under, and what its category offers and asks.

Shipped as data in ``categories.toml`` beside this package; what admins changed lies over it (``Tree.over``). Shape and root id follow
category/getsub, getsku and getproperty of the 微信商铺API手册 V1.15.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

Row = Mapping[str, Any]
"""A category as it is stored: {_id, parent_id, name, leaf, retired, version, order, skus, properties}; an attribute in it is {id, name,
values: [[id, name]], required, closed}."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A SKU attribute (规格) or property (属性): id, name and the values it offers as (id, name).

    Of a property: ``required`` before a product of the category is put on sale; ``closed``: no other values than those offered.
    """

    id: int
    name: str
    values: tuple[tuple[int, str], ...]
    required: bool = False
    closed: bool = False

    def offers(self, value: str) -> bool:
        """Whether ``value`` is one of its values."""
        return any(name == value for _, name in self.values)


@dataclass(frozen=True, slots=True)
class Category:
    """One category. ``retired``: takes no new products; those in it stay. ``version`` counts edits, 0 is as shipped."""

    id: int
    parent_id: int
    name: str
    path: str
    leaf: bool
    skus: tuple[Attribute, ...] = ()
    properties: tuple[Attribute, ...] = ()
    retired: bool = False
    version: int = 0

    @property
    def required(self) -> frozenset[str]:
        """Names of the properties without which a product of it cannot be put on sale."""
        return frozenset(found.name for found in self.properties if found.required)

    @property
    def closed(self) -> dict[str, Attribute]:
        """The properties that take only the values they offer, by name."""
        return {found.name: found for found in self.properties if found.closed}


class Tree:
    """All categories as of one moment, found by id or by path. Never changes; ``revision`` counts the edits it holds."""

    def __init__(self, categories: Iterable[Category], root: int, uncategorised: int, revision: int = 0) -> None:
        """``categories``: parents before their children. ``uncategorised`` (未分类): the leaf for products that name no category."""
        self.root, self.uncategorised, self.revision = root, uncategorised, revision
        self._by_id: dict[int, Category] = {}
        self._by_path: dict[str, Category] = {}
        self._children: dict[int, list[Category]] = {}
        for category in categories:
            self._by_id[category.id] = category
            self._by_path.setdefault(category.path, category)
            self._children.setdefault(category.parent_id, []).append(category)
        self.retired = frozenset(category.id for category in self if category.retired)
        """Ids of the categories that take no new products."""

    def __iter__(self) -> Iterator[Category]:
        """Parents before their children."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        """How many categories, the root not counted."""
        return len(self._by_id)

    def get(self, identity: int) -> Category | None:
        """The category with this id; None for the root, which is no category."""
        return self._by_id.get(identity)

    def find(self, text: str) -> Category | None:
        """The category that ``text`` names: a path such as 女装/连衣裙 (spaces around the slash do not matter), or an id."""
        if text.isascii() and text.isdecimal():
            return self._by_id.get(int(text))
        return self._by_path.get("/".join(part.strip() for part in text.split("/")))

    def children(self, identity: int) -> tuple[Category, ...]:
        """The direct children of a category or of the root, in the order of the data, then of their making."""
        return tuple(self._children.get(identity, ()))

    def is_open(self, category: Category) -> bool:
        """Whether new products can be filed under it or somewhere below it."""
        return not category.retired if category.leaf else any(map(self.is_open, self.children(category.id)))

    def depth(self, identity: int) -> int:
        """0 for the root, 1 for what stands directly below it."""
        steps = 0
        while identity != self.root:
            identity = self._by_id[identity].parent_id
            steps += 1
        return steps

    def over(self, rows: Iterable[Row], revision: int) -> "Tree":
        """This tree with the stored ``rows`` laid over it: a known id is replaced in its place, a new one comes after what is there."""
        found = {category.id: category for category in self}
        for row in sorted(rows, key=lambda row: int(row["order"])):
            found[row["_id"]] = from_row(row)
        return Tree(_with_paths(found.values(), self.root), self.root, self.uncategorised, revision)


def _with_paths(categories: Iterable[Category], root: int) -> list[Category]:
    paths = {root: ""}
    out = []
    for category in categories:
        above = paths[category.parent_id]
        path = paths[category.id] = f"{above}/{category.name}" if above else category.name
        out.append(replace(category, path=path))
    return out


def from_row(row: Row) -> Category:
    """A stored category, its path still to be told."""
    plain = {name: row[name] for name in ("parent_id", "name", "leaf", "retired", "version")}
    skus, properties = (tuple(_stored(each) for each in row[name]) for name in ("skus", "properties"))
    return Category(row["_id"], path="", skus=skus, properties=properties, **plain)


def _stored(row: Row) -> Attribute:
    values = tuple((identity, name) for identity, name in row["values"])
    return Attribute(row["id"], row["name"], values, required=row["required"], closed=row["closed"])


def to_row(category: Category, order: int) -> dict[str, Any]:
    """``category`` as it is stored; ``order``: the revision that made it."""
    plain = {name: getattr(category, name) for name in ("parent_id", "name", "leaf", "retired", "version")}
    attributes = {name: [_row(each) for each in getattr(category, name)] for name in ("skus", "properties")}
    return {"_id": category.id, "order": order, **plain, **attributes}


def _row(attribute: Attribute) -> dict[str, Any]:
    values = [[identity, name] for identity, name in attribute.values]
    flags = {"required": attribute.required, "closed": attribute.closed}
    return {"id": attribute.id, "name": attribute.name, "values": values, **flags}


# --------------------------------------------------------------------------------------------------------------- shipped data


def parse(data: Mapping[str, Any]) -> Tree:
    """The tree from the data of ``categories.toml``. Raises ValueError or KeyError for data that does not fit together."""
    skus = {name: _attribute(row) for name, row in data["attributes"].items()}
    properties = {name: _attribute(row) for name, row in data["properties"].items()}
    rows = {row["id"]: row for row in data["categories"]}
    above = {row["parent"] for row in data["categories"] if "parent" in row}
    found: list[Category] = []
    for row in data["categories"]:
        offered = {**rows.get(row.get("parent"), {}), **row}
        required = set(row.get("required", ()))
        asked = tuple(replace(properties[name], required=name in required) for name in offered.get("properties", ()))
        axes = tuple(skus[name] for name in offered.get("skus", ()))
        parent, leaves = row.get("parent", data["root"]), row.get("leaves", ())
        leaf = not leaves and row["id"] not in above
        found.append(Category(row["id"], parent, row["name"], "", leaf=leaf, skus=axes, properties=asked))
        for identity, name, *own in leaves:
            its = tuple(skus[each] for each in own[0]) if own else axes
            found.append(Category(identity, row["id"], name, "", leaf=True, skus=its, properties=asked))
    placed = _with_paths(found, data["root"])
    for field in ("id", "path"):
        if len({getattr(category, field) for category in placed}) != len(placed):
            raise ValueError("two categories share an id or a path")
    return Tree(placed, data["root"], data["uncategorised"])


def _attribute(row: Mapping[str, Any]) -> Attribute:
    return Attribute(row["id"], row["name"], tuple((identity, name) for identity, name in row["values"]))
