"""What a list of orders is asked for, and by which of its words it is found best. Pure values; queries for MongoDB are made here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.chassis.errors import Refusal, Violation
from services.orders.model import keys

Asked = Mapping[str, Any]
SINGLE: Final = (
    "order_id",
    "out_trade_no",
    "transaction_id",
    "openid",
    "phone_tail",
    "merchant_sku",
    "external_id",
    "product_id",
)
"""Filters that name one thing, the rarest first."""
LENGTH: Final = 200
FIRST_DAY: Final = datetime(2014, 5, 29, tzinfo=UTC)
"""No order is older."""
SAID: Final[Mapping[str, str]] = {
    "buyer": "buyer_id",
    "openid": "openid",
    "phone": "address.mobile",
    "product": "lines.product_id",
    "sku": "lines.merchant_sku",
    "item": "lines.external_id",
    "dispute": "in_dispute",
    "trade": "payment_id",
    "transaction": "transaction_id",
}
"""Kind of word → the field that says the same."""
SPANS: Final = ("created", "paid", "updated")


@dataclass(frozen=True, slots=True)
class Search:
    """One list: ``ways`` into the index (each an equality, walked side by side), and what each order must match beside (``rest``).

    ``low`` ≤ serial moment < ``high`` (UTC; None: no bound). ``changed``: the shop's orders by when they changed, oldest change first.
    """

    ways: tuple[Mapping[str, Any], ...]
    rest: Mapping[str, Any]
    low: datetime | None = None
    high: datetime | None = None
    changed: tuple[datetime, datetime] | None = None


def check(asked: Asked, *, merchant: bool) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong filter. ``merchant``: the caller, or whom they look for, is one shop."""
    problems = [Violation(name, f"at most {LENGTH} characters") for name in SINGLE if len(asked.get(name, "")) > LENGTH]
    tail = asked.get("phone_tail", "")
    if tail and not (len(tail) == keys.TAIL and tail.isascii() and tail.isdigit()):
        problems.append(Violation("phone_tail", f"give the last {keys.TAIL} digits of the telephone number"))
    of_one_shop = () if merchant else ("openid", "phone_tail", "merchant_sku", "external_id")
    problems += [Violation(name, "is of one shop; name its shop_id") for name in of_one_shop if asked.get(name)]
    for name in SPANS:
        begins, ends = asked.get(f"{name}_from"), asked.get(f"{name}_to")
        if begins and ends and ends < begins:
            problems.append(Violation(f"{name}_to", f"must not lie before {name}_from"))
    if problems:
        raise Refusal("INVALID_ARGUMENT", f"{problems[0].field}: {problems[0].message}", tuple(problems))


def plan(
    asked: Asked, whose: Mapping[str, str], pay_within: timedelta, now: datetime, *, by_change: bool = True
) -> Search:
    """How to find what is ``asked`` of the orders of ``whose`` {shop_id} or {buyer_id}, or of a buyer at a shop.

    ``pay_within``: no order is paid later than that after it was placed, so a time of payment bounds the time of placing. Without
    ``by_change`` what changed in a time comes by when it was placed as well.
    """
    states = sorted(set(asked.get("states", ())))
    shop_id = whose.get("shop_id", "")
    low, high = _created(asked, pay_within)
    rest = {**_fields(asked, whose), **_paid(asked), **_dispute(asked)}
    wanted = {"state": states[0] if len(states) == 1 else {"$in": states}} if states else {}
    if by_change and (asked.get("updated_from") or asked.get("updated_to")) and shop_id and not _rare(asked, shop_id):
        changed = (asked.get("updated_from") or FIRST_DAY, asked.get("updated_to") or now + timedelta(days=1))
        serial = {"created_at": _between(low, high)} if low or high else {}
        rest.pop("seller.shop_id", None)
        return Search(({"shop_id": shop_id},), {**rest, **wanted, **serial}, changed=changed)
    updated = _between(asked.get("updated_from"), asked.get("updated_to"))
    rest |= {"updated_at": updated} if updated else {}
    word = _rare(asked, shop_id) or _common(asked, shop_id)
    if word is None and states and shop_id and "buyer_id" not in whose:
        rest.pop("seller.shop_id", None)
        return Search(tuple({"shop_id": shop_id, "state": state} for state in states), rest, low, high)
    if word is None:
        word = keys.of_buyer(whose["buyer_id"]) if "buyer_id" in whose else keys.of_shop(shop_id)
    return Search(({"keys": word},), {**_beside(word, rest, shop_id), **wanted}, low, high)


