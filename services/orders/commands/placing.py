"""Placing a checkout: from the cart to orders that wait for their payment."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Shortfall, Taken
from services.chassis.errors import REASONS, Refusal, invalid
from services.chassis.mongo import Document
from services.orders.model import addresses, amounts, checkout, facts, quoting, vouchers
from services.orders.model.checkout import Frozen, Terms
from services.orders.model.states import CheckoutState
from services.orders.store import Placed, Store, terms

FINAL: Final = frozenset({"FAILED_PRECONDITION", "NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS"})
"""gRPC codes of refusals that asking again does not change: placing ends with them. Others leave it to a retry."""
ID_TRIES: Final = 3


class Stock(Protocol):
    """What orders asks of catalog."""

    def reserve(self, placing: Document) -> Sequence[Mapping[str, Any]]:
        """Hold all lines of a checkout or none, idempotent by its id; answers the frozen lines. Raises Refusal."""
        ...


class Parties(Protocol):
    """What orders asks of accounts."""

    def describe(self, buyer_id: str, shop_ids: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Shops by id, and the buyer's openid by account id. Raises Refusal."""
        ...


def place(
    store: Store, stock: Stock, parties: Parties, cause: Cause, buyer_id: str, asked: Mapping[str, Any]
) -> Placed:
    """Place a checkout: ``asked`` {lines: [{product_id, sku_id, quantity}], address or address_id, notes, carriers, shop_notes, invoice}.

    The checkout's id follows from the command. That it is being placed is written first, in one row for all that begin together, so that
    a repetition goes on wherever this stopped (reserving and asking for the parties are idempotent), and so that what nobody repeats is
    given up by a timer. One transaction then makes the checkout and its orders. Raises Refusal: INVALID_ARGUMENT, what
    catalog refuses with (OUT_OF_STOCK, NOT_FOR_SALE, BUY_LIMIT_REACHED; remembered, a repetition is refused the same),
    UNAVAILABLE (nothing is remembered, try again).
    """
    now = clock.business()
    rules = terms(now)
    checkout_id = ids.derived_id("chk", cause.id)
    if asked.get("address_id"):
        asked = {**asked, "address": _saved(store, buyer_id, asked, checkout_id)}
    wanted = checkout.opened(checkout_id, buyer_id, asked, rules, now) | quoting.kept(asked)
    found = store.begin(wanted, cause, now + rules.placing_patience)
    if found is not None:
        return _repeated(store, commit.created_before(found, cause).document)
    return _go_on(store, stock, parties, cause, wanted)


def _saved(store: Store, buyer_id: str, asked: Mapping[str, Any], checkout_id: str) -> Mapping[str, Any]:
    """The address of the buyer's book that is asked for. It may be another by now, or gone: a checkout that was placed keeps its own, and is
    what a repetition is answered with; only where the book has none is it looked for here.

    Raises Refusal INVALID_ARGUMENT.
    """
    if asked.get("address") is not None:
        raise invalid("address_id", "say an address or the id of one, not both")
    found = addresses.found(store.address_book(buyer_id), asked["address_id"])
    if found is None and (before := store.checkout(checkout_id)) is not None:
        found = before["address"]
    if found is None:
        raise invalid("address_id", "is none of your address book; GET /v1/addresses lists it")
    return found


def _repeated(store: Store, found: Document) -> Placed:
    if found["state"] != CheckoutState.PLACED:
        raise checkout.ended(found)
    return Placed(found, store.orders_of(found["_id"]), replayed=True)


def _go_on(store: Store, stock: Stock, parties: Parties, cause: Cause, placing: Document) -> Placed:
    try:
        lines = stock.reserve(placing)
    except Refusal as refusal:
        return _refused(store, cause, placing, refusal, reserved=False)
    rules = terms(clock.business())
    shops, openids = parties.describe(placing["buyer_id"], list(amounts.by_shop(lines)))
    frozen = Frozen(lines, shops, openids)
    problem = checkout.unsellable(frozen) or vouchers.unsellable(lines, rules.vouchers)
    problem = problem or checkout.unheard(placing, frozen) or quoting.changed(placing, lines)
    if problem is not None:
        return _refused(store, cause, placing, problem, reserved=True)
    return _written(store, cause, placing, frozen, rules)


def _written(store: Store, cause: Cause, placing: Document, frozen: Frozen, rules: Terms) -> Placed:
    now = clock.business()
    for _ in range(ID_TRIES):
        order_ids = [ids.order_id() for _ in amounts.by_shop(frozen.lines)]
        orders = checkout.children(placing, frozen, rules, order_ids, now)
        try:
            return store.place({**placing, **checkout.placed(orders)}, orders, cause)
        except (Taken, Shortfall):
            found = store.checkout(placing["_id"])
            if found is not None:
                return _overtaken(store, cause, found, reserved=True)
            # else an order id is another's: draw again
    raise Refusal("UNAVAILABLE", "no free order number was found; try again", retry_after_s=1)


def _refused(store: Store, cause: Cause, placing: Document, refusal: Refusal, *, reserved: bool) -> Placed:
    """Remember a final refusal and raise it; a passing one is only raised, and so is one of this key with another body.

    ``reserved``: stock is held and must come back.
    """
    if REASONS[refusal.reason].grpc not in FINAL or refusal.reason == "IDEMPOTENCY_KEY_REUSED":
        raise refusal
    told = (facts.released(placing["_id"], "refused"),) if reserved else ()
    ended = {**placing, **checkout.refused(refusal)}
    found, is_new = store.checkouts.end(ended, cause, told)
    if is_new:
        raise refusal
    return _overtaken(store, cause, found, reserved=reserved)


def _overtaken(store: Store, cause: Cause, found: Document, *, reserved: bool) -> Placed:
    """A repetition running beside this one, or the timer, ended the placing. What this one holds beyond that end is released."""
    commit.created_before(found, cause)
    if reserved and found["state"] != CheckoutState.PLACED:
        commit.change(store.checkouts.rows, found["_id"], cause.part("let-go"), checkout.let_go, fetch=False)
    return _repeated(store, found)
