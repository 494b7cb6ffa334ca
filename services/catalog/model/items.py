"""A product as the API takes it (ProductInput): one item of a bulk call, one line of a JSONL file."""

from collections.abc import Mapping
from typing import Any

from services.catalog.model.assurances import assurances
from services.catalog.model.categories import Tree
from services.catalog.model.chunks import PROBLEMS_TOLD, Item, RowProblem
from services.catalog.model.freight import Freight
from services.catalog.model.products import Limits, Problem, ProductDraft, SkuDraft, validate


def item_of(number: int, raw: Mapping[str, Any], tree: Tree, limits: Limits) -> Item:
    """The item ``raw`` (plain values of a ProductInput) at place ``number``: its draft, or all that is wrong with it by path."""
    draft = draft_of(raw, tree)
    found = validate(draft, tree, limits)
    found += [
        Problem(f"detail[{place}]", "BLOCK_INVALID", "a block holds a text or an image, not both")
        for place, block in enumerate(raw["detail"])
        if block["text"] and block["image"]
    ]
    product_id = raw.get("product_id", "")
    if product_id and not draft.external_id:
        found = [each for each in found if each.field != "external_id"]
    if raw.get("etag") and not product_id:
        found.append(Problem("etag", "INVALID_ARGUMENT", "goes with product_id; name the product by it"))
    problems = tuple(RowProblem(number, each.field, each.reason, each.message) for each in found[:PROBLEMS_TOLD])
    target = {"product_id": product_id, "etag": raw.get("etag", ""), "sets_stock": raw.get("sets_stock", False)}
    return Item(draft.external_id, number, None if problems else draft, problems, **target)


def draft_of(raw: Mapping[str, Any], tree: Tree) -> ProductDraft:
    """What ``raw`` (plain values of a ProductInput) says; nothing is checked."""
    return ProductDraft(
        external_id=raw["external_id"].strip(),
        name=raw["name"].strip(),
        category_id=raw["category_id"] or tree.uncategorised,
        skus=tuple(_sku(sku) for sku in raw["skus"]),
        axes=tuple(raw["axes"]),
        images=tuple(raw["images"]),
        detail=tuple(
            ("image", block["image"]) if block["image"] else ("text", block["text"]) for block in raw["detail"]
        ),
        properties=tuple((found["name"], found["value"]) for found in raw["properties"]),
        buy_limit=raw["buy_limit"],
        freight=_freight(raw.get("freight") or {}),
        listed=raw.get("listed"),
        assurances=assurances(raw),
        fulfilment=raw.get("fulfilment", ""),
    )


def _freight(raw: Mapping[str, Any]) -> Freight:
    fees = tuple((found["carrier_class"], found["fee"]) for found in raw.get("carrier_fees", ()))
    return Freight(raw.get("kind") or "free", raw.get("fee", 0), fees, raw.get("template_id", 0))


def _sku(raw: Mapping[str, Any]) -> SkuDraft:
    plain = {name: raw[name] for name in ("price", "merchant_sku", "barcode", "image", "weight_g", "volume_cm3")}
    return SkuDraft(
        values=tuple(raw["values"]),
        original_price=raw["original_price"] or raw["price"],
        quantity=raw.get("quantity"),
        **plain,
    )
