"""A chunk: some products that are applied together, from an import or from one bulk call.

What it is made of is here; ``planning`` says what becomes of each item, ``upserts`` every write that follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model.products import ProductDraft
from services.chassis.decisions import DONE, EARLY, Change, Decision, apply

Document = Mapping[str, Any]
OUTCOMES: Final = ("created", "updated", "unchanged", "failed")
PROBLEMS_TOLD: Final = 20
"""So many problems of one product are told; more would not help to mend it."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with one product: where it stands, why (for programs), and how to mend it."""

    row: int
    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """One product to apply, or what is wrong with it. ``row``: where it begins. ``code_field``: how its source calls merchant_sku.

    ``columns``: how a file calls other fields that only the plan can judge (``category_id``, ``freight.template_id``, ``weight_g``,
    ``volume_cm3``). ``product_id``, where given: the product that it is, as of ``etag`` where that is given. ``sets_stock``: its
    quantities hold also where the same were said last.
    """

    external_id: str
    row: int
    draft: ProductDraft | None
    problems: tuple[RowProblem, ...] = ()
    code_field: str = "merchant_sku"
    columns: Mapping[str, str] = field(default_factory=dict)
    product_id: str = ""
    etag: str = ""
    sets_stock: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the database holds: products by external_id, stock by SKU id (of those that change), owners (product ids) of merchant SKUs.

    ``templates``: freight templates of the shop by id, those that changing drafts name.
    """

    products: Mapping[str, Document] = field(default_factory=dict)
    stock: Mapping[str, Document] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[int, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item."""

    external_id: str
    product_id: str
    outcome: str
    row: int
    problems: tuple[RowProblem, ...] = ()


@dataclass(slots=True)
class Plan:
    """Every write of a chunk, and a result for each item.

    ``changes``: (stored product, Change); ``stock_updates``: (condition, update) in order; ``movements``: [{sku_id, delta}];
    ``categories``: category id → products more (or fewer); ``templates``: freight templates that products begin to use, by id;
    ``unnamed`` and ``named``: rows of names that go, and then those that come.
    """

    results: list[Result] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    stock: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[Document, Change]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    stock_updates: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    movements: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[int, int] = field(default_factory=dict)
    templates: dict[int, Document] = field(default_factory=dict)
    unnamed: list[dict[str, Any]] = field(default_factory=list)
    named: list[dict[str, Any]] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many items ended so."""
        return sum(result.outcome == outcome for result in self.results)

    def counts(self) -> dict[str, int]:
        """created, updated, unchanged, failed."""
        return {outcome: self.count(outcome) for outcome in OUTCOMES}


@dataclass(frozen=True, slots=True)
class Shop:
    """For whom a chunk is applied, and when (business time). ``retired``: categories that take no new products."""

    shop_id: str
    currency: str
    now: datetime
    retired: frozenset[int] = frozenset()


def says_anew(item: Item, draft: ProductDraft, product: Document | None) -> bool:
    """Whether ``draft`` differs from what was said of the product last time, or may change something all the same."""
    return product is None or item.sets_stock or bool(product["source"]["digest"] != draft.digest)


def content_version(product: Document) -> int:
    """The version at which the product came to be as it is: one that was put back, or only said again, counts as what it was."""
    same = product.get("same") or {}
    return int(same["as"] if same.get("at") == product["version"] else product["version"])


# ------------------------------------------------------------------------------------------------------------------- events


def decide_counted(chunk: Document | None, shop: Document | None) -> Decision:
    """``import.chunk_applied``: the shop's categories are counted once a chunk; the chunk says whether they were."""
    if chunk is None or shop is None:
        return EARLY
    return DONE if chunk["counted"] else apply()
