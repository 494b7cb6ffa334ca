"""A checkout from asking to its child orders: what may be asked, what is frozen, how it ends without orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation
from services.chassis.regions import Regions
from services.orders.model import addresses, amounts, facts, invoices, keys
from services.orders.model.order import entry
from services.orders.model.states import CheckoutState, Known, State, Step

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy in force when a checkout is placed; what an order needs later is frozen in it."""

    pay_window: timedelta
    close_slack: timedelta
    placing_patience: timedelta
    ship_within: timedelta
    presale_grace: timedelta
    auto_confirm: timedelta
    commission_bp: int
    commission_policy: str
    lines: int
    quantity: int
    text_length: int
    notes_length: int
    vouchers: int
    versions: tuple[str, ...]
    regions: Regions
    times: Values
    """Seconds by name: what else an order's timers and times need later."""


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
    problems = [*_wrong_lines(asked["lines"], terms), *_wrong_beside(asked, terms)]
    if not problems:
        problems = _too_many(lines, terms)
    if problems:
        first = problems[0]
        raise Refusal("INVALID_ARGUMENT", f"{first.field}: {first.message}", tuple(problems))
    address = addresses.kept(asked["address"])
    return {
        "_id": checkout_id,
        "buyer_id": buyer_id,
        "state": CheckoutState.PLACING.value,
        "lines": lines,
        "address": address,
        "destination": addresses.destination(address, terms.regions),
        "notes": asked["notes"],
        "pay_by": now + terms.pay_window,
        **_beside(asked),
    }


def _beside(asked: Values) -> dict[str, Any]:
    """What not every buyer says: {carriers, shop_notes, invoice}, each only where it is."""
    found = {name: list(asked[name]) for name in ("carriers", "shop_notes") if asked.get(name)}
    invoice = asked.get("invoice")
    return {**found, "invoice": invoices.kept(invoice)} if invoice is not None else found


def wanted_lines(asked: Sequence[Values], terms: Terms) -> list[dict[str, Any]]:
    """The lines of a basket, those of one SKU added up. Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    lines = _merged(asked)
    problems = _wrong_lines(asked, terms) or _too_many(lines, terms)
    if problems:
        raise Refusal("INVALID_ARGUMENT", f"{problems[0].field}: {problems[0].message}", tuple(problems))
    return lines


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


def _wrong_beside(asked: Values, terms: Terms) -> list[Violation]:
    """Everything wrong beside the lines: address, notes, invoice."""
    address, invoice = asked.get("address"), asked.get("invoice")
    if address is None:
        fields = "receiver_name, province, city, zone, address, mobile"
        problems = [Violation("address", f"say where the goods go: {fields}; or an address_id of your address book")]
    else:
        problems = addresses.wrong("address.", address, terms.text_length, terms.regions)
    notes = [("notes", asked["notes"])]
    notes += [(f"shop_notes[{index}].notes", each["notes"]) for index, each in enumerate(asked.get("shop_notes", ()))]
    problems += [
        Violation(path, f"at most {terms.notes_length} characters")
        for path, text in notes
        if len(text) > terms.notes_length
    ]
    problems += addresses.wrong_carriers(asked.get("carriers", ()))
    problems += [
        Violation(name, f"at most {terms.lines}, one a shop")
        for name in ("carriers", "shop_notes")
        if len(asked.get(name, ())) > terms.lines
    ]
    return problems + (invoices.wrong(invoice) if invoice is not None else [])


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
    orders = [
        {
            "_id": order_id,
            "checkout_id": checkout["_id"],
            "position": position,
            **_parties(checkout, frozen, shop_id),
            **_beginning(checkout["buyer_id"], now),
            **amounts.priced([_line(line) for line in lines], part),
            "currency": lines[0]["currency"],
            "address": checkout["address"],
            "notes": _notes(checkout, shop_id),
            **({"invoice": checkout["invoice"]} if "invoice" in checkout else {}),
            "pay_by": checkout["pay_by"],
            **_terms(terms),
        }
        for position, ((shop_id, lines), part, order_id) in enumerate(
            zip(groups.items(), parts, order_ids, strict=True)
        )
    ]
    return [{**order, "keys": keys.of_order(order)} for order in orders]


def _notes(checkout: Values, shop_id: str) -> str:
    """What the buyer says to a shop: something of its own, or what all are told."""
    said: Mapping[str, str] = {each["shop_id"]: each["notes"] for each in checkout.get("shop_notes", ())}
    return said.get(shop_id) or str(checkout["notes"])


def unheard(checkout: Values, frozen: Frozen) -> Refusal | None:
    """Why a note reaches nobody: its shop has no line in the checkout, or is named twice; None when all are heard."""
    shops = {line["shop_id"] for line in frozen.lines}
    for index, each in enumerate(checkout.get("shop_notes", ())):
        if each["shop_id"] not in shops:
            message = "no line is of this shop, or it is named twice; leave it out"
            violation = Violation(f"shop_notes[{index}].shop_id", message)
            return Refusal("INVALID_ARGUMENT", f"{violation.field}: {message}", (violation,))
        shops.remove(each["shop_id"])
    return None


def placed(orders: Sequence[Values]) -> dict[str, Any]:
    """The fields of a placed checkout, with the payable frozen: one payment pays for exactly this list of (order, amount)."""
    shares = [{"order_id": order["_id"], "shop_id": order["shop_id"], "amount": order["amount"]} for order in orders]
    return {
        "state": CheckoutState.PLACED.value,
        "amount": sum(share["amount"] for share in shares),
        "currency": orders[0]["currency"],
        "shares": shares,
    }


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
    told = ("window_id", "ship_by", "category_id", "options", "external_id", "fulfilment", "carrier_class")
    sale = {name: line[name] for name in told if line.get(name)}
    return {**{name: line[name] for name in names}, **sale}


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
            "presale_grace_s": int(terms.presale_grace.total_seconds()),
            "auto_confirm_s": int(terms.auto_confirm.total_seconds()),
            **terms.times,
        },
    }


# ------------------------------------------------------------------------------------------------------------ without orders


def refused(refusal: Refusal) -> dict[str, Any]:
    """The fields of a checkout that was refused; the same refusal answers every repetition."""
    kept = {
        "reason": refusal.reason,
        "message": refusal.message,
        "violations": [{"field": each.field, "message": each.message} for each in refusal.violations],
        "info": dict(refusal.info),
    }
    return {"state": CheckoutState.REFUSED.value, "refusal": kept}


def abandoned() -> dict[str, Any]:
    """The fields of a checkout whose placing nobody ended in time."""
    return {"state": CheckoutState.ABANDONED.value}


def let_go(checkout: Values) -> Change:
    """Releases again what a slow attempt reserved after its checkout had ended."""
    return Change(facts=(facts.released(checkout["_id"], "refused"),))


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
