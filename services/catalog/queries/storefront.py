"""What everybody sees of a shop: its published shelves and its categories."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.catalog.model import shelves, windows
from services.catalog.model.categories import Tree
from services.catalog.model.products import State, sku_text
from services.catalog.queries import views
from services.catalog.queries.groups import place_after
from services.catalog.queries.images import Pictures
from services.catalog.store import SERVICE, Store
from services.catalog.store.shelving import shelf_key, version_key
from services.chassis import clock, policy
from services.chassis.errors import Refusal, Violation, not_found
from services.chassis.mongo import Document

SPARE: Final = 20
"""So many more members of a group are read at first than are shown, to stand in for those that are not on sale."""
STEP: Final = 500
"""Where that is not enough, so many of the next are looked at, again and again until the module is full or the group ends (5,000 members)."""
Place = tuple[int, int]
"""Where a page of a shelf begins: its version, the number of the module."""


@dataclass(frozen=True, slots=True)
class _Goods:
    """What there is of products, and the sale windows that run."""

    stock: Mapping[str, Document]
    units: Mapping[str, Document]
    now: datetime
    most: int
    """SKUs shown of a product."""

    @classmethod
    def of(cls, store: Store, products: Mapping[str, Document]) -> "_Goods":
        now = clock.business()
        most = policy.load(SERVICE).value("shelf_skus", now)
        if not products:
            return cls({}, {}, now, most)
        return cls(store.stock_of(products.values()), store.units_now(products.values(), now), now, most)


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything that the modules of a page name."""

    groups: Mapping[int, Document]
    members: Mapping[int, list[str]]
    """Of each group those on sale that any module shows, in order."""
    products: Mapping[str, Document]
    goods: _Goods
    preview: int
    now: datetime


def public_shelf(store: Store, shop_id: str, slug: str, place: Place | None, pictures: Pictures) -> Document:
    """A page of the published shelf with listed products, prices and stock. Raises Refusal NOT_FOUND.

    Six or seven reads whatever it holds; more where a group begins with products that are not on sale.
    """
    shelf, shop = _open(store, shop_id, slug)
    version = shelf["published_version"]
    if place is not None and place[0] != version:
        message = "the shelf was published anew since; start again without page_token"
        raise Refusal("INVALID_PAGE_TOKEN", f"page_token: {message}", (Violation("page_token", message),))
    content = _content(store, shelf, version)
    return {**_page(store, shop, content, place[1] if place else 0, pictures), "slug": slug, "version": version}


def preview(
    store: Store, shop_id: str, shelf_id: int, version: int, place: Place | None, pictures: Pictures
) -> Document:
    """A page of the draft (version 0) or of a version, as it would be shown. Raises Refusal NOT_FOUND."""
    shelf = store.shelves.find_one({"_id": shelf_key(shop_id, shelf_id), "shop_id": shop_id})
    shop = store.shop(shop_id)
    if shelf is None or shop is None or shop["state"] == "closed":
        raise not_found("shelf", str(shelf_id))
    content = _content(store, shelf, version) if version else shelf["draft"]
    page = _page(store, shop, content, place[1] if place else 0, pictures)
    return {**page, "slug": shelf["slug"], "version": version}


def shelf_products(
    store: Store, asked: tuple[str, str, int], after: tuple[int, str] | None, size: int, pictures: Pictures
) -> tuple[Document, tuple[int, str] | None]:
    """A page of a group that the published shelf shows, and after which product the next begins. Raises Refusal NOT_FOUND.

    ``asked``: shop, slug, group.
    """
    shop_id, slug, group_id = asked
    shelf, shop = _open(store, shop_id, slug)
    content = _content(store, shelf, shelf["published_version"])
    group = store.groups.find_one({"_id": shelf_key(shop_id, group_id), "shop_id": shop_id})
    if group is None or group_id not in shelves.group_ids(content["modules"]):
        raise not_found("group on the shelf", str(group_id))
    members = group["product_ids"]
    start = place_after(members, after)
    page = members[start : start + size]
    products = _listed(store, shop_id, page, pictures)
    goods = _Goods.of(store, products)
    shown = [_product(products[product_id], goods) for product_id in page if product_id in products]
    last = (start + len(page) - 1, page[-1]) if start + size < len(members) else None
    return {"group_id": group_id, "name": group["name"], "currency": shop["currency"], "products": shown}, last


