"""How many orders of a shop are in which state."""

from services.chassis.errors import Refusal, invalid
from services.orders.model.states import Actor
from services.orders.store import Store


def counts(store: Store, actor: Actor, shop_id: str) -> dict[str, int]:
    """Of the merchant's shop, or (platform) of the one that is named. Raises Refusal INVALID_ARGUMENT, PERMISSION_DENIED."""
    if actor.kind == "merchant":
        if not actor.shop_id:
            raise Refusal("PERMISSION_DENIED", "this token speaks for no shop; get one after the shop is approved")
        return store.counting.of_shop(actor.shop_id)
    if not shop_id:
        raise invalid("shop_id", "say of which shop")
    return store.counting.of_shop(shop_id)
