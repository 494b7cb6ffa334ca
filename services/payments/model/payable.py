"""The payable (应付单): what one checkout owes, the attempts to pay it, and its orders' escrow, in one document.

::

    {_id: checkout_id, buyer_id, currency, amount, pay_by, trades_end, state: open | paid | closed,
     shares: [{order_id, shop_id, openid, amount, escrow, refunded, settled, state}], cases: {case_id: {...}},
     payments: [{payment_id, out_trade_no, method, amount, state, …}], trade_nos: [...], transactions: [...]}

Collecting is ``open → paid``: one success pays it, and every other success, second or late, goes back in the same write. Where an order had
another price by then, its share goes back and the payable is open again for that share (``escrow.payment_rejected``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.chassis.decisions import DONE, Change, Decision, Fact
from services.chassis.errors import Refusal, invalid
from services.payments.model import ledger
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Document, Plan, Refund, Source

METHODS = ("native", "jsapi", "micropay", "wallet")
UNPAID = "unpaid"
"""The state of a share that nothing was collected for."""
WAITING = "open"
"""The state of an attempt that the channel may still tell something about."""
REVERSING = "reversing"
"""The state of an attempt by code (刷卡支付) that is being reversed: a success told now goes back."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy an opened payable lives by, frozen in it. ``versions`` name it."""

    last_query_before: timedelta
    trade_life: timedelta
    attempts: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Success:
    """What the channel told: this trade was paid. ``amount`` in minor units."""

    out_trade_no: str
    transaction_id: str
    amount: int
    currency: str
    payer: str = ""
    """Who paid, by the channel's openid, where it told."""


# ------------------------------------------------------------------------------------------------------------ opening, attempts


