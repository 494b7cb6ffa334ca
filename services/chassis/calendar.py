"""Business calendars: natural days and months of Asia/Shanghai (中国标准时间, CST, UTC+8, no daylight saving).

Quotas, day-end deadlines and bills count in them. Pure standard library: models use it too.
"""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

CST: Final = timezone(timedelta(hours=8), "CST")


def day(when: datetime) -> str:
    """The natural day of ``when`` in CST: ``"2026-01-05"``."""
    return when.astimezone(CST).strftime("%Y-%m-%d")


def month(when: datetime) -> str:
    """The natural month of ``when`` in CST: ``"2026-01"``."""
    return when.astimezone(CST).strftime("%Y-%m")


def day_start(when: datetime) -> datetime:
    """The last midnight in CST, as UTC; ``when`` itself where it is one."""
    return when.astimezone(CST).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def next_day(when: datetime) -> datetime:
    """The coming midnight in CST, as UTC."""
    return day_start(when) + timedelta(days=1)


def next_month(when: datetime) -> datetime:
    """The coming first of the month 00:00 in CST, as UTC."""
    local = when.astimezone(CST).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (local + timedelta(days=32)).replace(day=1).astimezone(UTC)
