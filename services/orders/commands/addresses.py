"""A buyer's address book: one document a buyer, each change one conditional write of it."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from services.chassis import clock, commit, ids, policy, regions
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document
from services.orders.model import addresses
from services.orders.store import Store


def add(store: Store, cause: Cause, buyer_id: str, address: Mapping[str, Any], *, is_default: bool) -> Outcome:
    """One more address. Answer: {address_id, etag, default_address_id}. Raises Refusal INVALID_ARGUMENT naming every wrong field, CONDITION_UNMET
    when the book is full.
    """
    most = policy.load("orders").value("addresses", clock.business())
    address_id = ids.derived_id("adr", cause.id)
    _check(address)
    return _book_changed(
        store,
        cause,
        buyer_id,
        lambda book: addresses.added(book, address_id, address, most, is_default=is_default),
        opens=True,
    )


def change(
    store: Store, cause: Cause, buyer_id: str, address_id: str, etag: str, address: Mapping[str, Any]
) -> Outcome:
    """Another text. Answer as ``add``. Raises Refusal INVALID_ARGUMENT, NOT_FOUND (also another's), ETAG_MISMATCH."""
    _check(address)
    return _book_changed(
        store, cause, buyer_id, lambda book: addresses.changed(book, address_id, etag, address), address_id
    )


def delete(store: Store, cause: Cause, buyer_id: str, address_id: str) -> Outcome:
    """One less. Answer: {default_address_id}. Raises Refusal NOT_FOUND (also another's)."""
    return _book_changed(store, cause, buyer_id, lambda book: addresses.deleted(book, address_id), address_id)


def make_default(store: Store, cause: Cause, buyer_id: str, address_id: str) -> Outcome:
    """The one that is used when nothing else is said. Answer as ``add``. Raises Refusal NOT_FOUND (also another's)."""
    return _book_changed(store, cause, buyer_id, lambda book: addresses.made_default(book, address_id), address_id)


def _check(address: Mapping[str, Any]) -> None:
    longest = policy.load("orders").value("text_length", clock.business())
    if problems := addresses.wrong("address.", address, longest, regions.load()):
        raise Refusal("INVALID_ARGUMENT", f"{problems[0].field}: {problems[0].message}", tuple(problems))


def _book_changed(
    store: Store,
    cause: Cause,
    buyer_id: str,
    decide: Callable[[Document], Change],
    address_id: str = "",
    *,
    opens: bool = False,
) -> Outcome:
    if opens and store.address_book(buyer_id) is None:
        with contextlib.suppress(Taken):  # another request of this buyer has opened it meanwhile
            commit.create(store.address_books, addresses.empty(buyer_id), cause.part("book"), natural=True)
    try:
        return commit.change(store.address_books, buyer_id, cause, decide, kind="address", fetch=False)
    except Refusal as refusal:
        if refusal.reason == "NOT_FOUND":
            raise not_found("address", address_id) from refusal
        raise
