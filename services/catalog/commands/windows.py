"""Sale windows: flash sales (秒杀) and presales (预售) of a product's SKUs.

A window, its terms in the product and the counts of its SKUs are written in one transaction. The product's version guards it, so of two
windows that overlap only one comes to be, whoever asks where.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.catalog.commands.products import shop_of
from services.catalog.model import windows
from services.catalog.model.products import State
from services.catalog.store import Store, window_limits
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome, Shortfall, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import check_etag, invalid, not_found
from services.chassis.mongo import Document

SAID: Final = ("starts_at", "ends_at", "buyer_limit", "ship_by", "items")
"""What an edit may change of a window."""


def open_window(store: Store, cause: Cause, shop_id: str, product_id: str, said: Mapping[str, Any]) -> Outcome:
    """A new window of a product of the shop; ``said``: kind, starts_at (None: now), ends_at, buyer_limit, ship_by, items.

    The outcome's document is as it was made. Raises Refusal NOT_FOUND, INVALID_ARGUMENT naming every wrong field, CONDITION_UNMET for a
    SKU that is in another window then, IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    window_id = ids.derived_id("win", cause.id)

    def attempt() -> Outcome:
        before = commit.created(store.windows, cause)
        if before is not None:
            return _as_made(before)
        product = _product(store, shop_id, product_id)
        now, most = clock.business(), window_limits(shop.now)
        wanted = {**_wanted(said), "kind": said["kind"]}
        wanted["starts_at"] = max(wanted["starts_at"] or now, now)
        windows.check(wanted, product, now, most)
        row = {
            **wanted,
            "_id": window_id,
            "position": ids.new_id("win"),
            "shop_id": shop_id,
            "product_id": product_id,
            "state": windows.OPEN,
            "revision": 1,
        }
        made = {name: row[name] for name in (*SAID, "state", "revision")}
        prepared = commit.prepare(store.windows, {**row, "made": made}, cause)
        transaction = Transaction(store.client).insert(store.windows, prepared)
        transaction.insert(store.window_units, *(_units(row, item) for item in row["items"]))
        _say(store, transaction, product, windows.placed(product, row, now, most.windows), cause)
        transaction.commit()
        return Outcome(prepared)

    return commit.settled(product_id, attempt)


def _wanted(said: Mapping[str, Any]) -> dict[str, Any]:
    items = [{name: item[name] for name in ("sku_id", "price", "quantity")} for item in said["items"]]
    return {**{name: said[name] for name in SAID}, "items": items}


def _as_made(outcome: Outcome) -> Outcome:
    row = outcome.document
    made = {**row, **row["made"], "version": 1, "changed_at": row["created_at"]}
    return Outcome(made, replayed=outcome.replayed, changed=outcome.changed)


def _units(row: Document, item: Mapping[str, Any]) -> Document:
    return {
        "_id": windows.unit_id(row["_id"], item["sku_id"]),
        "window_id": row["_id"],
        "sku_id": item["sku_id"],
        "revision": row["revision"],
        "quantity": item["quantity"],
        "taken": 0,
        "left": item["quantity"],
    }


