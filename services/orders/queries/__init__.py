"""What may be asked about checkouts and orders, and what of the answer each caller is told."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from services.chassis import clock, policy
from services.chassis.errors import Refusal, invalid, not_found, wrong_state
from services.chassis.mongo import Document
from services.orders.model import checkout as checkouts
from services.orders.model import outstanding, parcels, pricing, search
from services.orders.model.search import Search
from services.orders.model.states import PLATFORM, Actor, CheckoutState, State, sees, wechat_status
from services.orders.queries import listing
from services.orders.store import Placed, Store

View = dict[str, Any]
NO_FILTERS: Final = frozenset({"shop_id", "buyer_id", "state", "states", "page_size", "page_token"})
"""Fields of a list's request that are told apart otherwise."""
LONGEST_PAY_WINDOW: Final = timedelta(days=1)
"""No order was ever given longer to be paid; policies of long ago are none of today's."""
_SUMS: Final = ("amount", "goods_amount", "discount", "freight")


# ------------------------------------------------------------------------------------------------------------------ one order


def order(store: Store, actor: Actor, order_id: str) -> View:
    """One order with its timeline. Raises Refusal NOT_FOUND, for another's order too."""
    found = store.order(order_id)
    if found is None or not sees(found, actor):
        raise not_found("order", order_id)
    return view(found, actor)


def view(found: Document, actor: Actor) -> View:
    """An order as ``actor`` is told it: the merchant knows the buyer by openid, the buyer not the commission."""
    back, state = gone_back(found)
    open_units = outstanding.units(found)
    told = {
        **found,
        "order_id": found["_id"],
        "order_status": wechat_status(found),
        "refunded": back,
        "refund_state": state,
        "timeline": found.get("timeline", []),
        "parcels": parcels.all_of(found),
        "lines": [{**line, "outstanding": open_units.get(number, 0)} for number, line in enumerate(found["lines"], 1)],
        "partly_shipped": found["state"] == State.PAID and bool(found.get("parcels")),
    }
    if actor.kind == "merchant":
        told["buyer_id"] = ""
    if actor.kind == "buyer":
        del told["commission_bp"]
    if actor.kind not in PLATFORM:
        told["timeline"] = [{**line, "actor_id": ""} for line in told["timeline"]]
    return told


def gone_back(found: Mapping[str, Any]) -> tuple[int, str]:
    """Minor units that went back, and the refund state: of what the order took, or else of what came and could not be taken."""
    if found["paid"]:
        back, collected = found["refunded"], found["paid"]
    else:
        back = sum(row["amount"] for row in found["refunds"])
        collected = max(back, found["rejected"])
    if not back:
        return 0, ""
    return back, "refunded" if back >= collected else "partially_refunded"


# --------------------------------------------------------------------------------------------------------------------- lists


def orders(store: Store, actor: Actor, asked: Mapping[str, Any]) -> tuple[list[View], str]:
    """A page of orders without timelines, and the token of the next page ("" on the last); see ``listing``.

    ``asked``: the fields of ListOrdersRequest. Raises Refusal INVALID_ARGUMENT, INVALID_PAGE_TOKEN, PERMISSION_DENIED (a merchant without
    a shop).
    """
    whose, filters = _whose(actor, asked), _filters(asked)
    size = page_size(asked["page_size"])
    if filters.get("order_id"):
        found, token = _by_id(store, actor, filters), ""
    else:
        wanted = sought(filters, whose)
        found, token = listing.page(store, wanted, {**filters, **whose}, size, asked["page_token"])
    return [view(each, actor) for each in found], token


def sought(filters: Mapping[str, Any], whose: Mapping[str, str]) -> Search:
    """How to find orders of ``whose`` that match ``filters``. Raises Refusal INVALID_ARGUMENT naming the wrong ones."""
    search.check(filters, merchant="shop_id" in whose)
    rules, now = policy.load("orders"), clock.business()
    pay_within = max(rules.span("pay_window", now), LONGEST_PAY_WINDOW) + rules.span("close_slack", now)
    return search.plan(filters, whose, pay_within, now)


