"""What a bill is made of beside the sums of the days before (``history``): a shop's entries of a day, and what they tell of."""

from collections.abc import Iterable

from services.chassis.mongo import Document
from services.payments.model.bookkeeping import book
from services.payments.store import Store


def entries_of(store: Store, shop_id: str, cst_day: str) -> list[Document]:
    """The shop's entries of one CST day, in the order of their time."""
    found = store.entries.find({"books": book(shop_id, cst_day)})
    return sorted(found, key=lambda entry: (entry["posted_at"], entry["_id"]))


def by_id(store: Store, collection: str, ids: Iterable[str], *fields: str) -> dict[str, Document]:
    """Documents of a collection by their ids."""
    wanted = sorted(set(ids))
    found = store.database[collection].find({"_id": {"$in": wanted}}, dict.fromkeys(fields, 1)) if wanted else ()
    return {str(one["_id"]): one for one in found}