def update_window(
    store: Store, cause: Cause, shop_id: str, window_id: str, etag: str, said: Mapping[str, Any]
) -> Outcome:
    """Other times, prices, quantities or limit; of a running window only its end and its quantities, never below what is sold.

    The outcome's document is as this update left it. Raises Refusal NOT_FOUND, ETAG_MISMATCH, WRONG_STATE, INVALID_ARGUMENT naming
    every wrong field, CONDITION_UNMET.
    """
    if not etag:
        raise invalid("etag", "send the etag of the window as you read it, so that nobody's change is lost")

    def attempt() -> Outcome:
        row = _window(store, shop_id, window_id)
        before = commit.applied(store.windows, row, cause)
        if before is not None:
            return _as_left(before)
        check_etag("window", row["version"], etag)
        product, now = _product(store, shop_id, row["product_id"]), clock.business()
        wanted = {**_wanted(said), "kind": row["kind"]}
        wanted["starts_at"] = wanted["starts_at"] or row["starts_at"]
        windows.check_edit(row, wanted, now)
        most = window_limits(now)
        if windows.stage(row, now) == "upcoming":
            windows.check(wanted, product, now, most)
        else:
            windows.check_running(wanted, now, most)
        after = {**row, **wanted, "revision": row["revision"] + 1}
        answer = {**wanted, "revision": after["revision"], "version": row["version"] + 1, "changed_at": now}
        transaction = Transaction(store.client)
        transaction.change(
            store.windows,
            row,
            Change(set={**wanted, "revision": after["revision"], "changed_at": now}, answer=answer),
            cause,
        )
        _say(store, transaction, product, windows.placed(product, after, now, most.windows), cause)
        _recount(store, transaction, row, after)
        try:
            transaction.commit()
        except Shortfall:
            refusal = windows.too_many_sold(after["items"], _counted(store, row))
            if refusal is not None:
                raise refusal from None
            raise
        return _as_left(Outcome(row, answer))

    return commit.settled(window_id, attempt)


def _as_left(outcome: Outcome) -> Outcome:
    left = {**outcome.document, "state": windows.OPEN, **outcome.answer}
    return Outcome(left, outcome.answer, replayed=outcome.replayed, changed=outcome.changed)


def _recount(store: Store, transaction: Transaction, before: Document, after: Document) -> None:
    """Quantities by their difference, because units are sold meanwhile; reservations on the old terms find none."""
    was = {item["sku_id"]: item["quantity"] for item in before["items"]}
    for item in after["items"]:
        more = item["quantity"] - was[item["sku_id"]]
        condition = {"_id": windows.unit_id(before["_id"], item["sku_id"]), "left": {"$gte": -more}}
        update = {"$inc": {"quantity": more, "left": more}, "$set": {"revision": after["revision"]}}
        transaction.update(store.window_units, condition, update)


def _counted(store: Store, row: Document) -> dict[str, Document]:
    found = store.units(windows.unit_id(row["_id"], item["sku_id"]) for item in row["items"])
    return {units["sku_id"]: units for units in found.values()}


def cancel_window(store: Store, cause: Cause, shop_id: str, window_id: str) -> Outcome:
    """It never begins, or ends at once; what is reserved and sold on its terms stays so. Raises Refusal NOT_FOUND, WRONG_STATE."""

    def attempt() -> Outcome:
        row = _window(store, shop_id, window_id)
        before = commit.applied(store.windows, row, cause)
        if before is not None:
            return before
        now = clock.business()
        windows.check_cancel(row, now)
        transaction = Transaction(store.client)
        if row["state"] == windows.CANCELLED:
            transaction.change(store.windows, row, Change(), cause)
            transaction.commit()
            return Outcome(row, changed=False)
        after = {**row, "state": windows.CANCELLED, "revision": row["revision"] + 1}
        change = {"state": windows.CANCELLED, "revision": after["revision"], "changed_at": now}
        transaction.change(store.windows, row, Change(set=change), cause)
        product = store.products.find_one({"_id": row["product_id"]})
        if product is not None:
            _say(store, transaction, product, windows.without(product, window_id, now), cause)
        _recount(store, transaction, row, after)
        transaction.commit()
        return Outcome({**after, "version": row["version"] + 1, "changed_at": now})

    return commit.settled(window_id, attempt)


def _say(store: Store, transaction: Transaction, product: Document, terms: list[Any], cause: Cause) -> None:
    transaction.change(store.products, product, Change(set={"windows": terms}), cause)


def _product(store: Store, shop_id: str, product_id: str) -> Document:
    row = store.products.find_one({"_id": product_id})
    if row is None or row["shop_id"] != shop_id or row["state"] == State.DELETED:
        raise not_found("product", product_id)
    return row


def _window(store: Store, shop_id: str, window_id: str) -> Document:
    row = store.windows.find_one({"_id": window_id})
    if row is None or row["shop_id"] != shop_id:
        raise not_found("sale window", window_id)
    return row
