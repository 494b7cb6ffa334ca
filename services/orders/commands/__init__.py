"""What buyers and merchants ask orders to do, a module a subject."""

from services.orders.commands.lifecycle import cancel, confirm, extend
from services.orders.commands.parcels import correct, ship, track
from services.orders.commands.placing import place

__all__ = ["cancel", "confirm", "correct", "extend", "place", "ship", "track"]
