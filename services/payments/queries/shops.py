"""The money of shops: fees, deposits, withdrawals."""

from collections.abc import Mapping
from typing import Any

from services.chassis import clock, policy
from services.chassis.errors import not_found
from services.payments.model import deposits, fees, withdrawals
from services.payments.queries import LONGEST_PAGE, PAGE, balance
from services.payments.store import Store


def fee_schedule() -> list[dict[str, Any]]:
    """Every published rule with all its dates, and which of them holds now."""
    now, found = clock.business(), list[dict[str, Any]]()
    for service, name in fees.PUBLISHED:
        rules = policy.load(service)
        dated = (
            {"effective_from": one.effective_from, "value": one.value, "unit": one.unit, "why": one.why}
            for one in rules.dated(name)
        )
        found += fees.rules(name, dated, rules.version(name, now))
    return found


def deposit(store: Store, shop_id: str) -> dict[str, Any]:
    """A shop's deposit and what is required of it. Raises Refusal NOT_FOUND, UNAVAILABLE."""
    shop, purse = balance(store, shop_id)
    return deposits.view(shop, purse.deposit)


def withdrawal(store: Store, shop_id: str, withdrawal_id: str) -> dict[str, Any]:
    """One withdrawal of the shop. Raises Refusal NOT_FOUND."""
    found = store.withdrawals.find_one({"_id": withdrawal_id})
    if found is None or found["shop_id"] != shop_id:
        raise not_found("withdrawal", withdrawal_id)
    return withdrawals.view(found)


def as_requested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A withdrawal as it was when it was asked for: a repeated command answers the same."""
    return withdrawals.view(row, as_requested=True)


def withdrawals_of(
    store: Store, shop_id: str, after: list[Any] | None, wanted: int
) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """A page of a shop's withdrawals, newest first, and where the next begins: (created_at, id)."""
    size = min(wanted, LONGEST_PAGE) if wanted > 0 else PAGE
    found = store.withdrawals_of(shop_id, after, size + 1)
    rest = [found[size - 1]["created_at"], found[size - 1]["_id"]] if len(found) > size else None
    return [withdrawals.view(row) for row in found[:size]], rest
