"""What the mock carrier tells of a parcel by itself: scripts, played by the order's timer on the business clock.

A script is chosen by the end of the tracking number (in a sandbox), or by the sandbox's door.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

Parcel = Mapping[str, Any]
_COLLECTED: Final = (2, "collected", "发货地网点", "已揽收")
_CARRIED: Final = (14, "in_transit", "分拨中心", "运输中")
_COURIER: Final = (42, "out_for_delivery", "收货地网点", "派送中")
SCRIPTS: Final[Mapping[str, tuple[tuple[int, str, str, str], ...]]] = {
    "normal": (_COLLECTED, _CARRIED, _COURIER, (48, "delivered", "收货地网点", "已签收")),
    "lost": (_COLLECTED, _CARRIED, (96, "lost", "分拨中心", "快件遗失")),
    "returned": (_COLLECTED, _CARRIED, _COURIER, (72, "returned", "收货地网点", "无人签收,退回寄件人")),
}
"""Name → (hours after its beginning, status, place, text) of each event."""


def named_by(track_no: str) -> str:
    """The script that a tracking number asks for by its end (``SF123-LOST``); empty for a usual one."""
    end = track_no.rpartition("-")[2].lower()
    return end if end in SCRIPTS and "-" in track_no else ""


def started(name: str, at: datetime) -> dict[str, Any]:
    """What a parcel keeps of a script that begins ``at``."""
    return {"name": name, "began_at": at, "told": 0}


def due(parcel: Parcel) -> datetime | None:
    """When the script's next event happens; None without a script, or at its end."""
    script = parcel.get("script")
    if not script or script["told"] >= len(SCRIPTS[script["name"]]):
        return None
    began: datetime = script["began_at"]
    return began + timedelta(hours=SCRIPTS[script["name"]][script["told"]][0])


def told(parcel: Parcel, now: datetime) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events that happened up to ``now`` and were not told yet, and what the parcel keeps of its script after them."""
    script = dict(parcel["script"])
    events = []
    for number, (hours, status, place, text) in enumerate(SCRIPTS[script["name"]]):
        at = script["began_at"] + timedelta(hours=hours)
        if number >= script["told"] and at <= now:
            event_id = f"{script['name']}-{number + 1}"
            events.append({"event_id": event_id, "status": status, "occurred_at": at, "place": place, "text": text})
    return events, {**script, "told": script["told"] + len(events)}
