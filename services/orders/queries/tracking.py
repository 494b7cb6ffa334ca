"""Where the parcels of an order are."""

from typing import Any

from services.chassis.errors import not_found
from services.orders.model import parcels
from services.orders.model.states import Actor, sees
from services.orders.store import Store


def tracking(store: Store, actor: Actor, order_id: str) -> dict[str, Any]:
    """The parcels with all that their carriers told, the oldest first: {order_id, parcels: [{parcel, events}], auto_confirm_at}.

    Raises Refusal NOT_FOUND, for another's order too.
    """
    found = store.order(order_id)
    if found is None or not sees(found, actor):
        raise not_found("order", order_id)
    told = [{"parcel": parcel, "events": parcel["events"]} for parcel in parcels.all_of(found)]
    due = {"auto_confirm_at": found["auto_confirm_at"]} if found.get("auto_confirm_at") else {}
    return {"order_id": order_id, "parcels": told, **due}
