"""Profit sharing (分账): an order is marked, part of its settlement is frozen, and other shops get parts of that.

::

    {_id: order, checkout_id, shop_id, currency, paid, most_bp, kept, frozen, state: open | finished, frozen_until,
     shares: [{out_order_no, receivers: [{account, amount, description}], shared_at, left}], returns: [{out_return_no, out_order_no, account, amount}]}

``frozen`` is what ``share:{order}:frozen`` holds. A refund of the order takes it first; what is frozen after 30 days is the shop's.
Source of the rules: 分账 (profitsharing) of the WeChat Pay manual.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import DONE, Change, Decision
from services.chassis.errors import Refusal, Violation, invalid
from services.payments.model import ledger, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Document, Plan, Row

ROWS: Final = "sharings"
NUMBER: Final = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
DESCRIPTION: Final = 80


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy in force: basis points of the payment, receivers of a call, calls of an order, and how long money is frozen.

    ``rule``: the version of the first, which the settlement cites.
    """

    most_bp: int
    receivers: int
    calls: int
    life: timedelta
    rule: str = ""


# ------------------------------------------------------------------------------------------------------------------ at settlement


def marked(share: Document, index: int, limits: Limits) -> Change | None:
    """A share whose order's profit is to be shared, by the terms of today; None when it is. Raises Refusal WRONG_STATE."""
    if share["state"] not in ("unpaid", "escrow"):
        raise Refusal("WRONG_STATE", "mark an order before it completes: its money was settled or went back")
    if "sharing_bp" in share:
        return None
    life_s = int(limits.life.total_seconds())
    terms = {"sharing_bp": limits.most_bp, "sharing_s": life_s, "sharing_rule": limits.rule}
    return Change(set={f"shares.{index}.{name}": value for name, value in terms.items()})


def kept(share: Document, net: int) -> int:
    """How much of what a marked order settles (``net`` of commission) is frozen, in minor units; 0 of one that is not marked."""
    most: int = share["amount"] * share.get("sharing_bp", 0) // 10_000
    return min(net, most)


def row(payable: Document, share: Document, amount: int, now: datetime) -> Row:
    """The frozen part of an order that is settled now."""
    until = now + timedelta(seconds=share["sharing_s"])
    document = {
        "_id": share["order_id"],
        "checkout_id": str(payable["_id"]),
        "shop_id": share["shop_id"],
        "currency": payable["currency"],
        "paid": share["amount"],
        "most_bp": share["sharing_bp"],
        "kept": amount,
        "frozen": amount,
        "state": "open",
        "shares": [],
        "returns": [],
        "frozen_until": until,
    }
    return Row(ROWS, document, due=until)


# ------------------------------------------------------------------------------------------------------------------------ sharing


def checked(asked: Mapping[str, Any], limits: Limits) -> list[dict[str, Any]]:
    """The receivers of a call as they are stored. Raises Refusal INVALID_ARGUMENT, which names every field that is wrong."""
    if not NUMBER.fullmatch(asked["out_order_no"]):
        raise invalid("out_order_no", "must be 1 to 64 letters, digits or _ - | * @")
    receivers = [dict(one) for one in asked["receivers"]]
    if not 1 <= len(receivers) <= limits.receivers:
        raise invalid("receivers", f"must be 1 to {limits.receivers}")
    seen, wrong = set[str](), list[Violation]()
    for at, one in enumerate(receivers):
        if one["amount"] <= 0:
            wrong.append(Violation(f"receivers[{at}].amount", "must be at least 1 fen"))
        if one["account"] in seen:
            wrong.append(Violation(f"receivers[{at}].account", "stands twice; give it one amount"))
        if len(one["description"]) > DESCRIPTION:
            wrong.append(Violation(f"receivers[{at}].description", f"must have at most {DESCRIPTION} characters"))
        seen.add(one["account"])
    if wrong:
        raise Refusal("INVALID_ARGUMENT", wrong[0].message, tuple(wrong))
    return receivers