def listed(
    store: Store, asked: tuple[str, int], before: str | None, size: int, pictures: Pictures
) -> tuple[Document, str | None]:
    """A page of what the shop has on sale, newest first, and the position after which the next begins. Raises Refusal NOT_FOUND.

    ``asked``: shop, category (0: all).
    """
    shop_id, category_id = asked
    shop = _open_shop(store, shop_id)
    rows = store.page_of_products(shop_id, before, size + 1, State.LISTED, category_id)
    page = {row["_id"]: row for row in pictures.shown(store, shop_id, rows[:size])}
    goods = replace(_Goods.of(store, page), most=0)
    last = rows[size - 1]["position"] if len(rows) > size else None
    return {"currency": shop["currency"], "products": [_product(row, goods) for row in page.values()]}, last


def _open_shop(store: Store, shop_id: str) -> Document:
    shop = store.shop(shop_id)
    if shop is None or shop["state"] != "open":
        raise not_found("shop", shop_id)
    return shop


def _open(store: Store, shop_id: str, slug: str) -> tuple[Document, Document]:
    """The published shelf and its open shop."""
    shelf = store.shelves.find_one({"slug_key": f"{shop_id}/{slug}"})
    shop = store.shop(shop_id)
    if shelf is None or not shelf["published_version"] or shop is None or shop["state"] != "open":
        raise not_found("shelf", slug)
    return shelf, shop


def _content(store: Store, shelf: Document, version: int) -> Document:
    row = store.shelf_versions.find_one({"_id": version_key(shelf["shop_id"], shelf["shelf_id"], version)})
    if row is None:
        raise not_found("version of the shelf", str(version))
    content: Document = row["content"]
    return content


def _page(store: Store, shop: Document, content: Document, start: int, pictures: Pictures) -> Document:
    """Whole modules from number ``start``, and the number of the first that found no room any more (0: none)."""
    now, rules = clock.business(), policy.load(SERVICE)
    preview_size = rules.value("shelf_group_products", now)
    end = shelves.page_end(content["modules"], start, preview_size, rules.value("shelf_page_products", now))
    modules = content["modules"][start:end]
    most = max((shelves.shown_of(module, preview_size) for module in modules), default=0) + SPARE
    groups = store.group_rows(shop["shop_id"], shelves.group_ids(modules), most)
    wanted = {product_id for module in modules for product_id in _wanted(module, groups, preview_size)}
    products = _listed(store, shop["shop_id"], wanted, pictures)
    members = {}
    for number, count in _counts(modules, groups, preview_size).items():
        members[number], more = _on_sale(store, groups[number], count, products)
        products |= _listed(store, shop["shop_id"], more, pictures) if more else {}
    found = _Found(groups, members, products, _Goods.of(store, products), preview_size, now)
    shown = [_module(module, found) for module in modules]
    alone = any(shelves.PRESETS[module["kind"]].alone for module in content["modules"])
    return {
        "shop_id": shop["shop_id"],
        "name": content["name"],
        "banner": "" if alone else content["banner"],
        "currency": shop["currency"],
        "modules": [module for module in shown if module is not None],
        "next": end if end < len(content["modules"]) else 0,
    }


def _listed(store: Store, shop_id: str, product_ids: Iterable[str], pictures: Pictures) -> dict[str, Document]:
    wanted = list(product_ids)
    found = store.products_by_id(wanted).values() if wanted else ()
    rows = [row for row in found if row["state"] == "listed" and row["shop_id"] == shop_id]
    return {row["_id"]: row for row in pictures.shown(store, shop_id, rows)}


