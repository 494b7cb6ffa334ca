"""What becomes of a payable when the price of one of its orders changes before it is paid.

Its share and its sum follow; attempts at the old sum can no longer be taken (``payable.collect`` sends their money back), and the channel
is asked to close them.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis.decisions import DONE, STALE, Change, Decision
from services.chassis.errors import Refusal
from services.payments.model.escrow import place_of
from services.payments.model.payable import UNPAID, WAITING, is_collected
from services.payments.model.plan import Books, Document, Plan


def order_repriced(books: Books, data: Mapping[str, Any], wall_ms: int) -> Plan | Decision:
    """``orders.order.repriced``: the newest price of the order counts. ``wall_ms``: when the channel is to be asked."""
    payable = books.payable
    if payable is None or payable["state"] != "open":
        return STALE  # not opened yet: orders tells the new price then; paid meanwhile: the order rejects what is not its price
    index = place_of(payable, data["order_id"])
    if index is None or is_collected(payable["shares"][index]):
        return (
            STALE  # what was collected of it at another price the order rejects, and tells its price of now with that
        )
    if payable["shares"][index].get("revision", 0) >= data["revision"]:
        return DONE
    fields = _share(index, data["amount"], data["revision"])
    fields["amount"] = payable["amount"] + data["amount"] - payable["shares"][index]["amount"]
    if any(one["state"] == WAITING for one in payable["payments"]):
        fields["next_at"] = wall_ms
    return Plan(payable=Change(set=fields))


def check_in_step(payable: Document, told: Mapping[str, Any]) -> None:
    """Whether no share is on its way back because its price had changed: until that is known here nothing more can be opened.

    Raises Refusal VERSION_CONFLICT.
    """
    for share in told["shares"]:
        index = place_of(payable, share["order_id"])
        if index is None or not is_collected(payable["shares"][index]):
            continue
        if share.get("revision", 0) > payable["shares"][index].get("revision", 0):
            message = "a payment at a price of before is being sent back this moment; open the payment again"
            raise Refusal("VERSION_CONFLICT", message, retry_after_s=1)


def caught_up(payable: Document, told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by which ``payable`` follows what orders tells now, where that is newer than what it has heard of.

    Raises Refusal VERSION_CONFLICT where the payable knows of a newer price than ``told``.
    """
    fields: dict[str, Any] = {}
    amount = payable["amount"]
    # Orders tells all that can still be paid; the others were closed, also where their event is still on its way here.
    told_of = {share["order_id"] for share in told["shares"]}
    gone = [
        n for n, share in enumerate(payable["shares"]) if share["state"] == UNPAID and share["order_id"] not in told_of
    ]
    fields |= {f"shares.{index}.state": "closed" for index in gone}
    for share in told["shares"]:
        index = place_of(payable, share["order_id"])
        known = payable["shares"][index].get("revision", 0) if index is not None else 0
        if index is None or share.get("revision", 0) == known or is_collected(payable["shares"][index]):
            continue
        if share.get("revision", 0) < known:
            raise Refusal("VERSION_CONFLICT", "the price changed this moment; open the payment again", retry_after_s=1)
        amount += share["amount"] - payable["shares"][index]["amount"]
        fields |= _share(index, share["amount"], share["revision"])
    return {**fields, "amount": amount} if amount != payable["amount"] else fields


def followed(payable: Document, told: Mapping[str, Any]) -> dict[str, Any]:
    """The payable as it is once it follows what orders tells now. Raises Refusal VERSION_CONFLICT."""
    fields = caught_up(payable, told)
    shares = [dict(share) for share in payable["shares"]]
    for name, value in fields.items():
        if name != "amount":
            _, index, field = name.split(".")
            shares[int(index)][field] = value
    return {**payable, "shares": shares, "amount": fields.get("amount", payable["amount"])}


def _share(index: int, amount: int, revision: int) -> dict[str, Any]:
    return {f"shares.{index}.amount": amount, f"shares.{index}.revision": revision}
