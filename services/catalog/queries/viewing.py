"""Questions about views."""

from services.catalog.model import viewing
from services.catalog.store import SERVICE, Store
from services.catalog.store.viewing import day_key
from services.chassis import clock, policy
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def channels() -> list[Document]:
    """The codes that may stand in ``channel``, with their class."""
    return [{"channel": code, "channel_class": name} for code, name in _classes().items()]


def days(store: Store, shop_id: str, from_day: str, to_day: str) -> list[Document]:
    """Every day asked for with the shop's visitors and views. Raises Refusal INVALID_ARGUMENT."""
    now = clock.business()
    wanted = viewing.days_between(from_day, to_day, now, policy.load(SERVICE).value("view_days", now)["asked"])
    query = {"shop_id": shop_id, "day": {"$gte": wanted[0], "$lte": wanted[-1]}}
    found = {row["day"]: row for row in store.view_days.find(query, batch_size=1000)}
    known = _classes()
    return [_day(day, found.get(day, {"channels": {}, "visitors": 0}), known) for day in wanted]


def product_days(store: Store, shop_id: str, product_id: str, from_day: str, to_day: str) -> list[Document]:
    """Every day asked for with the visitors and views of one of the shop's products. Raises Refusal INVALID_ARGUMENT, NOT_FOUND."""
    product = store.products.find_one({"_id": product_id}, {"shop_id": 1})
    if product is None or product["shop_id"] != shop_id:
        raise not_found("product", product_id)
    now = clock.business()
    wanted = viewing.days_between(from_day, to_day, now, policy.load(SERVICE).value("view_days", now)["asked"])
    keys = [day_key(product_id, day) for day in wanted]
    found = {row["day"]: row for row in store.product_view_days.find({"_id": {"$in": keys}}, batch_size=1000)}
    known = _classes()
    return [_day(day, found.get(day, {"channels": {}, "visitors": 0}), known, ("views",)) for day in wanted]


def _day(
    day: str, row: Document, known: dict[str, str], names: tuple[str, ...] = ("product_views", "shelf_views")
) -> Document:
    shown = [
        {**counts, "channel": channel, "channel_class": known.get(channel, "")}
        for channel, counts in row["channels"].items()
    ]
    shown.sort(key=lambda each: (-each["visitors"], each["channel"]))
    totals = {name: sum(each[name] for each in shown) for name in names}
    return {"day": day, "visitors": row["visitors"], **totals, "channels": shown}


def _classes() -> dict[str, str]:
    return viewing.classes(policy.load(SERVICE).value("view_channels", clock.business()))
