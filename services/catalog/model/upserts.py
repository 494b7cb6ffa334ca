"""What a draft writes: a product made, or changed, or nothing because all of it is so already.

A quantity that differs from the one said last sets the stock; one that does not leaves it alone, also when the SKU was out of the file
meanwhile: its stock row then keeps what was ``said``.
"""

from collections.abc import Mapping
from typing import Any

from services.catalog.model.chunks import Document, Item, Known, Plan, Shop, content_version, says_anew
from services.catalog.model.freight import template_key
from services.catalog.model.names import exchanged, names_of
from services.catalog.model.products import Listing, ProductDraft, SkuDraft, State, listing, state_after
from services.catalog.model.versions import old_version, was_shown
from services.chassis.decisions import Change


def take(
    out: Plan,
    item: Item,
    draft: ProductDraft,
    product: Document | None,
    product_id: str,
    known: Known,
    shop: Shop,
) -> str:
    """Add to ``out`` what ``draft`` writes; the outcome. ``product``: as it is stored, if it is; ``product_id``: its id, or its new one."""
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
    out.named += names_of(out.products[-1]).values()
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
    unnamed, named = exchanged(names_of(product), names_of({**product, "listing": seen}))
    out.unnamed += unnamed
    out.named += named
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
    for sku, shown in zip(draft.skus, seen["skus"], strict=True):
        identity = shown["sku_id"]
        row = known.stock.get(identity)
        if row is None:
            out.stock.append(_new_stock(identity, sku, product["_id"], shop))
        elif sku.quantity is not None and sku.quantity != said.get(identity):
            target = max(sku.quantity, row["reserved"])
            delta = target - row["on_hand"]
            if delta:
                condition = {"_id": identity, "on_hand": row["on_hand"], "reserved": {"$lte": target}}
                out.stock_updates.append((condition, {"$inc": {"on_hand": delta, "available": delta}}))
                out.movements.append({"sku_id": identity, "delta": delta})
    kept = {shown["sku_id"] for shown in seen["skus"]}
    gone = [shown["sku_id"] for shown in product["listing"]["skus"] if shown["sku_id"] not in kept]
    # what was said of a SKU that leaves its product is kept for its return
    out.stock_updates += [
        ({"_id": identity}, {"$set": {"said": said[identity]}}) for identity in gone if said.get(identity) is not None
    ]


def _new_stock(identity: str, sku: SkuDraft, product_id: str, shop: Shop) -> dict[str, Any]:
    quantity = sku.quantity or 0
    return {
        "_id": identity,
        "product_id": product_id,
        "shop_id": shop.shop_id,
        "initial": quantity,
        "on_hand": quantity,
        "reserved": 0,
        "available": quantity,
    }


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