def check_receivers(receivers: Sequence[Document], shops: Mapping[str, Document], own: str, currency: str) -> None:
    """Whether each receiver may get something. Raises Refusal INVALID_ARGUMENT with every one that may not."""
    wrong = []
    for at, one in enumerate(receivers):
        shop = shops.get(one["account"])
        if shop is None or one["account"] == own:
            wrong.append(Violation(f"receivers[{at}].account", "must be the id of another shop"))
        elif shop["state"] != "open" or shop["currency"] != currency:
            wrong.append(Violation(f"receivers[{at}].account", f"must be an open shop that trades in {currency}"))
    if wrong:
        raise Refusal("INVALID_ARGUMENT", wrong[0].message, tuple(wrong))


def made(found: Document, number: str, receivers: Sequence[Document]) -> bool:
    """Whether this very sharing was made before. Raises Refusal ALREADY_EXISTS for the same number with other receivers."""
    known = next((one for one in found["shares"] if one["out_order_no"] == number), None)
    if known is not None and known["receivers"] != list(receivers):
        message = f"out_order_no {number} was used with other receivers (分账接收方与原请求不一致); use a new number"
        raise Refusal("ALREADY_EXISTS", message, info={"out_order_no": number})
    return known is not None


def share(
    found: Document, number: str, receivers: Sequence[Document], limits: Limits, now: datetime, *, unfreeze: bool
) -> Plan:
    """Give receivers their parts out of what is frozen; with ``unfreeze`` the rest is the shop's.

    Raises Refusal WRONG_STATE, INSUFFICIENT_FUNDS, CONDITION_UNMET.
    """
    order_id, total = found["_id"], sum(one["amount"] for one in receivers)
    if found["state"] != "open":
        raise Refusal("WRONG_STATE", f"nothing of order {order_id} is frozen any more")
    if len(found["shares"]) >= limits.calls:
        raise Refusal("CONDITION_UNMET", f"order {order_id} was shared {limits.calls} times; no more is possible")
    if total > found["frozen"]:
        told = f"{found['frozen']} fen of order {order_id} are frozen; share no more than that"
        raise Refusal("INSUFFICIENT_FUNDS", told, info={"frozen": str(found["frozen"])})
    entry_id, rest = f"share:{order_id}:{number}", found["frozen"] - total
    parts = [(one["account"], one["amount"]) for one in receivers]
    if unfreeze and rest:
        parts.append((found["shop_id"], rest))
    gone = total + (rest if unfreeze else 0)
    sides = (
        Posting(ledger.frozen(order_id), -gone),
        *(Posting(ledger.available(shop_id), amount) for shop_id, amount in parts),
    )
    entry = Entry(entry_id, "share", found["currency"], sides, (found["checkout_id"], order_id, found["shop_id"]))
    line = {"out_order_no": number, "receivers": list(receivers), "shared_at": now, "left": found["frozen"] - gone}
    return Plan(
        entries=(entry,),
        credits=tuple(Credit(f"{entry_id}:{shop_id}", shop_id, "available", amount) for shop_id, amount in parts),
        rows=(Row(ROWS, found, _left(found, gone, {"shares": [line]})),),
    )


def _left(found: Document, gone: int, push: Mapping[str, list[Any]] | None = None) -> Change:
    left = found["frozen"] - gone
    over: dict[str, Any] = {"due": None} if left == 0 else {}
    fields = {"frozen": left, **({"state": "finished"} if left == 0 else {})}
    return Change(set=fields, push=push or {}, **over)


def unfrozen(found: Document) -> Plan | Decision:
    """What is frozen is the shop's: because it says so, or because the time is over. DONE when nothing is."""
    amount, order_id, shop_id = found["frozen"], found["_id"], found["shop_id"]
    if not amount:
        return DONE
    number = f"unfreeze:{order_id}"
    sides = (Posting(ledger.frozen(order_id), -amount), Posting(ledger.available(shop_id), amount))
    return Plan(
        entries=(Entry(number, "unfreeze", found["currency"], sides, (found["checkout_id"], order_id)),),
        credits=(Credit(number, shop_id, "available", amount),),
        rows=(Row(ROWS, found, _left(found, amount)),),
    )


