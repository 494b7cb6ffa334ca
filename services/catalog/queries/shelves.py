"""Questions about groups and shelves, and the public views of a shop."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.catalog.model.products import sku_text
from services.catalog.queries import views
from services.catalog.store import SERVICE, Store, tree
from services.chassis import clock, policy
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def groups(store: Store, shop_id: str) -> list[Document]:
    """All groups of the shop, by name."""
    return sorted(
        (views.group(row) for row in store.groups.find({"shop_id": shop_id})),
        key=lambda group: (group["name"], group["group_id"]),
    )


def shelves(store: Store, shop_id: str) -> list[Document]:
    """All shelves of the shop, by name."""
    return sorted(
        (views.shelf(row) for row in store.shelves.find({"shop_id": shop_id})),
        key=lambda shelf: (shelf["name"], shelf["shelf_id"]),
    )


def public_shelf(store: Store, shop_id: str, slug: str) -> Document:
    """The published shelf with listed products, prices and stock: six reads whatever it holds. Raises Refusal NOT_FOUND."""
    shelf = store.shelves.find_one({"slug_key": f"{shop_id}/{slug}"})
    shop = store.shop(shop_id)
    if shelf is None or not shelf["published_version"] or shop is None or shop["state"] != "open":
        raise not_found("shelf", slug)
    content = _published(store, shelf)
    read_time = clock.wall()
    wanted = [group["group_id"] for module in content["modules"] for group in module["groups"]]
    found = store.groups.find({"_id": {"$in": [f"{shop_id}:{number}" for number in wanted]}})
    shown = {group["group_id"]: group for group in found}
    preview = policy.load(SERVICE).value("shelf_group_products", clock.business())
    members = {product_id for module in content["modules"] for product_id in _members(module, shown, preview)}
    products = {
        product_id: row
        for product_id, row in store.products_by_id(members).items()
        if row["state"] == "listed" and row["shop_id"] == shop_id
    }
    stock = store.stock_of(products)
    return {
        "shop_id": shop_id,
        "slug": slug,
        "name": content["name"],
        "banner": content["banner"],
        "version": shelf["published_version"],
        "currency": shop["currency"],
        "modules": [_module(module, shown, products, stock, preview) for module in content["modules"]],
        "read_time": read_time,
    }


def _published(store: Store, shelf: Document) -> Document:
    version = store.shelf_versions.find_one({"_id": f"{shelf['_id']}:{shelf['published_version']}"})
    if version is None:
        raise not_found("shelf", shelf["slug"])
    content: Document = version["content"]
    return content


def _members(module: Mapping[str, Any], groups: Mapping[int, Document], preview: int) -> Iterable[str]:
    for group in module["groups"]:
        if group["group_id"] in groups:
            yield from groups[group["group_id"]]["product_ids"][: module["count"] or preview]


def _module(
    module: Mapping[str, Any],
    groups: Mapping[int, Document],
    products: Mapping[str, Document],
    stock: Mapping[str, Document],
    preview: int,
) -> Document:
    shown = []
    for group in module["groups"]:
        found = groups.get(group["group_id"])
        if found is None:
            continue
        members = found["product_ids"][: module["count"] or preview]
        listed = [_product(products[product_id], stock) for product_id in members if product_id in products]
        shown.append(
            {"group_id": group["group_id"], "name": found["name"], "image": group["image"], "products": listed}
        )
    return {"kind": module["kind"], "groups": shown, "background": module["background"]}


def _product(row: Document, stock: Mapping[str, Document]) -> Document:
    listing = row["listing"]
    skus = [
        {
            "sku_id": sku["sku_id"],
            "text": sku_text(sku["values"]),
            "price": sku["price"],
            "original_price": sku["original_price"],
            "available": stock[sku["sku_id"]]["available"] if sku["sku_id"] in stock else 0,
        }
        for sku in listing["skus"]
    ]
    cheapest = min(skus, key=lambda sku: int(sku["price"]))
    return {
        "product_id": row["_id"],
        "name": listing["name"],
        "image": listing["images"][0] if listing["images"] else "",
        "price": cheapest["price"],
        "original_price": cheapest["original_price"],
        "available": sum(sku["available"] for sku in skus),
        "skus": skus,
    }


def navigation(store: Store, shop_id: str) -> Document:
    """In which categories the shop has products, the fullest first. Raises Refusal NOT_FOUND for a shop that is not open."""
    shop = store.shop(shop_id)
    if shop is None or shop["state"] != "open":
        raise not_found("shop", shop_id)
    entries = [
        _entry(int(category_id), count) for category_id, count in shop.get("categories", {}).items() if count > 0
    ]
    entries.sort(key=lambda entry: (-entry["products"], entry["category_id"]))
    noted = shop.get("last_import")
    return {
        "shop_id": shop_id,
        "name": shop["name"],
        "entries": entries,
        "last_import_time": noted["at"] if noted else None,
    }


def _entry(category_id: int, count: int) -> Document:
    category = tree().get(category_id)
    return {"category_id": category_id, "category": category.path if category else "", "products": count}
