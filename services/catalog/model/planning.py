"""What becomes of each item of a chunk: nothing is written here.

Known products are found by external_id. Equal digests mean *unchanged*: the merchant said the same values as last time, so nothing is
written and stock that was sold since does not come back.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from services.catalog.model.chunks import Document, Item, Known, Plan, Result, RowProblem, Shop, says_anew
from services.catalog.model.freight import missing_measure
from services.catalog.model.names import product_name, sku_name
from services.catalog.model.products import ProductDraft
from services.catalog.model.upserts import take


@dataclass(frozen=True, slots=True)
class Touched:
    """The names that a chunk gives, takes or changes the product of; ``all`` of them, or those that its items alone tell."""

    names: frozenset[str]
    all: bool

    def meets(self, items: list[Item], shop_id: str) -> bool:
        """Whether the plan of ``items`` may depend on what the chunk writes: then it is made when that is written."""
        if not self.all and any(sku.merchant_sku for item in items if item.draft for sku in item.draft.skus):
            return True
        return not self.names.isdisjoint(_names(items, shop_id))


def touched(items: list[Item], shop_id: str, made: Plan | None) -> Touched:
    """What a chunk of ``items`` touches, ``made`` being its plan where it has one. Without it nobody knows which codes it gives free."""
    unnamed = (row["_id"] for row in made.unnamed) if made is not None else ()
    return Touched(frozenset((*_names(items, shop_id), *unnamed)), made is not None)


def _names(items: list[Item], shop_id: str) -> Iterator[str]:
    for item in items:
        if item.external_id:
            yield product_name(shop_id, item.external_id)
        if item.draft is not None:
            yield from (sku_name(shop_id, sku.merchant_sku) for sku in item.draft.skus if sku.merchant_sku)


def plan(
    items: list[Item], known: Known, shop: Shop, new_id: Callable[[], str], *, most_failed: int | None = None
) -> Plan:
    """The writes for ``items``. After ``most_failed`` failures the rest is skipped (None: never)."""
    out = Plan()
    seen: set[str] = set()
    codes: dict[str, str] = {}
    for item in items:
        if most_failed is not None and out.count("failed") >= most_failed:
            out.results.append(Result(item.external_id, "", "skipped", item.row))
            continue
        problems = list(item.problems)
        if item.external_id and item.external_id in seen:
            problems.append(
                RowProblem(
                    item.row,
                    "external_id",
                    "DUPLICATE_ITEM",
                    f"{item.external_id} stands twice in this call; send it once",
                )
            )
        seen.add(item.external_id)
        product = known.products.get(item.external_id)
        if item.product_id and not problems:
            problems += _wrong_target(item, product)
        product_id = product["_id"] if product else new_id()
        if item.draft is not None and not problems:
            problems += _taken_codes(item, item.draft, product_id, known, codes)
            problems += _retired_category(item, item.draft, product, shop)
            if says_anew(item, item.draft, product):
                problems += _template_problems(item, item.draft, known)
        if item.draft is None or problems:
            out.results.append(
                Result(item.external_id, product["_id"] if product else "", "failed", item.row, tuple(problems))
            )
            continue
        codes.update({sku.merchant_sku: product_id for sku in item.draft.skus if sku.merchant_sku})
        outcome = take(out, item, item.draft, product, product_id, known, shop)
        out.results.append(Result(item.external_id, product_id, outcome, item.row))
    return out


def _wrong_target(item: Item, product: Document | None) -> list[RowProblem]:
    """The product that the item names may have been deleted a moment ago (its external_id is another's by now), or have changed."""
    if product is None or product["_id"] != item.product_id:
        return [RowProblem(item.row, "product_id", "NOT_FOUND", f"the shop has no product {item.product_id}")]
    if item.etag in ("", str(product["version"])):
        return []
    message = "the product was changed since you read it; read it again, then send its new etag"
    return [RowProblem(item.row, "etag", "ETAG_MISMATCH", message)]


def _taken_codes(
    item: Item, draft: ProductDraft, product_id: str, known: Known, codes: Mapping[str, str]
) -> list[RowProblem]:
    problems = []
    for number, sku in enumerate(draft.skus):
        owner = codes.get(sku.merchant_sku) or known.owners.get(sku.merchant_sku)
        if sku.merchant_sku and owner not in (None, product_id):
            where = item.code_field if sku.row else f"skus[{number}].merchant_sku"
            message = (
                f"{sku.merchant_sku} belongs to another product of this shop; a merchant SKU is unique in its shop"
            )
            problems.append(RowProblem(sku.row or item.row, where, "MERCHANT_SKU_TAKEN", message))
    return problems


def _retired_category(item: Item, draft: ProductDraft, product: Document | None, shop: Shop) -> list[RowProblem]:
    """A retired category keeps the products it has and takes no others."""
    stays = product is not None and product["listing"]["category_id"] == draft.category_id
    if draft.category_id not in shop.retired or stays:
        return []
    message = f"category {draft.category_id} takes no new products any more; choose another leaf of GET /v1/categories"
    return [RowProblem(item.row, item.columns.get("category_id", "category_id"), "CATEGORY_RETIRED", message)]


def _template_problems(item: Item, draft: ProductDraft, known: Known) -> list[RowProblem]:
    """The template must be the shop's, and each SKU must say what the template counts."""
    template_id = draft.freight.template_id
    if not template_id:
        return []
    template = known.templates.get(template_id)
    if template is None:
        where = item.columns.get("freight.template_id", "freight.template_id")
        message = (
            f"the shop has no freight template {template_id}; name one of GET /v1/freight-templates, or make it first"
        )
        return [RowProblem(item.row, where, "FREIGHT_TEMPLATE_UNKNOWN", message)]
    problems = []
    for number, sku in enumerate(draft.skus):
        name = missing_measure(template["valuation"], sku.weight_g, sku.volume_cm3)
        if name:
            message = f"freight template {template_id} counts {template['valuation']}; say how much one piece has"
            where = item.columns.get(name, f"skus[{number}].{name}")
            problems.append(RowProblem(sku.row or item.row, where, "MEASURE_MISSING", message))
    return problems
