"""What an order would cost now."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.chassis import clock
from services.chassis.errors import Refusal
from services.orders.model import amounts, checkout, quoting, vouchers
from services.orders.model.checkout import Frozen
from services.orders.queries import addresses
from services.orders.store import Store, terms

Plain = Mapping[str, Any]


class Prices(Protocol):
    """What a quote asks of catalog."""

    def quote(self, asked: Plain) -> tuple[Sequence[Plain], Mapping[str, Sequence[Plain]]]:
        """Lines as they would be frozen, and of each shop what carriers would take. Raises Refusal."""
        ...


class Parties(Protocol):
    """What it asks of accounts."""

    def describe(self, buyer_id: str, shop_ids: Sequence[str]) -> tuple[Mapping[str, Plain], Mapping[str, str]]:
        """Shops by id, and the buyer's openid by account id. Raises Refusal."""
        ...


def quote_for(store: Store, prices: Prices, parties: Parties, buyer_id: str, asked: Plain) -> dict[str, Any]:
    """``quote`` where ``asked`` may name an address of the buyer's book (``address_id``). Raises Refusal NOT_FOUND for one it has not."""
    if asked.get("address_id"):
        asked = {**asked, "address": addresses.one(store, buyer_id, asked["address_id"])["address"]}
    return quote(prices, parties, buyer_id, asked)


def quote(prices: Prices, parties: Parties, buyer_id: str, asked: Plain) -> dict[str, Any]:
    """``asked`` {lines, destination or address, carriers} → the sums and an order a shop (see ``quoting.quoted``). Nothing is held.

    Raises Refusal INVALID_ARGUMENT, NOT_FOR_SALE, OUT_OF_STOCK, CONDITION_UNMET: what placing would be refused with.
    """
    rules, travels = terms(clock.business()), quoting.travels(asked)
    lines = checkout.wanted_lines(asked["lines"], rules)
    frozen_lines, carriers = prices.quote({**travels, "lines": lines})
    shops, openids = parties.describe(buyer_id, list(amounts.by_shop(frozen_lines)))
    frozen = Frozen(frozen_lines, shops, openids)
    problem: Refusal | None = checkout.unsellable(frozen) or vouchers.unsellable(frozen_lines, rules.vouchers)
    if problem is not None:
        raise problem
    return quoting.quoted(frozen, carriers)
