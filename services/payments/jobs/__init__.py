"""What payments does in the jobs process, which may speak HTTP: refunds at the channel, unpaid payables, folding."""

import contextlib
from collections.abc import Callable
from functools import cache, partial
from typing import Final

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause, Shortfall, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.chassis.reacting import Job, JobRun
from services.chassis.settings import settings
from services.payments.jobs import reconciling, reversing, sealing, topups, withdrawals
from services.payments.model import payable, refund
from services.payments.model.channel import ChannelRefusedError, success_of
from services.payments.provider import Channel
from services.payments.store import Store
from services.payments.store.posting import collected, fold
from services.payments.store.sealing import STANDING

_log = get(__name__)


@cache
def _channel() -> Channel:
    return Channel(settings())


# ----------------------------------------------------------------------------------------------------------------------- refunds


def send_refund(run: JobRun) -> None:
    """Ask the channel to give a refund back, under its fixed number; once it says SUCCESS the refund is over."""
    post_refund(Store(run.database), _channel(), run.row)


def post_refund(store: Store, channel: Channel, row: Document) -> None:
    """Post one refund and write down what the channel said of it. Any crash in between repeats the same number: one refund."""
    rules, now = policy.load("payments"), clock.business()
    try:
        status = channel.refund(row)["status"]
        error = ""
    except ChannelRefusedError as refusal:
        status, error = "REFUSED", str(refusal)
        _log.error("refund refused", refund_id=row["_id"], why=error)
    except Refusal as refusal:
        status, error = "AWAY", refusal.message
    pauses = rules.value("refund_retry", now)
    if status == "PROCESSING":
        pauses = [rules.value("refund_poll", now)]
    number, wall = row["_id"], clock.wall_ms()

    def decide(found: Document) -> Change | None:
        if status == "SUCCESS":
            return refund.succeeded(found, now)
        return refund.waits(found, wall, pauses, abnormal=status in ("ABNORMAL", "REFUSED"), error=error)

    name = (
        f"chn:refunded:{number}" if status == "SUCCESS" else f"job:refund:{number}:{row['attempts']}:{row['version']}"
    )
    commit.change(store.refunds, number, Cause(name), decide, fetch=False)


def send_withdrawal(run: JobRun) -> None:
    """Send a shop's money to its bank, under its fixed number."""
    withdrawals.send_withdrawal(Store(run.database), _channel(), run.row)


# ------------------------------------------------------------------------------------------------------------- unpaid payables


def ask_for_trades(run: JobRun) -> None:
    """Ask the channel about every attempt of a payable that it has not told of."""
    inquire(Store(run.database), _channel(), run.row, run.keep)


def inquire(store: Store, channel: Channel, row: Document, keep: Callable[[], None]) -> None:
    """Collect what was paid and not told; at the end of the trades' life close the rest at the channel, before that those that ask
    for a price of before.

    Leaves no ``next_at`` unless an attempt by code is open.

    Raises Refusal UNAVAILABLE while the channel is away: the lease runs out and it is asked again.
    """
    over = clock.business() >= row["trades_end"]
    for number in payable.waiting(row):
        keep()
        success = success_of(channel.trade(number))
        if success is not None:
            collected(store, success)
        elif reversing.is_over(row, number):
            reversing.reverse(store, channel, row, number)
        elif (over or number in payable.void(row)) and _close_at_channel(channel, number):
            ended = partial(payable.ended, number=number)
            commit.change(store.payables, row["_id"], Cause(f"chn:ended:{number}"), ended, fetch=False)
    asked = Cause(f"job:asked:{row['_id']}:{row['next_at']}")
    commit.change(store.payables, row["_id"], asked, _looked_at, fetch=False)


def _looked_at(found: Document) -> Change:
    """Asked for: there is nothing more to do, but for an attempt by code that is still open."""
    pause_ms = int(policy.load("payments").value("micropay_poll", clock.business())) * 1000
    again = payable.next_poll(found, clock.wall_ms(), pause_ms)
    return Change(unset=("next_at",)) if again is None else Change(set={"next_at": again})


def _close_at_channel(channel: Channel, number: str) -> bool:
    """Whether the trade can no longer be paid."""
    try:
        channel.close_trade(number)
    except ChannelRefusedError as refusal:
        return refusal.code in (
            "ORDER_NOT_EXIST",
            "ORDERCLOSED",
        )  # else it was paid this moment: its notification comes
    return True


# ----------------------------------------------------------------------------------------------------------------------- folding


def fold_credits(run: JobRun) -> None:
    """Fold everything that waits for the shop of this credit into its balances."""
    fold_all(Store(run.database), run.row["shop_id"], run.keep)


def fold_all(store: Store, shop_id: str, keep: Callable[[], None]) -> None:
    """Fold until nothing waits. A debit or another job that folds at the same time leaves us nothing to do: the rest comes again."""
    with contextlib.suppress(Shortfall, Taken):
        while fold(store, shop_id):
            keep()


# ---------------------------------------------------------------------------------------------------------------- reconciliation


def reconcile_day(run: JobRun) -> None:
    """Reconcile a day with the channel's bill."""
    reconciling.reconcile(Store(run.database), _channel(), run.row, run.keep)


def ask_for_topup(run: JobRun) -> None:
    """Ask the channel about a top-up that it has not told of."""
    topups.ask(Store(run.database), _channel(), run.row)


JOBS: Final = (
    Job("refunds", "refunds", send_refund),
    Job("payables", "inquiries", ask_for_trades),
    Job("credits", "folding", fold_credits),
    Job("withdrawals", "withdrawals", send_withdrawal),
    Job("sealing", "sealing", sealing.run, standing=STANDING),
    Job("topups", "topups", ask_for_topup),
    Job("reconciliations", "reconciling", reconcile_day),
)
