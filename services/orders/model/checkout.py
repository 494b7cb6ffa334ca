"""A checkout from asking to its child orders: what may be asked, what is frozen, how it ends without orders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation
from services.orders.model import amounts, facts
from services.orders.model.order import entry
from services.orders.model.states import CheckoutState, Known, State, Step

Values = Mapping[str, Any]
_MOBILE: Final = re.compile(r"\+?[0-9][0-9 -]{4,18}[0-9]")
_ADDRESS: Final = {
    "receiver_name": True,
    "province": True,
    "city": True,
    "zone": False,
    "address": True,
    "mobile": True,
}
"""Fields of an address, and whether they are required."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy in force when a checkout is placed; what an order needs later is frozen in it."""

    pay_window: timedelta
    close_slack: timedelta
    placing_patience: timedelta
    ship_within: timedelta
    auto_confirm: timedelta
    commission_bp: int
    commission_policy: str
    lines: int
    quantity: int
    text_length: int
    notes_length: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frozen:
    """What other services answered about a checkout: catalog's reserved lines, and shops and openids as accounts knows them."""

    lines: Sequence[Values]
    shops: Mapping[str, Values]
    openids: Mapping[str, str]


# ------------------------------------------------------------------------------------------------------------------- asking


def opened(checkout_id: str, buyer_id: str, asked: Values, terms: Terms, now: datetime) -> dict[str, Any]:
    """A checkout that is being placed. Lines of one SKU are added up. Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    lines = _merged(asked["lines"])
    problems = [*_wrong_lines(asked["lines"], terms), *_wrong_address(asked.get("address"), terms)]
    if len(asked["notes"]) > terms.notes_length:
        problems.append(Violation("notes", f"at most {terms.notes_length} characters"))
    if not problems:
        problems = _too_many(lines, terms)
    if problems:
        first = problems[0]
        raise Refusal("INVALID_ARGUMENT", f"{first.field}: {first.message}", tuple(problems))
    return {
        "_id": checkout_id,
        "buyer_id": buyer_id,
        "state": CheckoutState.PLACING.value,
        "lines": lines,
        "address": {name: asked["address"][name].strip() for name in _ADDRESS},
        "notes": asked["notes"],
        "pay_by": now + terms.pay_window,
    }


def _merged(lines: Sequence[Values]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        key = (line["product_id"], line["sku_id"])
        before = found.get(key, {"quantity": 0})["quantity"]
        found[key] = {"product_id": key[0], "sku_id": key[1], "quantity": before + line["quantity"]}
    return list(found.values())


def _wrong_lines(lines: Sequence[Values], terms: Terms) -> list[Violation]:
    if not 0 < len(lines) <= terms.lines:
        return [Violation("lines", f"a checkout has 1 to {terms.lines} lines")]
    problems = []
    for index, line in enumerate(lines):
        if not line["product_id"]:
            problems.append(Violation(f"lines[{index}].product_id", "say which product"))
        if not 0 < line["quantity"] <= terms.quantity:
            problems.append(Violation(f"lines[{index}].quantity", f"must be 1 to {terms.quantity}"))
    return problems


def _too_many(merged: Sequence[Values], terms: Terms) -> list[Violation]:
    return [
        Violation("lines", f"{line['quantity']} of product {line['product_id']} in all; at most {terms.quantity}")
        for line in merged
        if line["quantity"] > terms.quantity
    ]


def _wrong_address(address: Values | None, terms: Terms) -> list[Violation]:
    if address is None:
        return [Violation("address", "say where the goods go: receiver_name, province, city, zone, address, mobile")]
    problems = []
    for name, required in _ADDRESS.items():
        text = address[name].strip()
        if required and not text:
            problems.append(Violation(f"address.{name}", "is required"))
        elif len(text) > terms.text_length:
            problems.append(Violation(f"address.{name}", f"at most {terms.text_length} characters"))
    mobile = address["mobile"].strip()
    if mobile and not _MOBILE.fullmatch(mobile):
        problems.append(Violation("address.mobile", "must be a telephone number: digits, spaces, hyphens, + in front"))
    return problems


# ------------------------------------------------------------------------------------------------------------------ placing


def unsellable(frozen: Frozen) -> Refusal | None:
    """Why what catalog reserved cannot be sold after all: a shop that is not open, or several currencies; None when it can."""
    for shop_id in amounts.by_shop(frozen.lines):
        shop = frozen.shops.get(shop_id)
        if shop is None or shop["state"] != "open":
            state = shop["state"] if shop else "unknown"
            return Refusal(
                "NOT_FOR_SALE", f"shop {shop_id} sells nothing now", info={"shop_id": shop_id, "state": state}
            )
    currencies = sorted({line["currency"] for line in frozen.lines})
    if len(currencies) > 1:
        told = ", ".join(currencies)
        return Refusal(
            "CONDITION_UNMET",
            f"one payment has one currency; these lines have {told}",
            info={"condition": "one_currency"},
        )
    return None


def children(
    checkout: Values,
    frozen: Frozen,
    terms: Terms,
    order_ids: Sequence[str],
    now: datetime,
    discounts: Sequence[amounts.Discount] = (),
) -> list[dict[str, Any]]:
    """The child orders, one a shop, with everything frozen that the buyer saw; their amounts add up to the checkout's."""
    groups = amounts.by_shop(frozen.lines)
    worth = [sum(line["price"] * line["quantity"] for line in lines) for lines in groups.values()]
    parts = amounts.spread(discounts, worth)
    return [
        {
            "_id": order_id,
            "checkout_id": checkout["_id"],
            "position": position,
            **_parties(checkout, frozen, shop_id),
            **_beginning(checkout["buyer_id"], now),
            **amounts.priced([_line(line) for line in lines], part),
            "currency": lines[0]["currency"],
            "address": checkout["address"],
            "notes": checkout["notes"],
            "pay_by": checkout["pay_by"],
            **_terms(terms),
        }
        for position, ((shop_id, lines), part, order_id) in enumerate(
            zip(groups.items(), parts, order_ids, strict=True)
        )
    ]


