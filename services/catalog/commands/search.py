"""Having the search index built anew."""

from services.catalog.model import feeding
from services.catalog.store import Store
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome, Transaction
from services.chassis.errors import not_found
from services.chassis.mongo import Document


def rebuild(store: Store, cause: Cause) -> Outcome:
    """Every machine builds its index anew when it sees the row; the old one answers until then."""
    rebuild_id = ids.new_id("srb")
    return commit.create(
        store.search_rebuilds, {"_id": rebuild_id, "position": rebuild_id, "at": clock.moment(clock.wall_ms())}, cause
    )


def rebuild_shop(store: Store, cause: Cause, shop_id: str) -> Outcome:
    """Every machine takes the shop out of its index and indexes what it has on sale. Raises Refusal NOT_FOUND."""
    if store.shop(shop_id) is None:
        raise not_found("shop", shop_id)
    rebuild_id = ids.new_id("srb")

    def attempt() -> Outcome:
        before = commit.created(store.search_rebuilds, cause)
        if before is not None:
            return before
        asked: Document = {"_id": rebuild_id, "shop_id": shop_id, "at": clock.moment(clock.wall_ms())}
        fed = feeding.look_at_shop(shop_id, clock.wall()) | {"_id": rebuild_id, "at": clock.wall_ms()}
        prepared = commit.prepare(store.search_rebuilds, asked, cause)
        Transaction(store.client).insert(store.search_rebuilds, prepared).insert(store.search_feed, fed).commit()
        return Outcome(prepared)

    return commit.settled("the search index", attempt)
