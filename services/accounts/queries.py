"""What accounts is asked."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.accounts import model
from services.accounts.store import Store
from services.chassis import ids
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document
from services.chassis.tokens import Caller

PAGE_USUAL: Final = 20
PAGE_MOST: Final = 100


def account(store: Store, account_id: str) -> Document:
    """An official account. Raises Refusal NOT_FOUND."""
    found = store.account(account_id)
    if found is None:
        raise not_found("account", account_id)
    return found


def shop(store: Store, caller: Caller, shop_id: str) -> Document:
    """A shop's card, as far as the caller may see it. Raises Refusal NOT_FOUND."""
    found = store.shop(shop_id)
    if found is None or not model.may_see_shop(found, kind=caller.kind, account_id=caller.account_id):
        raise not_found("shop", shop_id)
    return found


def shops_page(
    store: Store, filters: Mapping[str, Any], after: list[Any] | None, size: int
) -> tuple[list[Document], list[Any]]:
    """A page of shops, newest first, and the position of its last one (``[created_at, shop id]``; empty on the last page).

    ``size``: 1–100, 20 when 0. Raises Refusal INVALID_ARGUMENT.
    """
    if not 0 <= size <= PAGE_MOST:
        raise invalid("page_size", f"must lie between 1 and {PAGE_MOST}")
    wanted = size or PAGE_USUAL
    found = store.shops_page(filters, after, wanted + 1)
    page = found[:wanted]
    return page, [page[-1]["created_at"], page[-1]["_id"]] if len(found) > wanted else []


def describe_parties(
    store: Store, key: bytes, buyer_id: str, shop_ids: Iterable[str], account_ids: Iterable[str]
) -> dict[str, Any]:
    """``{"shops": [...], "openids": [...]}``: the shops that exist, and the buyer's openid at each account concerned."""
    shops = store.shops_by_id(shop_ids)
    accounts = dict.fromkeys([*(found["account_id"] for found in shops), *account_ids])
    return {
        "shops": [with_id(found, "shop_id") for found in shops],
        "openids": openids(key, buyer_id, accounts) if buyer_id else [],
    }


def openids(key: bytes, user_id: str, account_ids: Iterable[str]) -> list[dict[str, str]]:
    """The user's openid at each of the accounts."""
    return [{"account_id": each, "openid": ids.openid(key, user_id, each)} for each in account_ids]


def with_id(document: Document, name: str) -> Document:
    """``document`` with its ``_id`` under the name that messages use."""
    return {**document, name: document["_id"]}
