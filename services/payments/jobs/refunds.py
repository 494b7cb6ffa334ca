"""Refunds at the channel: asked for under their number until it has given the money back."""

from typing import Final

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause
from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.jobs import line
from services.payments.model import refund
from services.payments.model.channel import ChannelRefusedError
from services.payments.provider import Channel
from services.payments.store import Store
from services.payments.store.wallets import redirect

FOR_GOOD: Final = "REFUSED_FOR_GOOD"
_log = get(__name__)


def run(run: JobRun) -> None:
    """Ask the channel to give a refund back, under its fixed number; once it says SUCCESS the refund is over."""
    post_refund(Store(run.database), line.channel(), run.row)


def post_refund(store: Store, channel: Channel, row: Document) -> None:
    """Post one refund and write down what the channel said of it. Any crash in between repeats the same number: one refund.

    What the channel refuses for good is paid into the buyer's wallet.
    """
    rules, now = policy.load("payments"), clock.business()
    status, error = _asked(channel, row)
    if status == FOR_GOOD:
        redirect(store, row["_id"], error)
        return
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


def _asked(channel: Channel, row: Document) -> tuple[str, str]:
    """What the channel says of the refund: a status, and what it said where that is no success."""
    try:
        return channel.refund(row)["status"], ""
    except ChannelRefusedError as refusal:
        _log.error("refund refused", refund_id=row["_id"], why=str(refusal))
        return (FOR_GOOD if _is_final(channel, row, refusal) else "REFUSED"), str(refusal)
    except Refusal as refusal:
        return "AWAY", refusal.message


def _is_final(channel: Channel, row: Document, refusal: ChannelRefusedError) -> bool:
    """Whether the buyer will never have it from the channel: it refuses for good, and has not taken this number before."""
    if refusal.code not in refund.FOR_GOOD or not row["buyer_id"]:
        return False
    try:
        return not channel.knows_refund(row["_id"])
    except (ChannelRefusedError, Refusal):
        return False
