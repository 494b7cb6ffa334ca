"""Withdrawals at the bank: sent under their number until the bank has paid or refused them."""

import contextlib

from services.chassis import clock, commit, policy
from services.chassis.commit import Cause, Shortfall, Taken
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.jobs import line
from services.payments.model import withdrawals
from services.payments.model.channel import ChannelRefusedError
from services.payments.model.plan import Books, Plan
from services.payments.provider import Channel
from services.payments.store import Store
from services.payments.store.posting import post

_log = get(__name__)


def run(run: JobRun) -> None:
    """Send a shop's money to its bank, under its fixed number."""
    send_withdrawal(Store(run.database), line.channel(), run.row)


def send_withdrawal(store: Store, channel: Channel, row: Document) -> None:
    """Send one withdrawal and write down what the bank said. Any crash in between repeats the same number: one payment."""
    rules, now = policy.load("payments"), clock.business()
    state, told = _asked(channel, row)
    number = row["_id"]
    if state in ("SUCCESS", "FAILED"):
        ended = withdrawals.paid(row, now) if state == "SUCCESS" else withdrawals.failed(row, told, now)
        if isinstance(ended, Plan):
            with contextlib.suppress(Shortfall, Taken):  # another process heard the same
                post(store, ended, Books(None), Cause(f"bank:{state.lower()}:{number}"))
        return
    pauses = rules.value("refund_retry", now) if state == "AWAY" else [rules.value("withdrawal_poll", now)]
    wall = clock.wall_ms()
    cause = Cause(f"job:withdrawal:{number}:{row['attempts']}:{row['version']}")
    commit.change(
        store.withdrawals, number, cause, lambda found: withdrawals.waits(found, wall, pauses, told), fetch=False
    )


def _asked(channel: Channel, row: Document) -> tuple[str, str]:
    """(SUCCESS | FAILED | PROCESSING | AWAY, the bank's words)."""
    try:
        answer = channel.pay_out(row)
    except ChannelRefusedError as refusal:
        _log.error("withdrawal refused", withdrawal_id=row["_id"], why=str(refusal))
        return "FAILED", str(refusal)
    except Refusal as refusal:
        return "AWAY", refusal.message
    return str(answer["state"]), str(answer.get("fail_reason", ""))