def on_timer(found: Document, now: datetime) -> Plan | Decision:
    """The timer: DONE where its time has not come."""
    return unfrozen(found) if now >= found["frozen_until"] else DONE


# ------------------------------------------------------------------------------------------------------------- giving back


def left(found: Document | None) -> int:
    """What is frozen of an order, in minor units."""
    return int(found["frozen"]) if found is not None else 0


def taken(found: Document, amount: int) -> Row:
    """The row after a refund or a hold took ``amount`` of what is frozen."""
    return Row(ROWS, found, _left(found, amount))


def returned_before(found: Document, asked: Mapping[str, Any], shop_id: str) -> bool:
    """Whether this very return was made. Raises Refusal ALREADY_EXISTS for the same number with other words."""
    wanted = {"account": shop_id, **{name: asked[name] for name in ("out_return_no", "out_order_no", "amount")}}
    known = next(
        (
            one
            for one in found["returns"]
            if (one["out_return_no"], one["account"]) == (asked["out_return_no"], shop_id)
        ),
        None,
    )
    if known is not None and dict(known) != wanted:
        raise Refusal(
            "ALREADY_EXISTS", f"out_return_no {asked['out_return_no']} was used for another return; use a new one"
        )
    return known is not None


def returned(found: Document, shop: Document, waiting: Sequence[Document], asked: Mapping[str, Any]) -> Plan:
    """A receiver (``shop``) gives ``amount`` of a part back to the shop that shared it.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, INSUFFICIENT_FUNDS.
    """
    shop_id, number, amount = str(shop["_id"]), asked["out_order_no"], asked["amount"]
    got = _received(found, number, shop_id)
    if not NUMBER.fullmatch(asked["out_return_no"]):
        raise invalid("out_return_no", "must be 1 to 64 letters, digits or _ - | * @")
    if not 1 <= amount <= got:
        raise invalid("amount", f"must be 1 to {got} fen: what was shared by {number} and not given back")
    before = purse.purse_of(shop).credited(waiting)
    free = before.netted()[0].available
    if amount > free:
        raise Refusal("INSUFFICIENT_FUNDS", f"{free} fen are available", info={"available": str(free)})
    entry_id = f"share-back:{found['_id']}:{shop_id}:{asked['out_return_no']}"
    sides = (Posting(ledger.available(shop_id), -amount), Posting(ledger.available(found["shop_id"]), amount))
    line = {"account": shop_id, "out_return_no": asked["out_return_no"], "out_order_no": number, "amount": amount}
    plan = Plan(
        entries=(Entry(entry_id, "share_back", found["currency"], sides, (found["checkout_id"], found["_id"])),),
        credits=(Credit(entry_id, found["shop_id"], "available", amount),),
        rows=(Row(ROWS, found, Change(push={"returns": [line]})),),
    )
    after = replace(before, available=before.available - amount)
    return purse.written(shop, after, waiting, plan, shop["currency"])


def _received(found: Document, number: str, shop_id: str) -> int:
    """What a receiver got by a sharing and has not given back. Raises Refusal NOT_FOUND where it got nothing."""
    parts = [
        one["amount"]
        for line in found["shares"]
        if line["out_order_no"] == number
        for one in line["receivers"]
        if one["account"] == shop_id
    ]
    if not parts:
        raise Refusal("NOT_FOUND", f"no sharing {number} of order {found['_id']} gave this shop anything")
    back = (one for one in found["returns"] if (one["account"], one["out_order_no"]) == (shop_id, number))
    return int(sum(parts) - sum(one["amount"] for one in back))


def view(found: Document) -> dict[str, Any]:
    """An order's sharing as the API shows it to its shop."""
    names = ("shop_id", "state", "most_bp", "kept", "frozen", "shares", "frozen_until")
    return {**{name: found[name] for name in names}, "order_id": found["_id"]}


def view_marked(share_: Document) -> dict[str, Any]:
    """A marked order that has not settled."""
    told = {name: share_[name] for name in ("order_id", "shop_id")}
    return {**told, "state": "marked", "most_bp": share_["sharing_bp"], "kept": 0, "frozen": 0}