def opened(told: Mapping[str, Any], attempt: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """The payable of a checkout as orders told it (``GetPayable``), with its first attempt."""
    shares = [
        {
            "order_id": share["order_id"],
            "shop_id": share["shop_id"],
            "amount": share["amount"],
            "escrow": 0,
            "refunded": 0,
            "settled": 0,
            "state": UNPAID,
            **{name: share[name] for name in ("revision", "openid") if share.get(name)},
        }
        for share in told["shares"]
    ]
    return {
        "_id": told["checkout_id"],
        "buyer_id": told["buyer_id"],
        "currency": told["currency"],
        "amount": told["amount"],
        "pay_by": told["pay_by"],
        "trades_end": told["pay_by"] + terms.trade_life,
        "terms": list(terms.versions),
        "state": "open",
        "shares": shares,
        "cases": {},
        "payments": [dict(attempt)],
        "trade_nos": [attempt["out_trade_no"]],
        "transactions": [],
    }


def first_due(told: Mapping[str, Any], terms: Terms) -> datetime:
    """When an open payable is looked at for the first time: shortly before ``pay_by``, to find a lost notification."""
    pay_by: datetime = told["pay_by"]
    return pay_by - terms.last_query_before


def attempt(number: str, method: str, amount: int, orders: Sequence[str] = ()) -> dict[str, Any]:
    """One attempt to pay, not yet placed. ``number`` is its out_trade_no, derived from the command that asked for it.

    ``orders``: which orders it pays for, of the checkout's; empty: all that wait.
    """
    if method not in METHODS:
        raise invalid("method", f"must be one of {', '.join(METHODS)}")
    return {
        "payment_id": payment_id(number),
        "out_trade_no": number,
        "method": method,
        "amount": amount,
        **({"orders": list(orders)} if orders else {}),
    }


def named(told: Mapping[str, Any]) -> list[str]:
    """The orders that one payment of a checkout pays for, as orders told it (``GetPayable``)."""
    return [share["order_id"] for share in told["shares"]]


def placed(attempt: Mapping[str, Any], at_channel: Mapping[str, str]) -> dict[str, Any]:
    """The attempt as the channel took it, with what the buyer needs to pay it."""
    return {**attempt, **at_channel, "state": WAITING}


def payment_id(out_trade_no: str) -> str:
    """The payment's id: its number at the channel, marked."""
    return f"pay_{out_trade_no}"


def out_trade_no(payment: str) -> str:
    """The number at the channel in a payment id."""
    return payment.removeprefix("pay_")


def check_payable(told: Mapping[str, Any], buyer_id: str, now: datetime) -> None:
    """Whether this buyer may pay this checkout now. Raises Refusal NOT_FOUND, ALREADY_PAID, PAYMENT_CLOSED, WRONG_STATE."""
    checkout = str(told["checkout_id"])
    if told["buyer_id"] != buyer_id:
        raise Refusal("NOT_FOUND", f"no checkout {checkout}", info={"kind": "checkout", "id": checkout})
    if told["state"] == "paid":
        raise _already_paid(checkout)
    if told["state"] == "placing":
        raise Refusal("WRONG_STATE", f"checkout {checkout} is {told['state']}; it cannot be paid yet", retry_after_s=1)
    if told["state"] != "awaiting_payment" or now > told["pay_by"]:
        raise _closed(checkout)
    if told["amount"] <= 0 or sum(share["amount"] for share in told["shares"]) != told["amount"]:
        raise Refusal("CONDITION_UNMET", f"the shares of checkout {checkout} do not add up to its amount")


def add_attempt(payable: Document, new: Mapping[str, Any], most: int, now: datetime) -> Change | None:
    """Another attempt on an open payable; None when it is there. Raises Refusal ALREADY_PAID, PAYMENT_CLOSED, CONDITION_UNMET."""
    if new["out_trade_no"] in payable["trade_nos"]:
        return None
    if payable["state"] == "paid":
        raise _already_paid(payable["_id"])
    if payable["state"] == "closed" or now > payable["pay_by"]:
        raise _closed(payable["_id"])
    if len(payable["payments"]) >= most:
        raise Refusal("CONDITION_UNMET", f"checkout {payable['_id']} was tried {most} times; place the order again")
    return Change(push={"payments": [dict(new)], "trade_nos": [new["out_trade_no"]]})


def _already_paid(checkout_id: str) -> Refusal:
    return Refusal("ALREADY_PAID", f"checkout {checkout_id} is paid", info={"checkout_id": checkout_id})


def _closed(checkout_id: str) -> Refusal:
    message = f"the time to pay checkout {checkout_id} is over; place the order again"
    return Refusal("PAYMENT_CLOSED", message, info={"checkout_id": checkout_id})


def position(payable: Document, number: str) -> int:
    """Which attempt has this out_trade_no. Raises LookupError."""
    for index, one in enumerate(payable["payments"]):
        if one["out_trade_no"] == number:
            return index
    raise LookupError(f"payable {payable['_id']} has no trade {number}")


def ended(payable: Document, number: str, decline: str = "") -> Change | None:
    """The attempt can no longer be paid at the channel (``decline``: its code where it refused); None when that is known or it was paid."""
    index = position(payable, number)
    if payable["payments"][index]["state"] not in (WAITING, REVERSING):
        return None
    why = {f"payments.{index}.decline": decline} if decline else {}
    return Change(set={f"payments.{index}.state": "closed", **why})


def reversing(payable: Document, number: str, wall_ms: int) -> Change | None:
    """The attempt is about to be reversed at the channel, by the jobs process (``wall_ms``: from now on) if nobody else ends it; None when
    that is known or it is over.
    """
    index = position(payable, number)
    if payable["payments"][index]["state"] != WAITING:
        return None
    told = {"state": REVERSING, "reverse_at": wall_ms}
    return Change(set={"next_at": wall_ms, **{f"payments.{index}.{name}": value for name, value in told.items()}})


# ------------------------------------------------------------------------------------------------------------------- collecting


def collect(payable: Document, success: Success, now: datetime) -> Plan | Decision:
    """A success of one attempt: collect it, or send it back where it is the second or came late; DONE when it was taken before.

    Raises Refusal CONDITION_UNMET when the channel tells another amount than was asked for.
    """
    index = position(payable, success.out_trade_no)
    one = payable["payments"][index]
    if success.transaction_id in payable["transactions"]:
        return DONE
    if (success.amount, success.currency) != (one["amount"], payable["currency"]):
        asked = f"{one['amount']} {payable['currency']}"
        message = f"trade {success.out_trade_no} was paid with {success.amount} {success.currency}, not {asked}"
        raise Refusal("CONDITION_UNMET", message)
    fits = one["state"] != REVERSING and one["amount"] == due(payable, one)
    if payable["state"] == "open" and now <= payable["pay_by"] and fits:
        return _take(payable, index, success, now)
    return _return(payable, index, success, now)


def is_collected(share: Mapping[str, Any]) -> bool:
    """Whether money was taken for a share, wherever it is now."""
    return share["state"] not in (UNPAID, "closed")


def _owed(payable: Document, one: Mapping[str, Any] | None = None) -> list[int]:
    """Which shares one payment (the attempt ``one``: of the orders it names) would pay now.

    Of what was never collected also those whose order was closed since: what comes for them goes back.
    """
    states = (UNPAID,) if "paid_by" in payable else (UNPAID, "closed")
    wanted = one.get("orders") if one is not None else None
    return [
        index
        for index, share in enumerate(payable["shares"])
        if share["state"] in states and (wanted is None or share["order_id"] in wanted)
    ]


def due(payable: Document, one: Mapping[str, Any] | None = None) -> int:
    """Minor units that one payment (the attempt ``one``) would have to bring now."""
    return sum(payable["shares"][index]["amount"] for index in _owed(payable, one))


def _take(payable: Document, index: int, success: Success, now: datetime) -> Plan:
    one, checkout, owed = payable["payments"][index], str(payable["_id"]), _owed(payable, payable["payments"][index])
    after = list(payable["shares"])
    for number in owed:
        after[number] = {**after[number], "escrow": after[number]["amount"], "state": "escrow"}
    shares = [after[number] for number in owed]
    into_escrow = [Posting(ledger.escrow(share["order_id"]), share["amount"]) for share in shares if share["amount"]]
    entry = Entry(
        f"collect:{success.transaction_id}",
        "collect",
        success.currency,
        (Posting(ledger.CLEARING, -success.amount), *into_escrow),
        (checkout, one["payment_id"], success.transaction_id, *(share["order_id"] for share in shares)),
    )
    told = {
        "checkout_id": checkout,
        "payment_id": one["payment_id"],
        "transaction_id": success.transaction_id,
        "amount": success.amount,
        "shares": [{name: share[name] for name in ("order_id", "shop_id", "amount")} for share in shares],
        "paid_at": now,
    }
    others_wait = any(other["state"] == WAITING for other in payable["payments"] if other is not one)
    change = Change(
        set={
            "state": "paid",
            "paid_at": now,
            "paid_by": one["payment_id"],
            "shares": after,
            **_marked(payable, index, "paid", success, now),
        },
        push={"transactions": [success.transaction_id]},
        facts=(Fact("jishi.payments.payment.succeeded.v1", told),),
        due=payable["trades_end"] if others_wait else None,
    )
    return Plan(payable=change, entries=(entry,))


def _return(payable: Document, index: int, success: Success, now: datetime) -> Plan:
    """Book the money in and out again: it was collected by the channel, and it is not ours to keep."""
    one, number = payable["payments"][index], success.transaction_id
    refund = Refund(
        # What was reversed at the channel has gone back there already, under this number; asking for it again is the same refund.
        id=f"rv-{success.out_trade_no}" if one["state"] == REVERSING else f"rf-{number}",
        checkout_id=str(payable["_id"]),
        out_trade_no=success.out_trade_no,
        transaction_id=number,
        amount=success.amount,
        total=success.amount,
        currency=success.currency,
        cause=_why_back(payable, one),
        buyer_id=payable["buyer_id"],
        order_ids=tuple(share["order_id"] for share in payable["shares"]),
        sources=(Source("payment", success.amount),),
    )
    refs = (refund.checkout_id, one["payment_id"], number, refund.id)
    came = (Posting(ledger.CLEARING, -success.amount), Posting(ledger.SUSPENSE, success.amount))
    goes = (Posting(ledger.SUSPENSE, -success.amount), Posting(ledger.CLEARING, success.amount))
    return Plan(
        payable=Change(
            set=_marked(payable, index, "returned", success, now), push={"transactions": [success.transaction_id]}
        ),
        entries=(
            Entry(f"return:{number}", "return", success.currency, came, refs),
            Entry(f"refund:{refund.id}", "refund", success.currency, goes, refs, {"cause": refund.cause}),
        ),
        refunds=(refund,),
    )


def _why_back(payable: Document, one: Mapping[str, Any]) -> str:
    if payable["state"] == "paid":
        return "paid_twice"
    return "late" if one["amount"] == due(payable, one) else "repriced"


def _marked(payable: Document, index: int, state: str, success: Success, now: datetime) -> dict[str, Any]:
    told = {"state": state, "transaction_id": success.transaction_id, "paid_at": now}
    if success.payer and payable["payments"][index]["method"] == "micropay":
        told["payer"] = success.payer
    return {f"payments.{index}.{name}": value for name, value in told.items()}


# ----------------------------------------------------------------------------------------------------------------------- timer


def on_timer(payable: Document, now: datetime, wall_ms: int) -> Change | None:
    """Shortly before ``pay_by``: have the channel asked. At ``pay_by``: close. At ``trades_end``: have the rest asked and closed.

    ``next_at`` (``wall_ms``) hands the document to the jobs process, which may speak HTTP.
    """
    if payable["state"] == "open" and now <= payable["pay_by"]:
        return Change(set={"next_at": wall_ms}, due=payable["pay_by"] + timedelta(milliseconds=1))
    if payable["state"] == "open":
        return Change(set={**given_up(payable), "closed_at": now}, due=payable["trades_end"])
    if now >= payable["trades_end"] and waiting(payable):
        return Change(set={"next_at": wall_ms}, due=None)
    return Change(due=payable["trades_end"] if waiting(payable) else None)


def given_up(payable: Document) -> dict[str, Any]:
    """The fields of an open payable that nothing more can be collected for: what was collected of it before stays."""
    if not any(is_collected(share) for share in payable["shares"]):
        return {"state": "closed"}
    return {"state": "paid", **{f"shares.{index}.state": "closed" for index in _owed(payable)}}


def void(payable: Document) -> Sequence[str]:
    """Numbers of those among them that ask for another sum than the payable does now: their money would go back."""
    return [
        one["out_trade_no"]
        for one in payable["payments"]
        if one["state"] == WAITING and one["amount"] != due(payable, one)
    ]


def waiting(payable: Document) -> Sequence[str]:
    """Numbers of the attempts whose fate the channel has not told."""
    return [one["out_trade_no"] for one in payable["payments"] if one["state"] in (WAITING, REVERSING)]


def next_poll(payable: Document, wall_ms: int, pause_ms: int) -> int | None:
    """When an attempt by code that is still open must be asked for again (wall ms); None without one."""
    by_code = any(one["method"] == "micropay" and one["state"] in (WAITING, REVERSING) for one in payable["payments"])
    return wall_ms + pause_ms if by_code else None
