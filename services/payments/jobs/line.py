"""This process's way to the payment channel, one for all its jobs."""

from functools import cache

from services.chassis.settings import settings
from services.payments.provider import Channel


@cache
def channel() -> Channel:
    """The way; it connects when it is first used."""
    return Channel(settings())
