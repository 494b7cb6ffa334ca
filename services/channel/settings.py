"""The channel's settings: those of every process and two of its own."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.channel.model.refund import RefundRules
from services.channel.model.script import Fault, Waits
from services.chassis import clock, policy
from services.chassis.settings import Settings

SERVICE: Final = "channel"


class ChannelSettings(Settings):
    """Read from ``JISHI_CHANNEL_MCHID`` and ``JISHI_CHANNEL_RETRY_SCALE`` beside the common ones."""

    channel_mchid: str = "1900000109"
    """Number of the one merchant (商户号)."""
    channel_retry_scale: float = 1.0
    """Multiplies every span of policy.toml that somebody would have to wait for."""

    @property
    def folder(self) -> Path:
        """Where the channel's keys live."""
        return self.data_dir / SERVICE


@cache
def settings() -> ChannelSettings:
    """The settings of this process, read once."""
    return ChannelSettings()


class Rules:
    """The channel's policy at a moment, with the spans scaled."""

    def __init__(self, scale: float) -> None:
        """``scale`` multiplies spans that are waited for."""
        self._policy = policy.load(SERVICE)
        self._scale = scale

    def _value(self, name: str, now: datetime) -> Any:
        return self._policy.value(name, now)

    def _ms(self, name: str, now: datetime) -> int:
        return round(int(self._value(name, now)) * 1000 * self._scale)

    def waits(self, now: datetime) -> Waits:
        """The spans of the scripted faults."""
        return Waits(userpaying_ms=self._ms("userpaying_wait", now), late_ms=self._ms("late_notification", now))

    def retry_ms(self, now: datetime) -> list[int]:
        """The spans between attempts to notify, in milliseconds."""
        return [round(span * 1000 * self._scale) for span in self._value("notification_retry", now)]

    def notify_timeout_s(self, now: datetime) -> float:
        """Seconds a merchant has to answer a notification (not scaled: a slow machine is not a fault)."""
        return float(self._value("notification_timeout", now))

    def refunds(self, now: datetime) -> RefundRules:
        """The limits of refunds."""
        return RefundRules(
            most=int(self._value("refunds_per_trade", now)),
            window=timedelta(seconds=self._value("refund_window", now)),
            slow_ms=self._ms("refund_wait", now),
        )

    def fault(self, total: int, now: datetime) -> Fault:
        """What the amount (fen) scripts."""
        return Fault(self._value("scripted_amounts", now).get(str(total), Fault.NONE))

    def code_life_ms(self) -> int:
        """How long a payment code may be scanned, in milliseconds (not scaled: a slow machine is not a fault)."""
        return int(self._value("paycode_life", clock.wall())) * 1000

    def password_above(self) -> int:
        """Above how many fen a payment by code needs the buyer's password."""
        return int(self._value("paycode_password_above", clock.wall()))

    def fee_basis_points(self, now: datetime) -> int:
        """The rate the bill shows, in hundredths of a percent."""
        return int(self._value("fee_rate", now))