def _counts(modules: Iterable[Mapping[str, Any]], groups: Mapping[int, Document], preview_size: int) -> dict[int, int]:
    """How many products of each group that there is a module shows at most."""
    found: dict[int, int] = {}
    for module in modules:
        for group in module["groups"]:
            number = group["group_id"]
            if number in groups:
                found[number] = max(found.get(number, 0), shelves.shown_of(module, preview_size))
    return found


def _on_sale(
    store: Store, group: Mapping[str, Any], count: int, products: Mapping[str, Document]
) -> tuple[list[str], list[str]]:
    """The first ``count`` members that are on sale, and those of them that are still to be read."""
    looked_at = len(group["product_ids"])
    shown = [product_id for product_id in group["product_ids"] if product_id in products][:count]
    more: list[str] = []
    while len(shown) + len(more) < count and looked_at < group["product_count"]:
        following = store.group_members(group["shop_id"], group["group_id"], looked_at, STEP)
        if not following:  # it became shorter meanwhile
            break
        looked_at += len(following)
        listed = store.listed_among(group["shop_id"], following)
        more += [product_id for product_id in following if product_id in listed and product_id not in products]
    more = more[: count - len(shown)]
    return shown + more, more


def _wanted(module: Mapping[str, Any], groups: Mapping[int, Document], preview_size: int) -> Iterable[str]:
    yield from module.get("product_ids", ())
    for group in module["groups"]:
        if group["group_id"] in groups:
            yield from groups[group["group_id"]]["product_ids"][: shelves.shown_of(module, preview_size) + SPARE]


def _module(module: Mapping[str, Any], found: _Found) -> Document | None:
    """The module filled; None where nothing is left to show: its groups are gone, its time is over."""
    groups = [_group(module, group, found) for group in module["groups"] if group["group_id"] in found.groups]
    if module["groups"] and not groups:
        return None
    end_time = module.get("end_time")
    ended = end_time is not None and end_time <= found.now
    if ended and not module.get("ended_text"):
        return None
    own = {name: module[name] for name in shelves.OWN_FIELDS if name in module}
    shown = {**own, "kind": module["kind"], "groups": groups, "ended": ended}
    shown["products"] = _products(module.get("product_ids", ()), found)
    if ended:
        shown["title"] = module["ended_text"]
    return shown


def _group(module: Mapping[str, Any], named: Mapping[str, Any], found: _Found) -> Document:
    group = found.groups[named["group_id"]]
    most = shelves.shown_of(module, found.preview)
    return {
        "group_id": named["group_id"],
        "name": group["name"],
        "image": named["image"],
        "products": _products(found.members[named["group_id"]][:most], found),
        "product_count": group["product_count"],
    }


def _products(product_ids: Iterable[str], found: _Found) -> list[Document]:
    return [
        _product(found.products[product_id], found.goods) for product_id in product_ids if product_id in found.products
    ]


def _product(row: Document, goods: _Goods) -> Document:
    listing, held = row["listing"], windows.running(row, goods.now)
    skus = [
        {
            "sku_id": sku["sku_id"],
            "text": sku_text(sku["values"]),
            "original_price": sku["original_price"],
            **views.sale(
                sku,
                goods.stock[sku["sku_id"]]["available"] if sku["sku_id"] in goods.stock else 0,
                held.get(sku["sku_id"]),
                goods.units,
            ),
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
        "skus": skus[: goods.most],
        "sku_count": len(skus),
    }


def navigation(store: Store, shop_id: str) -> Document:
    """In which categories the shop has products, the fullest first. Raises Refusal NOT_FOUND for a shop that is not open."""
    shop, tree = _open_shop(store, shop_id), store.tree()
    entries = [
        _entry(int(category_id), count, tree) for category_id, count in shop.get("categories", {}).items() if count > 0
    ]
    entries.sort(key=lambda entry: (-entry["products"], entry["category_id"]))
    noted = shop.get("last_import")
    return {
        "shop_id": shop_id,
        "name": shop["name"],
        "entries": entries,
        "last_import_time": noted["at"] if noted else None,
    }


def _entry(category_id: int, count: int, tree: Tree) -> Document:
    category = tree.get(category_id)
    return {"category_id": category_id, "category": category.path if category else "", "products": count}
