"""Asking for a file of the shop's catalog."""

from services.catalog.commands.products import shop_of
from services.catalog.model import exports
from services.catalog.store import Store
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome
from services.chassis.mongo import Document


def create_export(store: Store, cause: Cause, shop_id: str, file_format: str, product_state: str) -> Outcome:
    """Queue an export. ``product_state``: only products in it; "": all. Raises Refusal INVALID_ARGUMENT."""
    shop = shop_of(store, shop_id)
    exports.check_options(file_format, product_state)
    export_id = ids.new_id("exp")
    job: Document = {
        "_id": export_id,
        "position": export_id,
        "shop_id": shop.shop_id,
        "format": file_format,
        "product_state": product_state,
        "state": "queued",
        "reason": "",
        "message": "",
        "rows": 0,
        "products": 0,
        "next_at": clock.wall_ms(),
        "working_for": shop.shop_id,
    }
    return commit.create(store.exports, job, cause)
