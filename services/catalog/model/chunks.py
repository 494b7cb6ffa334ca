"""A chunk: some products that are applied together, from an import or from one bulk call.

``plan`` compares drafts with what the database holds and says every write that follows; it writes nothing. Known products are found by
external_id. Equal digests mean *unchanged*: the merchant said the same values as last time, so nothing is written and stock that was
sold since does not come back. A quantity that differs from the one said last sets the stock; one that does not leaves it alone, also
when the SKU was out of the file meanwhile: its stock row then keeps what was ``said``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model.freight import missing_measure, template_key
from services.catalog.model.products import Listing, ProductDraft, SkuDraft, State, listing, state_after
from services.catalog.model.versions import old_version, was_shown
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
    ``categories``: category id → products more (or fewer); ``templates``: freight templates that products begin to use, by id.
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


def external_key(shop_id: str, external_id: str) -> str:
    """Unique over all shops: what the index on products holds."""
    return f"{shop_id}/{external_id}"


def merchant_key(shop_id: str, merchant_sku: str) -> str:
    """Unique over all shops: what the index on stock holds."""
    return f"{shop_id}/{merchant_sku}"


def says_anew(item: Item, draft: ProductDraft, product: Document | None) -> bool:
    """Whether ``draft`` differs from what was said of the product last time, or may change something all the same."""
    return product is None or item.sets_stock or bool(product["source"]["digest"] != draft.digest)


def content_version(product: Document) -> int:
    """The version at which the product came to be as it is: one that was put back, or only said again, counts as what it was."""
    same = product.get("same") or {}
    return int(same["as"] if same.get("at") == product["version"] else product["version"])


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
        outcome = _take(out, item, item.draft, product, product_id, known, shop)
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


def _take(
    out: Plan,
    item: Item,
    draft: ProductDraft,
    product: Document | None,
    product_id: str,
    known: Known,
    shop: Shop,
) -> str:
    if product is None:
        _create(out, draft, product_id, known, shop)
        return "created"
    if not says_anew(item, draft, product):
        return "unchanged"
    seen = listing(draft, product_id)
    said = _said_last(product, seen, known)
    if item.sets_stock:
        said = _unsaid(draft, seen, said)
    if _changes_nothing(draft, product, seen, said, known):
        _note_said(out, draft, product, seen, said)
        return "unchanged"
    _change(out, draft, product, seen, said, known, shop)
    return "updated"


def _unsaid(draft: ProductDraft, seen: Listing, said: Mapping[str, int]) -> dict[str, int]:
    """``said`` without the SKUs of which ``draft`` tells a quantity: it holds, whatever was said before."""
    told = {shown["sku_id"] for sku, shown in zip(draft.skus, seen["skus"], strict=True) if sku.quantity is not None}
    return {identity: quantity for identity, quantity in said.items() if identity not in told}


def _changes_nothing(
    draft: ProductDraft, product: Document, seen: Listing, said: Mapping[str, int], known: Known
) -> bool:
    """Whether all that ``draft`` says is so already: in other words than last time, or because it was changed since."""
    if seen != product["listing"] or state_after(product["state"], draft.listed) != product["state"]:
        return False
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        row = known.stock.get(shown["sku_id"])
        if row is None:
            return False
        anew = sku.quantity is not None and sku.quantity != said.get(shown["sku_id"])
        if anew and max(sku.quantity or 0, row["reserved"]) != row["on_hand"]:
            return False
    return True


def _note_said(out: Plan, draft: ProductDraft, product: Document, seen: Listing, said: Mapping[str, int]) -> None:
    """Remember quantities that are said for the first time, so that the same file does not set the stock when it comes again."""
    source = _source(draft, seen, said)
    if source["quantities"] != product["source"]["quantities"]:
        same = {"at": product["version"] + 1, "as": content_version(product)}
        out.changes.append((product, Change(set={"source": source, "same": same})))


def _create(out: Plan, draft: ProductDraft, product_id: str, known: Known, shop: Shop) -> None:
    state = state_after(None, draft.listed)
    seen = listing(draft, product_id)
    out.products.append(
        {
            "_id": product_id,
            "shop_id": shop.shop_id,
            "external_id": draft.external_id,
            "external_key": external_key(shop.shop_id, draft.external_id),
            "currency": shop.currency,
            "state": state,
            "ever_listed": state is State.LISTED,
            "shown": state is State.LISTED,
            "listing_version": 1,
            "listing": seen,
            "source": _source(draft, seen, {}),
        }
    )
    if draft.freight.template_id:
        out.products[-1]["freight_key"] = _begin_template(out, draft, known, shop)
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        out.stock.append(_new_stock(shown["sku_id"], sku, product_id, shop))
    _recount(out, draft.category_id, 1)


def _change(
    out: Plan,
    draft: ProductDraft,
    product: Document,
    seen: Listing,
    said: Mapping[str, int],
    known: Known,
    shop: Shop,
) -> None:
    state = state_after(product["state"], draft.listed)
    values: dict[str, Any] = {
        "source": _source(draft, seen, said),
        "state": state,
        "ever_listed": product["ever_listed"] or state is State.LISTED,
        "shown": was_shown(product) or state is State.LISTED,
    }
    if seen != product["listing"]:
        values["listing"] = seen
        if product["ever_listed"]:
            out.versions.append(old_version(product, shop.now))
            values |= {"listing_version": product["listing_version"] + 1, "shown": state is State.LISTED}
    gone: tuple[str, ...] = ()
    if draft.freight.template_id == product["listing"]["freight"].get("template_id", 0):
        pass  # it uses the template that it used, or none as before
    elif draft.freight.template_id:
        values["freight_key"] = _begin_template(out, draft, known, shop)
    else:
        gone = ("freight_key",)
    out.changes.append((product, Change(set=values, unset=gone)))
    if draft.category_id != product["listing"]["category_id"]:
        _recount(out, product["listing"]["category_id"], -1)
        _recount(out, draft.category_id, 1)
    _restock(out, draft, product, seen, said, known, shop)


def _begin_template(out: Plan, draft: ProductDraft, known: Known, shop: Shop) -> str:
    """Note that a product begins to use its template; what the product carries to be found by."""
    template_id = draft.freight.template_id
    out.templates[template_id] = known.templates[template_id]
    return template_key(shop.shop_id, template_id)


def _said_last(product: Document, seen: Listing, known: Known) -> dict[str, int]:
    """SKU id → the quantity said last of it: by the last draft of the product, or by the last one that had the SKU."""
    rows = [known.stock.get(shown["sku_id"], {}) for shown in seen["skus"]]
    return {**{row["_id"]: row["said"] for row in rows if "said" in row}, **product["source"]["quantities"]}


def _restock(
    out: Plan,
    draft: ProductDraft,
    product: Document,
    seen: Listing,
    said: Mapping[str, int],
    known: Known,
    shop: Shop,
) -> None:
    released: list[tuple[dict[str, Any], dict[str, Any]]] = []
    claimed: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        identity = shown["sku_id"]
        row = known.stock.get(identity)
        if row is None:
            out.stock.append(_new_stock(identity, sku, product["_id"], shop))
            continue
        key = merchant_key(shop.shop_id, sku.merchant_sku) if sku.merchant_sku else None
        if row.get("merchant_key") not in (None, key):
            released.append(({"_id": identity}, {"$unset": {"merchant_key": ""}}))
        if key is not None and row.get("merchant_key") != key:
            claimed.append(({"_id": identity}, {"$set": {"merchant_key": key}}))
        if sku.quantity is not None and sku.quantity != said.get(identity):
            target = max(sku.quantity, row["reserved"])
            delta = target - row["on_hand"]
            if delta:
                condition = {"_id": identity, "on_hand": row["on_hand"], "reserved": {"$lte": target}}
                out.stock_updates.append((condition, {"$inc": {"on_hand": delta, "available": delta}}))
                out.movements.append({"sku_id": identity, "delta": delta})
    kept = {shown["sku_id"] for shown in seen["skus"]}
    gone = [shown["sku_id"] for shown in product["listing"]["skus"] if shown["sku_id"] not in kept]
    released += [({"_id": identity}, _let_go(said.get(identity))) for identity in gone]
    out.stock_updates[:0] = released
    out.stock_updates += claimed


def _let_go(said: int | None) -> dict[str, Any]:
    """The update of a SKU that left its product: its code is free again, and what was ``said`` of its stock is kept for its return."""
    update: dict[str, Any] = {"$unset": {"merchant_key": ""}}
    return update if said is None else {**update, "$set": {"said": said}}


def _new_stock(identity: str, sku: SkuDraft, product_id: str, shop: Shop) -> dict[str, Any]:
    quantity = sku.quantity or 0
    row = {
        "_id": identity,
        "product_id": product_id,
        "shop_id": shop.shop_id,
        "initial": quantity,
        "on_hand": quantity,
        "reserved": 0,
        "available": quantity,
    }
    if sku.merchant_sku:
        row["merchant_key"] = merchant_key(shop.shop_id, sku.merchant_sku)
    return row


def _source(draft: ProductDraft, seen: Listing, said: Mapping[str, int]) -> dict[str, Any]:
    """The digest and what was said last of each SKU's stock: a draft without a quantity leaves standing what was ``said`` before."""
    quantities = {}
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        quantity = said.get(shown["sku_id"]) if sku.quantity is None else sku.quantity
        if quantity is not None:
            quantities[shown["sku_id"]] = quantity
    return {"digest": draft.digest, "quantities": quantities}


def _recount(out: Plan, category_id: int, by: int) -> None:
    out.categories[category_id] = out.categories.get(category_id, 0) + by


# ------------------------------------------------------------------------------------------------------------------- events


def decide_counted(chunk: Document | None, shop: Document | None) -> Decision:
    """``import.chunk_applied``: the shop's categories are counted once a chunk; the chunk says whether they were."""
    if chunk is None or shop is None:
        return EARLY
    return DONE if chunk["counted"] else apply()
