"""What the channel does: each command one conditional write, safe to repeat, safe to be killed at any line."""

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from pymongo.errors import DuplicateKeyError

from services.channel.model import notice, refund, script, trade
from services.channel.model.script import Fault, NotifyPlan, Outcome
from services.channel.model.values import PAID, Order, Refund, Refused, Trade
from services.channel.store import Store
from services.chassis import clock
from services.chassis.calendar import CST

TRIES: Final = 8
"""How often a command reads again when another write came in between; each loss is another's progress."""


def now() -> datetime:
    """The channel's clock, wall time in whole milliseconds (what the database keeps)."""
    return clock.moment(clock.wall_ms())


def draw_prepay_id() -> str:
    """36 characters: ``wx``, the CST time, random hexadecimal digits."""
    return f"wx{now().astimezone(CST):%Y%m%d%H%M%S}{secrets.token_hex(10)}"


def digits(kind: str) -> str:
    """A fresh number of the channel's own: ``kind`` (4 digits), the CST day, 16 random digits."""
    return f"{kind}{now().astimezone(CST):%Y%m%d}{secrets.randbelow(10**16):016d}"


def draw() -> trade.Drawn:
    """The numbers a success needs: transaction_id (28 digits) and the event's id."""
    return trade.Drawn(transaction_id=digits("4200"), event_id=str(uuid.uuid4()))


class Limits(Protocol):
    """The policy in force, as commands ask for it."""

    def fault(self, total: int, now: datetime) -> script.Fault:
        """What an amount in fen scripts."""

    def waits(self, now: datetime) -> script.Waits:
        """How long scripted buyers take."""

    def refunds(self, now: datetime) -> refund.RefundRules:
        """The limits of refunds."""


class Commands:
    """The commands over one store; ``ring`` wakes the notifier when something is due at once."""

    def __init__(self, store: Store, rules: Limits, ring: Callable[[], None]) -> None:
        """Work on ``store`` by ``rules``."""
        self._store = store
        self._rules = rules
        self._ring = ring

    def amend(self, find: Callable[[], Trade | None], missing: str, change: Callable[[Trade], Trade]) -> Trade:
        """Read, change, write what differs; read again when somebody else wrote in between.

        ``missing`` is the code of the refusal where there is nothing. Raises Refused.
        """
        for _ in range(TRIES):
            old = find()
            if old is None:
                raise Refused(missing, "没有找到这笔交易")
            new = change(old)
            if new is old or new == old:
                return old
            if self._store.amend(old, new):
                return new
        raise Refused("SYSTEM_ERROR", "系统繁忙，请用相同参数重试")

    def place(self, order: Order) -> Trade:
        """Place a trade, or enter it again with the same parameters.

        Raises Refused: ORDERPAID, ORDERCLOSED, INVALID_REQUEST; SYSTEM_ERROR where the amount scripts it (the trade is kept).
        """
        at = now()
        for _ in range(TRIES):
            new = trade.place(order, draw_prepay_id(), self._rules.fault(order.total, at), at)
            if self._store.insert(new):
                if new.fault is Fault.PLACE_SYSTEM_ERROR:
                    raise Refused("SYSTEM_ERROR", "系统异常，请用相同参数重新调用")
                return new
            known = self._store.by_number(order.out_trade_no)
            if known is not None:
                trade.reenter(known, order)
                return known
        raise Refused("SYSTEM_ERROR", "系统繁忙，请用相同参数重试")

    def close(self, out_trade_no: str) -> None:
        """Close an unpaid trade. Raises Refused: ORDER_NOT_EXIST, ORDERPAID, USERPAYING."""
        self.amend(lambda: self._store.by_number(out_trade_no), "ORDER_NOT_EXIST", trade.close)

    def expire(self, prepay_id: str) -> Trade:
        """Let an unpaid trade lapse. Raises Refused: RESOURCE_NOT_EXISTS, ORDERPAID, USERPAYING."""
        return self.amend(lambda: self._store.by_prepay(prepay_id), "RESOURCE_NOT_EXISTS", trade.close)

    def pay(
        self, prepay_id: str, payer: str, outcome: Outcome | None, notify: NotifyPlan | None, settle_ms: int | None
    ) -> Trade | str:
        """The buyer tries to pay; answers the trade, or its transaction_id alone where it was paid without being read.

        Raises Refused: RESOURCE_NOT_EXISTS, ORDERPAID, ORDERCLOSED, PARAM_ERROR; NOT_ENOUGH and BANK_ERROR of a decline;
        PAY_TIMEOUT where the result is kept from the buyer.
        """
        at, drawn, waits = now(), draw(), self._rules.waits(now())
        if outcome in (None, Outcome.SUCCESS) and self._pay_unread(prepay_id, payer, notify, drawn, at):
            self._ring()
            return drawn.transaction_id

        def change(old: Trade) -> Trade:
            return trade.attempt(old, payer, script.decide(old.fault, outcome, notify, settle_ms, waits), drawn, at)

        new = self.amend(lambda: self._store.by_prepay(prepay_id), "RESOURCE_NOT_EXISTS", change)
        self._ring()
        if new.decline:
            raise Refused(new.decline, "余额不足" if new.decline == "NOT_ENOUGH" else "银行拒绝了这笔支付")
        what = script.decide(new.fault, outcome, notify, settle_ms, waits)
        if new.state not in PAID and what.outcome is Outcome.TIMEOUT_THEN_SUCCESS:
            raise Refused("PAY_TIMEOUT", "支付结果未知，请稍后查询")
        return new

    def _pay_unread(
        self, prepay_id: str, payer: str, notify: NotifyPlan | None, drawn: trade.Drawn, at: datetime
    ) -> bool:
        """One write for the common case; everything else is left to the reading path."""
        try:
            return self._store.pay_unread(prepay_id, trade.success(payer, notify or NotifyPlan(), drawn, at))
        except DuplicateKeyError:  # the transaction_id is taken: the reading path tries, and tells if it is taken still
            return False

    def release(self, prepay_id: str) -> Trade:
        """Send the notifications that were held. Raises Refused: RESOURCE_NOT_EXISTS."""
        at = now()
        freed = self.amend(
            lambda: self._store.by_prepay(prepay_id), "RESOURCE_NOT_EXISTS", lambda old: notice.release(old, at)
        )
        self._ring()
        return freed

    def refund(self, find: Callable[[], Trade | None], asked: refund.RefundAsked) -> tuple[Trade, Refund]:
        """Give money back on the trade that ``find`` answers; the same number is one refund.

        Raises Refused: RESOURCE_NOT_EXISTS, INVALID_REQUEST.
        """
        at, refund_id, event_id = now(), digits("5030"), str(uuid.uuid4())
        limits = self._rules.refunds(at)
        try:
            new = self.amend(
                find, "RESOURCE_NOT_EXISTS", lambda old: refund.refund(old, asked, limits, refund_id, event_id, at)
            )
        except DuplicateKeyError as error:
            raise Refused("INVALID_REQUEST", "商户退款单号已用于另一笔订单") from error
        self._ring()
        done = new.refund(asked.out_refund_no)
        if done is None:
            raise LookupError(f"the refund {asked.out_refund_no} was written and is not there")
        return new, done
