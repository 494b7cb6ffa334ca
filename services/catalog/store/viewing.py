"""Counting a batch of views: two documents a shop and day (and a product and day), one with its counts, one with its sets of visitors."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pyroaring import BitMap

from services.catalog.model import viewing
from services.chassis.commit import Rows, Transaction
from services.chassis.mongo import Database, Document

Views = Sequence[Mapping[str, Any]]
ALL: Final = "all"
"""The set of everybody who came on the day, whichever way."""


SHOP_COUNTS: Final = ("product_views", "shelf_views")
PRODUCT_COUNTS: Final = ("views",)


def day_key(whose: str, day: str) -> str:
    """The id of a shop's or a product's day."""
    return f"{whose}:{day}"


def count(database: Database, transaction: Transaction, day: str, views: Views, expire_at: datetime) -> None:
    """Add ``views`` (one a shop and channel) to their shops' day; two reads. Where a shop was counted meanwhile the commit falls short."""
    by_shop: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in views:
        by_shop[each["shop_id"]].append(each)
    keys = [day_key(shop_id, day) for shop_id in by_shop]
    days, visitors = database["view_days"], database["view_visitors"]
    counts, sets = _by_id(days, keys), _by_id(visitors, keys)
    for shop_id, seen in by_shop.items():
        key = day_key(shop_id, day)
        kept = _joined(sets.get(key, {}).get("sets", {}), seen)
        sizes = {name: viewing.distinct(len(kept[name])) for name in kept}
        whose: Document = {"_id": key, "shop_id": shop_id, "day": day}
        _put(transaction, days, counts.get(key), whose, _counted(counts.get(key), seen, sizes, SHOP_COUNTS))
        told = {f"sets.{name}": kept[name].serialize() for name in kept}
        _put(transaction, visitors, sets.get(key), {"_id": key, "expire_at": expire_at}, told)


def count_products(
    database: Database, transaction: Transaction, day: str, views: Views, ends: tuple[datetime, datetime]
) -> None:
    """The same for products; nothing is read or written of sets where nobody in particular looked. ``ends``: of counts, of sets."""
    by_product: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in views:
        for one in each.get("products", ()):
            by_product[one["product_id"]].append({**one, "shop_id": each["shop_id"], "channel": each["channel"]})
    keys = {product_id: day_key(product_id, day) for product_id in by_product}
    named = [keys[product_id] for product_id, seen in by_product.items() if any(each["visitors"] for each in seen)]
    days, visitors = database["product_view_days"], database["product_view_visitors"]
    counts, sets = _by_id(days, list(keys.values())), _by_id(visitors, named)
    for product_id, seen in by_product.items():
        key, sizes = keys[product_id], dict[str, int]()
        if key in named:
            kept = _joined(sets.get(key, {}).get("sets", {}), seen)
            sizes = {name: viewing.distinct(len(kept[name])) for name in kept}
            told = {f"sets.{name}": kept[name].serialize() for name in kept}
            _put(transaction, visitors, sets.get(key), {"_id": key, "expire_at": ends[1]}, told)
        whose: Document = {"_id": key, "shop_id": seen[0]["shop_id"], "day": day, "expire_at": ends[0]}
        _put(transaction, days, counts.get(key), whose, _counted(counts.get(key), seen, sizes, PRODUCT_COUNTS))


def _by_id(rows: Rows, keys: Sequence[str]) -> dict[str, Document]:
    return {row["_id"]: row for row in rows.find({"_id": {"$in": list(keys)}}, batch_size=1000)}


def _joined(sets: Mapping[str, bytes], seen: Views) -> dict[str, BitMap]:
    """The sets that ``seen`` adds to, as they are then: one a channel, and that of everybody."""
    names = [ALL, *(each["channel"] for each in seen)]
    kept = {name: BitMap.deserialize(sets[name]) if name in sets else BitMap() for name in names}
    for each in seen:
        kept[each["channel"]].update(each["visitors"])
        kept[ALL].update(each["visitors"])
    return kept


def _counted(before: Document | None, seen: Views, sizes: Mapping[str, int], names: Sequence[str]) -> Document:
    """What changes in a day's counts, by dotted field. ``sizes``: of the sets that were added to; the others are as they were."""
    channels = before["channels"] if before else {}
    told: Document = {"visitors": sizes.get(ALL, before["visitors"] if before else 0)}
    for each in seen:
        had = channels.get(each["channel"], {})
        more = {name: had.get(name, 0) + each[name] for name in names}
        told[f"channels.{each['channel']}"] = {
            **more,
            "visitors": sizes.get(each["channel"], had.get("visitors", 0)),
        }
    return told


def _put(transaction: Transaction, rows: Rows, before: Document | None, first: Document, told: Document) -> None:
    """Set what is ``told`` (by dotted field) on this version of a row, or insert it with ``first``."""
    if before is not None:
        same = {"_id": before["_id"], "version": before["version"]}
        transaction.update(rows, same, {"$set": told, "$inc": {"version": 1}})
        return
    row: Document = {**first, "version": 1}
    for name, value in told.items():
        outer, _, inner = name.partition(".")
        if inner:
            row.setdefault(outer, {})[inner] = value
        else:
            row[outer] = value
    transaction.insert(rows, row)
