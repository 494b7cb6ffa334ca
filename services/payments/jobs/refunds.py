"""Refunds at the channel: asked for under their number until it has given the money back."""

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

_log = get(__name__)


def run(run: JobRun) -> None:
    """Ask the channel to give a refund back, under its fixed number; once it says SUCCESS the refund is over."""
    post_refund(Store(run.database), line.channel(), run.row)


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