def _filters(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was really said; ``state`` is one of ``states``."""
    told = {name: value for name, value in asked.items() if name not in NO_FILTERS and value not in ("", [])}
    states = {*asked.get("states", ()), *([asked["state"]] if asked.get("state") else ())}
    return {**told, **({"states": sorted(states)} if states else {})}


def _by_id(store: Store, actor: Actor, filters: Mapping[str, Any]) -> list[Document]:
    if set(filters) != {"order_id"}:
        raise invalid("order_id", "names one order; leave the other filters out")
    found = store.order(filters["order_id"])
    return [found] if found is not None and sees(found, actor) else []


def _whose(actor: Actor, asked: Mapping[str, Any]) -> dict[str, str]:
    if actor.kind == "buyer":
        return {"buyer_id": actor.subject}
    if actor.kind == "merchant":
        if not actor.shop_id:
            raise Refusal("PERMISSION_DENIED", "this token speaks for no shop; get one after the shop is approved")
        return {"shop_id": actor.shop_id}
    named = {name: asked[name] for name in ("shop_id", "buyer_id") if asked.get(name)}
    if not named and not any(asked.get(name) for name in ("order_id", "out_trade_no", "transaction_id")):
        raise invalid(
            "shop_id", "say whose orders: shop_id or buyer_id; or which: order_id, out_trade_no or transaction_id"
        )
    return named


def page_size(asked: int) -> int:
    """How many a page holds where ``asked`` for so many (0: not said). Raises Refusal INVALID_ARGUMENT."""
    rules, now = policy.load("orders"), clock.business()
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    limit: int = rules.value("page_size_limit", now)
    return min(asked or int(rules.value("page_size", now)), limit)


# ------------------------------------------------------------------------------------------------------------------ checkouts


def checkout(store: Store, actor: Actor, checkout_id: str) -> View:
    """A checkout as it is now. Raises Refusal NOT_FOUND, for another's too."""
    found = store.checkout(checkout_id)
    if found is None or not sees(found, actor):
        raise not_found("checkout", checkout_id)
    children = store.orders_of(checkout_id)
    state = checkouts.standing(children) if found["state"] == CheckoutState.PLACED else found["state"]
    return _checkout_view(found, children, state)


def as_placed(placed: Placed) -> View:
    """A checkout as it was when it was placed, whatever became of it: a repeated command answers the same."""
    waiting = "awaiting_payment"
    return _checkout_view(
        placed.checkout, [{**pricing.as_placed(child), "state": waiting} for child in placed.orders], waiting
    )


def _checkout_view(found: Document, children: Sequence[Document], state: str) -> View:
    sums = {name: sum(child[name] for child in _still_counted(children)) for name in _SUMS}
    shown = [{**child, "order_id": child["_id"]} for child in children]
    return {**found, **sums, "checkout_id": found["_id"], "state": state, "orders": shown}


def _still_paid_for(children: Sequence[Document]) -> list[Document]:
    """The orders that the next payment is for: those that still wait for theirs; of a checkout of which none does, all."""
    return [child for child in children if child["state"] == State.AWAITING_PAYMENT] or list(children)


def _still_counted(children: Sequence[Document]) -> list[Document]:
    """The orders that the checkout's sums are of: not those that ended without being paid, unless all did."""
    return [child for child in children if child["paid"] or child["state"] != State.CLOSED] or list(children)


def payable(store: Store, actor: Actor, checkout_id: str) -> View:
    """What one payment of a checkout pays for, and whether it still may be collected. One read: the orders hold it all.

    Raises Refusal NOT_FOUND (for another buyer's too), CONDITION_UNMET (a shop asks, and it is not the only one), WRONG_STATE for a checkout
    that has no orders.
    """
    children = store.orders_of(checkout_id)
    if not children:
        found = store.checkout(checkout_id)
        if found is None or not sees(found, actor):
            raise not_found("checkout", checkout_id)
        raise wrong_state("checkout", checkout_id, found["state"], "awaiting_payment")
    first, seen = children[0], [sees(child, actor) for child in children]
    if not any(seen):
        raise not_found("checkout", checkout_id)
    if not all(seen):
        message = "other shops sell in this checkout too: its buyer pays it"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "one_shop"})
    shares = [
        {
            "order_id": child["_id"],
            "shop_id": child["shop_id"],
            "amount": child["amount"],
            "revision": child.get("price_revision", 0),
            "openid": child["openid"],
        }
        for child in _still_paid_for(children)
    ]
    return {
        "checkout_id": checkout_id,
        "buyer_id": first["buyer_id"],
        "currency": first["currency"],
        "amount": sum(share["amount"] for share in shares),
        "pay_by": first["pay_by"],
        "state": checkouts.standing(children),
        "shares": shares,
    }
