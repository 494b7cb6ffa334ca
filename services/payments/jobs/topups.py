"""Top-ups whose notification did not come: asked for, and closed at the channel when their time is over."""

from typing import Any, Protocol

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause
from services.chassis.decisions import Change
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.jobs import line
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.store import Store
from services.payments.store.wallets import heard


class Channel(Protocol):
    """What is asked of the channel; see ``provider``."""

    def trade(self, out_trade_no: str) -> dict[str, Any] | None:
        """What became of a trade."""

    def close_trade(self, out_trade_no: str) -> None:
        """Close an unpaid trade."""


def run(run: JobRun) -> None:
    """Ask the channel about a top-up that it has not told of."""
    ask(Store(run.database), line.channel(), run.row)


def ask(store: Store, channel: Channel, row: Document) -> None:
    """Credit what was paid; else look again at the end of the trade's life, and close it then. Raises Refusal UNAVAILABLE."""
    number = row["_id"]
    success = success_of(channel.trade(number))
    if success is not None:
        heard(store, success)
        return
    over = clock.wall_ms() >= row["ends_at"]
    if over and not _closed(channel, number):
        pause = int(policy.load("payments").value("topup_ask_after", clock.business())) * 1000
        change = Change(set={"next_at": clock.wall_ms() + pause})  # it is being paid this moment
    elif over:
        change = Change(set={"state": "closed"}, unset=("next_at",))
    else:
        change = Change(set={"next_at": row["ends_at"]})

    def decide(found: Document) -> Change | None:
        return change if found["state"] == "open" else None

    commit.change(store.topups, number, Cause(f"job:topup:{number}:{row['next_at']}"), decide, fetch=False)


def _closed(channel: Channel, number: str) -> bool:
    try:
        channel.close_trade(number)
    except ChannelRefusedError as refusal:
        return refusal.code in ("ORDER_NOT_EXIST", "ORDERCLOSED")
    return True
