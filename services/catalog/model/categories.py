"""The category tree (类目树): what a product may be filed under, and what its category asks of it.

Data: ``categories.toml`` beside this package. Shape and root id follow category/getsub, getsku and getproperty of the 微信商铺API手册 V1.15.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Attribute:
    """A SKU attribute (规格) or property (属性): id, name and the values it offers as (id, name)."""

    id: int
    name: str
    values: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Category:
    """One category. ``required`` holds names of properties without which a product of it cannot be put on sale."""

    id: int
    parent_id: int
    name: str
    path: str
    leaf: bool
    skus: tuple[Attribute, ...] = ()
    properties: tuple[Attribute, ...] = ()
    required: frozenset[str] = frozenset()


class Tree:
    """All categories, found by id or by path."""

    def __init__(self, categories: tuple[Category, ...], root: int, uncategorised: int) -> None:
        """``uncategorised`` (未分类) is the leaf for products that name no category. Raises ValueError for ids used twice."""
        self.root, self.uncategorised = root, uncategorised
        self._by_id = {category.id: category for category in categories}
        self._by_path = {category.path: category for category in categories}
        if len(self._by_id) != len(categories) or len(self._by_path) != len(categories):
            raise ValueError("two categories share an id or a path")

    def __iter__(self) -> Iterator[Category]:
        """Parents before their children."""
        return iter(self._by_id.values())

    def get(self, identity: int) -> Category | None:
        """The category with this id."""
        return self._by_id.get(identity)

    def find(self, text: str) -> Category | None:
        """The category that ``text`` names: a path such as 女装/连衣裙 (spaces around the slash do not matter), or an id."""
        if text.isascii() and text.isdecimal():
            return self._by_id.get(int(text))
        return self._by_path.get("/".join(part.strip() for part in text.split("/")))

    def children(self, identity: int) -> tuple[Category, ...]:
        """The direct children, in the order of the data."""
        return tuple(category for category in self if category.parent_id == identity)


def parse(data: Mapping[str, Any]) -> Tree:
    """The tree from the data of ``categories.toml``. Raises ValueError or KeyError for data that does not fit together."""
    skus = {name: _attribute(row) for name, row in data["attributes"].items()}
    properties = {name: _attribute(row) for name, row in data["properties"].items()}
    found: list[Category] = []
    for row in data["categories"]:
        offered: dict[str, Any] = {
            "skus": tuple(skus[name] for name in row.get("skus", ())),
            "properties": tuple(properties[name] for name in row.get("properties", ())),
            "required": frozenset(properties[name].name for name in row.get("required", ())),
        }
        leaves = row.get("leaves", ())
        found.append(Category(row["id"], data["root"], row["name"], row["name"], leaf=not leaves, **offered))
        found += [
            Category(leaf, row["id"], name, f"{row['name']}/{name}", leaf=True, **offered) for leaf, name in leaves
        ]
    return Tree(tuple(found), data["root"], data["uncategorised"])


def _attribute(row: Mapping[str, Any]) -> Attribute:
    return Attribute(row["id"], row["name"], tuple((identity, name) for identity, name in row["values"]))
