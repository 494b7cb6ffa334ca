"""Notifications: what is due when, and what an attempt to deliver changes. At least once, never exactly once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.channel.model.script import NotifyPlan
from services.channel.model.values import EventType, Notice, NoticeState, Trade, epoch_ms


def notices(
    event_id: str, event_type: EventType, plan: NotifyPlan, now: datetime, out_refund_no: str = ""
) -> tuple[Notice, ...]:
    """The notifications of one event, ``plan.copies`` of them."""
    state = NoticeState.HELD if plan.hold else NoticeState.PENDING
    due_at = epoch_ms(now) + plan.delay_ms
    return tuple(
        Notice(f"{event_id}-{copy}", event_id, event_type, state, due_at, out_refund_no)
        for copy in range(1, plan.copies + 1)
    )


def due(trade: Trade, now_ms: int) -> tuple[Notice, ...]:
    """The notifications to send now."""
    return tuple(one for one in trade.notices if one.state is NoticeState.PENDING and one.due_at <= now_ms)


def next_notice(those: Iterable[Notice]) -> int | None:
    """When the earliest of the notifications is due (ms since 1970); None where none waits."""
    return min((one.due_at for one in those if one.state is NoticeState.PENDING), default=None)


def next_due(trade: Trade) -> int | None:
    """When the channel must look at this trade again (ms since 1970): a notification, a late success or a refund under way."""
    first = next_notice(trade.notices)
    times = [] if first is None else [first]
    times += [refund.settle_at for refund in trade.refunds if refund.settle_at is not None]
    if trade.settle_at is not None:
        times.append(trade.settle_at)
    return min(times, default=None)


def release(trade: Trade, now: datetime) -> Trade:
    """Send what was held."""
    freed = tuple(
        replace(one, state=NoticeState.PENDING, due_at=epoch_ms(now)) if one.state is NoticeState.HELD else one
        for one in trade.notices
    )
    return replace(trade, notices=freed)


def attempted(
    trade: Trade, results: Mapping[str, str], tried: Mapping[str, int], retry_ms: Sequence[int], now: datetime
) -> Trade:
    """Record attempts to deliver.

    ``results``: notice key → error text, empty where the merchant answered 2xx; ``tried``: notice key → the attempts it had when
    it was sent, so that a result is recorded once whoever else delivered it meanwhile; ``retry_ms``: the spans between attempts.
    """
    return replace(trade, notices=tuple(_after(one, results, tried, retry_ms, now) for one in trade.notices))


def _after(
    one: Notice, results: Mapping[str, str], tried: Mapping[str, int], retry_ms: Sequence[int], now: datetime
) -> Notice:
    if one.key not in results or one.state is not NoticeState.PENDING or one.attempts != tried[one.key]:
        return one
    error = results[one.key]
    if not error:
        return replace(one, state=NoticeState.DELIVERED, attempts=one.attempts + 1, error="")
    if one.attempts >= len(retry_ms):
        return replace(one, state=NoticeState.GIVEN_UP, attempts=one.attempts + 1, error=error)
    return replace(one, due_at=epoch_ms(now) + retry_ms[one.attempts], attempts=one.attempts + 1, error=error)
