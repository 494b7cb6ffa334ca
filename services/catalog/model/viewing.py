"""Views: who looks at a shop's products and shelves, by natural day (CST) and channel. Visitors × conversion × basket = sales.

Visitors are counted as a set of numbers below 2²²: each is hashed from shop, day and visitor, so that nothing joins the visitors of two
days or two shops. How many different visitors made so many different numbers follows by linear counting (Whang et al., 1990): exact for
thousands, within 0.1 % for a million, and a set is never larger than half a megabyte.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from services.chassis import calendar
from services.chassis.decisions import DONE, STALE, Decision, apply
from services.chassis.errors import Refusal, Violation, invalid

SLOTS: Final = 2**22
DIRECT: Final = "direct"
OTHER: Final = "other"
USUAL_DAYS: Final = 7
_DAY: Final = re.compile(r"20\d{2}-\d{2}-\d{2}")


def classes(policy: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Channel → class ("" where it is not known), in the order of the policy."""
    known = {code: name for name, codes in policy.items() for code in codes}
    return {**known, DIRECT: "", OTHER: ""}


def channel_of(said: str, known: Iterable[str]) -> str:
    """The channel that a view counts for."""
    if not said:
        return DIRECT
    return said if said in known else OTHER


def slot(whose: str, day: str, visitor: int) -> int:
    """The number of a visitor in the set of a shop (or of a product) and a day."""
    digest = hashlib.blake2b(f"{whose}\x1f{day}\x1f{visitor}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % SLOTS


def distinct(taken: int) -> int:
    """How many visitors took so many of the ``SLOTS``."""
    return round(-SLOTS * math.log1p(-min(taken, SLOTS - 1) / SLOTS))


def check_batch(seen: Sequence[Mapping[str, Any]], most: Mapping[str, int]) -> None:
    """Raises Refusal INVALID_ARGUMENT for a batch that is empty, too large, or counts backwards."""
    found: list[Violation] = []
    if not 0 < len(seen) <= most["seen"]:
        found.append(Violation("seen", f"between 1 and {most['seen']} shops and channels a batch"))
    if sum(len(each["visitors"]) for each in seen) > most["visitors"]:
        found.append(Violation("seen", f"at most {most['visitors']} visitors a batch"))
    if sum(len(each.get("products", ())) for each in seen) > most["products"]:
        found.append(Violation("seen", f"at most {most['products']} products a batch"))
    for number, each in enumerate(seen):
        if any(not one["product_id"] or one["views"] < 0 for one in each.get("products", ())):
            found.append(Violation(f"seen[{number}].products", "name each product, and views that are not negative"))
        if not each["shop_id"] or min(each["product_views"], each["shelf_views"]) < 0:
            found.append(Violation(f"seen[{number}]", "name a shop, and views that are not negative"))
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def folded(seen: Sequence[Mapping[str, Any]], day: str, known: Iterable[str]) -> list[dict[str, Any]]:
    """What a batch counts for each shop and channel of ours, as the event tells it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    codes = frozenset(known)
    for each in seen:
        key = (each["shop_id"], channel_of(each["channel"], codes))
        row = found.setdefault(key, {"product_views": 0, "shelf_views": 0, "visitors": set(), "products": {}})
        row["product_views"] += each["product_views"]
        row["shelf_views"] += each["shelf_views"]
        row["visitors"] |= {slot(each["shop_id"], day, visitor) for visitor in each["visitors"]}
        for one in each.get("products", ()):
            looked = row["products"].setdefault(one["product_id"], {"views": 0, "visitors": set()})
            looked["views"] += one["views"]
            looked["visitors"] |= {slot(one["product_id"], day, visitor) for visitor in one["visitors"]}
    return [
        {
            "shop_id": shop_id,
            "channel": channel,
            **row,
            "visitors": sorted(row["visitors"]),
            "products": [
                {"product_id": name, "views": one["views"], "visitors": sorted(one["visitors"])}
                for name, one in row["products"].items()
            ],
        }
        for (shop_id, channel), row in found.items()
    ]


def decide_recorded(batch: Mapping[str, Any] | None) -> Decision:
    """A batch is counted once: it remembers that it was. One that is gone was counted long ago."""
    if batch is None:
        return STALE
    return DONE if batch.get("counted") else apply()


def days_between(from_day: str, to_day: str, now: datetime, most: int) -> list[str]:
    """Every natural day asked for. Raises Refusal INVALID_ARGUMENT naming the field."""
    last = _day("to_day", to_day or calendar.day(now))
    first = _day("from_day", from_day) if from_day else last - timedelta(days=USUAL_DAYS - 1)
    if first > last:
        raise invalid("from_day", "must not come after to_day")
    if (last - first).days >= most:
        raise invalid("from_day", f"at most {most} days at once; ask again for the others")
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


def _day(path: str, text: str) -> date:
    message = 'must be a day of this century such as "2026-01-05"'
    if not _DAY.fullmatch(text):
        raise invalid(path, message)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid(path, message) from error