def _beside(word: str, rest: Mapping[str, Any], shop_id: str) -> dict[str, Any]:
    """What is left to ask beside a word: not again what the word says. The embedded database walks everything where it is asked for more than
    an index holds.
    """
    whole = keys.of_shop(shop_id)
    mine = bool(shop_id) and (word == whole or word.startswith(f"{whole}/"))
    kind = word.removeprefix(f"{whole}/").partition(":")[0] if mine else word.partition(":")[0]
    said = {SAID.get(kind, ""), "seller.shop_id" if mine else ""}
    return {name: value for name, value in rest.items() if name not in said}


def _rare(asked: Asked, shop_id: str) -> str | None:
    """The word of a filter that few orders match."""
    for kind, name in (("trade", "out_trade_no"), ("transaction", "transaction_id")):
        if asked.get(name):
            return f"{kind}:{asked[name]}"
    for kind, name in (("openid", "openid"), ("phone", "phone_tail")):
        if asked.get(name) and shop_id:
            return f"{keys.of_shop(shop_id)}/{kind}:{asked[name]}"
    return None


def _common(asked: Asked, shop_id: str) -> str | None:
    """The word of a filter that part of a shop's orders match."""
    for kind, name in (("sku", "merchant_sku"), ("item", "external_id"), ("product", "product_id")):
        if asked.get(name) and shop_id:
            return f"{keys.of_shop(shop_id)}/{kind}:{asked[name]}"
    return keys.in_dispute(shop_id) if asked.get("in_dispute") and shop_id else None


def _fields(asked: Asked, whose: Mapping[str, str]) -> dict[str, Any]:
    """Everything that names one thing, as conditions on the order's own fields: whichever word is walked, the others hold too."""
    fields: dict[str, Any] = {
        "buyer_id": whose.get("buyer_id"),
        "seller.shop_id": whose.get("shop_id"),
        "openid": asked.get("openid"),
        "lines.product_id": asked.get("product_id"),
        "lines.merchant_sku": asked.get("merchant_sku"),
        "lines.external_id": asked.get("external_id"),
        "transaction_id": asked.get("transaction_id"),
        "payment_id": asked.get("out_trade_no") and f"pay_{asked['out_trade_no']}",
    }
    tail = asked.get("phone_tail")
    if tail:
        fields["address.mobile"] = {"$regex": r"[ -]*".join(tail) + r"[ -]*$"}
    return {name: value for name, value in fields.items() if value}


def _paid(asked: Asked) -> dict[str, Any]:
    found = _between(asked.get("paid_from"), asked.get("paid_to"))
    return {"paid_at": found} if found else {}


def _dispute(asked: Asked) -> dict[str, Any]:
    return {"in_dispute": asked["in_dispute"]} if "in_dispute" in asked else {}


def _between(low: datetime | None, high: datetime | None) -> dict[str, datetime]:
    return {sign: moment for sign, moment in (("$gte", low), ("$lt", high)) if moment is not None}


def _created(asked: Asked, pay_within: timedelta) -> tuple[datetime | None, datetime | None]:
    lows: Sequence[datetime | None] = (asked.get("created_from"), _earlier(asked.get("paid_from"), pay_within))
    highs: Sequence[datetime | None] = (asked.get("created_to"), asked.get("paid_to"), asked.get("updated_to"))
    return (
        max((moment for moment in lows if moment), default=None),
        min((moment for moment in highs if moment), default=None),
    )


def _earlier(moment: datetime | None, span: timedelta) -> datetime | None:
    return None if moment is None or moment.year < 1971 else moment - span
