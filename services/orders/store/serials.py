"""The number by which orders sort: business milliseconds since 2014-05-29, then the random bits of the order's id."""

from datetime import UTC, datetime
from typing import Final

from services.chassis import clock

RANDOM_BITS: Final = 22
FIRST_DAY: Final = datetime(2014, 5, 29, tzinfo=UTC)
END: Final = 2**63 - 1


def serial(created_at: datetime, order_id: str) -> int:
    """Of an order placed at this moment."""
    return first_serial(created_at) | (int(order_id) & ((1 << RANDOM_BITS) - 1))


def first_serial(moment: datetime) -> int:
    """The lowest serial of orders placed at ``moment`` or later; where 63 bits end (in 2084), all later ones share it."""
    since_ms = clock.ms(moment) - clock.ms(FIRST_DAY)
    return min(max(0, since_ms), END >> RANDOM_BITS) << RANDOM_BITS
