"""Payment codes in the channel: shown by a phone, valid for a minute, used for one trade."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from pymongo.errors import DuplicateKeyError

from services.channel import commands
from services.channel.commands import Commands, draw, now
from services.channel.model import paycode, script, trade
from services.channel.model.script import Outcome
from services.channel.model.values import PAID, Order, Refused, Trade, TradeState
from services.channel.store import Store
from services.chassis import clock
from services.chassis.mongo import Database, Document

KEPT: Final = timedelta(days=1)
"""How long a used code is kept, for a till that asks again."""


class Limits(commands.Limits, Protocol):
    """The policy in force, as payment codes ask for it."""

    def code_life_ms(self) -> int:
        """How long a code may be scanned."""

    def password_above(self) -> int:
        """Above how many fen the buyer types a password."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A code as the phone shows it."""

    auth_code: str
    expires_ms: int


class PayCodes:
    """The codes over their collection, and the trades paid with them."""

    def __init__(self, database: Database, store: Store, trades: Commands, rules: Limits) -> None:
        """Codes of ``database``, trades of ``store``."""
        self._codes, self._store, self._trades, self._rules = database["codes"], store, trades, rules

    def declare(self) -> None:
        """Create the index that forgets old codes."""
        self._codes.create_index("expire_at", expireAfterSeconds=0)

    def show(self, payer: str, outcome: Outcome | None, settle_ms: int | None) -> Shown:
        """A fresh code of ``payer``; ``outcome`` scripts what happens when it is scanned."""
        life = self._rules.code_life_ms()
        while True:
            code = f"1{secrets.randbelow(6)}{secrets.randbelow(10**16):016d}"
            row: Document = {"_id": code, "payer": payer, "until": clock.wall_ms() + life}
            row |= {"outcome": outcome, "settle_ms": settle_ms, "expire_at": clock.wall() + KEPT}
            try:
                self._codes.insert_one(row)
            except DuplicateKeyError:
                continue
            return Shown(code, life)

    def pay(self, order: Order, auth_code: str) -> Trade:
        """Pay ``order`` with a scanned code; asked again with the same parameters it answers how the trade stands.

        Raises Refused: AUTH_CODE_INVALID, AUTHCODEEXPIRE (too old, unknown, or used for another trade), ORDERCLOSED, INVALID_REQUEST;
        NOT_ENOUGH and BANK_ERROR of a decline, after which the trade needs a new number.
        """
        paycode.check(auth_code)
        known = self._store.by_number(order.out_trade_no)
        if known is None:
            self._claimed(order, auth_code, fresh=True)
            known = self._trades.place(order)
        elif known.state not in PAID:
            trade.reenter(known, order)
        elif known.order.digest != order.digest:
            raise Refused("ORDERPAID", "该订单已支付")
        if known.state is TradeState.NOTPAY:
            known = self._attempted(order, self._claimed(order, auth_code, fresh=False))
        if known.decline:
            raise Refused(known.decline, "余额不足" if known.decline == "NOT_ENOUGH" else "银行拒绝了这笔支付")
        return known

    def _claimed(self, order: Order, auth_code: str, *, fresh: bool) -> Document:
        """The code, taken for this trade for ever. ``fresh``: the trade is new, so the code must not be too old."""
        mine: Document = {"_id": auth_code, "used_by": {"$in": [None, order.out_trade_no]}}
        if fresh:
            mine["until"] = {"$gte": clock.wall_ms()}
        taken = self._codes.update_one(mine, {"$set": {"used_by": order.out_trade_no}}).matched_count
        row = self._codes.find_one({"_id": auth_code}) if taken else None
        if row is None:
            raise Refused("AUTHCODEEXPIRE", "付款码已过期或已使用，请刷新后重新扫码")
        return row

    def _attempted(self, order: Order, code: Document) -> Trade:
        at, drawn = now(), draw()
        outcome = Outcome(code["outcome"]) if code["outcome"] else None
        waits, limit = self._rules.waits(at), self._rules.password_above()

        def change(old: Trade) -> Trade:
            if old.state is not TradeState.NOTPAY:
                return old
            what = script.decide(old.fault, outcome, paycode.SILENT, code["settle_ms"], waits)
            what = paycode.by_password(what, old.fault, old.order.total, outcome, limit)
            return trade.attempt(old, code["payer"], what, drawn, at)

        return self._trades.amend(lambda: self._store.by_number(order.out_trade_no), "ORDER_NOT_EXIST", change)

    def confirm(self, auth_code: str) -> TradeState:
        """The password was typed: the trade that the code was scanned for is paid. Raises Refused: RESOURCE_NOT_EXISTS, ORDERCLOSED."""
        row = self._codes.find_one({"_id": auth_code, "used_by": {"$gt": ""}})
        if row is None:
            raise Refused("RESOURCE_NOT_EXISTS", "付款码没有待支付的交易")
        at, drawn = now(), draw()
        success = script.Attempt(Outcome.SUCCESS, paycode.SILENT)

        def change(old: Trade) -> Trade:
            return trade.attempt(old, row["payer"], success, drawn, at)

        return self._trades.amend(lambda: self._store.by_number(row["used_by"]), "RESOURCE_NOT_EXISTS", change).state

    def reverse(self, out_trade_no: str, refund_id: str) -> Trade:
        """Reverse a trade. Raises Refused: ORDER_NOT_EXIST, INVALID_REQUEST."""
        at = now()
        return self._trades.amend(
            lambda: self._store.by_number(out_trade_no),
            "ORDER_NOT_EXIST",
            lambda old: paycode.reverse(old, refund_id, at),
        )