def placed(orders: Sequence[Values]) -> Change:
    """placing → placed, with the payable frozen: one payment pays for exactly this list of (order, amount)."""
    shares = [{"order_id": order["_id"], "shop_id": order["shop_id"], "amount": order["amount"]} for order in orders]
    fields = {
        "state": CheckoutState.PLACED.value,
        "amount": sum(share["amount"] for share in shares),
        "currency": orders[0]["currency"],
        "shares": shares,
    }
    return Change(set=fields, due=None)


def _line(line: Values) -> dict[str, Any]:
    names = (
        "product_id",
        "sku_id",
        "name",
        "image",
        "sku_text",
        "quantity",
        "price",
        "original_price",
        "product_version",
        "freight_fee",
        "merchant_sku",
    )
    return {name: line[name] for name in names}


def _parties(checkout: Values, frozen: Frozen, shop_id: str) -> dict[str, Any]:
    shop = frozen.shops[shop_id]
    return {
        "buyer_id": checkout["buyer_id"],
        "openid": frozen.openids.get(shop["account_id"], ""),
        "shop_id": shop_id,
        "account_id": shop["account_id"],
        "seller": {"shop_id": shop_id, "name": shop["name"], "identity": dict(shop.get("identity", {}))},
    }


def _beginning(buyer_id: str, now: datetime) -> dict[str, Any]:
    return {
        "state": State.AWAITING_PAYMENT.value,
        "in_dispute": False,
        "late_shipment": False,
        "payment_id": "",
        "paid": 0,
        "refunded": 0,
        "rejected": 0,
        "returned": 0,
        "refunds": [],
        "rejected_payments": [],
        "cases": [],
        "timeline": [entry("placed", Step(now, Known("buyer", buyer_id)))],
    }


def _terms(terms: Terms) -> dict[str, Any]:
    return {
        "commission_bp": terms.commission_bp,
        "commission_policy": terms.commission_policy,
        "policies": list(terms.versions),
        "terms": {
            "close_slack_s": int(terms.close_slack.total_seconds()),
            "ship_within_s": int(terms.ship_within.total_seconds()),
            "auto_confirm_s": int(terms.auto_confirm.total_seconds()),
        },
    }


# ------------------------------------------------------------------------------------------------------------ without orders


def refused(checkout: Values, refusal: Refusal, *, reserved: bool) -> Change:
    """placing → refused; the same refusal answers every repetition. ``reserved``: stock is held and must come back."""
    kept = {
        "reason": refusal.reason,
        "message": refusal.message,
        "violations": [{"field": each.field, "message": each.message} for each in refusal.violations],
        "info": dict(refusal.info),
    }
    told = (facts.released(checkout["_id"], "refused"),) if reserved else ()
    return Change(set={"state": CheckoutState.REFUSED.value, "refusal": kept}, facts=told, due=None)


def let_go(checkout: Values) -> Change:
    """Releases again what a slow attempt reserved after its checkout had ended."""
    return Change(facts=(facts.released(checkout["_id"], "refused"),))


def overdue(checkout: Values, _now: datetime) -> Change | None:
    """The timer of a checkout: one that is still being placed is given up, and what it may hold comes back."""
    if checkout["state"] != CheckoutState.PLACING:
        return Change(due=None)
    told = (facts.released(checkout["_id"], "abandoned"),)
    return Change(set={"state": CheckoutState.ABANDONED.value}, facts=told, due=None)


def standing(orders: Sequence[Values]) -> str:
    """What became of a placed checkout, told from its orders: awaiting_payment, paid or closed."""
    if any(order["state"] == State.AWAITING_PAYMENT for order in orders):
        return State.AWAITING_PAYMENT.value
    return State.PAID.value if any(order["paid"] for order in orders) else State.CLOSED.value


def ended(checkout: Values) -> Refusal:
    """What a repetition of a placing that came to nothing is answered."""
    kept = checkout.get("refusal")
    if kept is None:
        message = (
            "placing this checkout took too long and was given up, its stock came back; place it again under a new key"
        )
        return Refusal("WRONG_STATE", message, info={"checkout_id": checkout["_id"], "state": checkout["state"]})
    violations = tuple(Violation(each["field"], each["message"]) for each in kept["violations"])
    return Refusal(kept["reason"], kept["message"], violations, info=kept["info"])
