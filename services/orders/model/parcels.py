"""What of an order was sent in which parcel, and what is left to send."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chassis.errors import Refusal, Violation, invalid, wrong_state
from services.orders.model import delivery, scripts
from services.orders.model.states import Order, Step

Parcel = Mapping[str, Any]
UNDELIVERED: Final = frozenset({"lost", "returned"})
"""What carriers tell of a parcel that its buyer will not get."""


def all_of(order: Order) -> list[Parcel]:
    """The parcels of an order. One that was shipped before there were parcels went whole, in one."""
    found: list[Parcel] = order.get("parcels", [])
    if found or not order.get("delivery"):
        return found
    lines = [{"line": number, "quantity": line["quantity"]} for number, line in enumerate(order["lines"], 1)]
    return [_parcel(1, order["delivery"], lines, order["shipped_at"])]


def is_undelivered(parcel: Mapping[str, Any]) -> bool:
    """Whether its carrier told that the buyer will not get it."""
    return parcel.get("status") in UNDELIVERED


def left(order: Order) -> dict[int, int]:
    """Line number (from 1) → units that are still to be sent: neither sent nor given back. Lines without are not in it.

    What is given back of a line is first what was not sent.
    """
    open_units = {number: line["quantity"] for number, line in enumerate(order["lines"], 1)}
    for row in order.get("line_refunds", ()):
        open_units[row["line"]] -= row["quantity"]
    for parcel in all_of(order):
        for line in parcel["lines"]:
            open_units[line["line"]] -= line["quantity"]
    return {number: units for number, units in open_units.items() if units > 0}


def packed(order: Order, step: Step, asked: Mapping[str, Any], most: int, *, sandbox: bool) -> dict[str, Any]:
    """A new parcel of the order. ``asked``: see ``delivery.parcel``, and ``lines`` [{line, quantity}] (none: all that is left).

    ``most``: parcels an order may have. In a sandbox the end of the tracking number may name a script of the mock carrier. Raises
    Refusal INVALID_ARGUMENT naming the field.
    """
    before = all_of(order)
    if not left(order):
        raise wrong_state("order", str(order["_id"]), "given back", "one of which something is left to send")
    if len(before) >= most:
        raise invalid("lines", f"an order has at most {most} parcels; send all that is left in the last one")
    lines = _lines(left(order), asked.get("lines", ()))
    if len(before) == most - 1 and sum(line["quantity"] for line in lines) < sum(left(order).values()):
        raise invalid("lines", f"this is the last of {most} parcels: all that is left must be in it")
    how = delivery.parcel(asked)
    _alone(before, how)
    script = scripts.named_by(how["track_no"]) if sandbox else ""
    made = _parcel(len(before) + 1, how, lines, step.at)
    return {**made, "script": scripts.started(script, step.at)} if script else made


def corrected(
    order: Order, step: Step, number: int, asked: Mapping[str, Any], *, sandbox: bool
) -> list[dict[str, Any]]:
    """The parcels with another carrier and number for parcel ``number``; what the wrong one's carrier told is forgotten.

    Raises Refusal INVALID_ARGUMENT naming the field.
    """
    parcels = [dict(parcel) for parcel in all_of(order)]
    if not 0 < number <= len(parcels):
        raise invalid("parcel", f"the order has {len(parcels)} parcels, counted from 1")
    before = parcels[number - 1]
    if not before["need_delivery"]:
        raise invalid("parcel", "nothing was sent in it, so there is no number to correct")
    how = delivery.parcel({**asked, "need_delivery": True})
    _alone([parcel for parcel in parcels if parcel["parcel"] != number], how)
    sent_at = step.at if is_undelivered(before) else before["sent_at"]
    parcels[number - 1] = _parcel(number, how, before["lines"], sent_at)
    if script := scripts.named_by(how["track_no"]) if sandbox else "":
        parcels[number - 1]["script"] = scripts.started(script, step.at)
    return parcels


def _parcel(number: int, how: Parcel, lines: Sequence[Mapping[str, int]], sent_at: Any) -> dict[str, Any]:
    return {"parcel": number, **how, "lines": list(lines), "sent_at": sent_at, "status": "", "events": []}


def _lines(units: Mapping[int, int], asked: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    if not asked:
        return [{"line": number, "quantity": quantity} for number, quantity in units.items()]
    wrong, seen = [], set()
    for place, line in enumerate(asked):
        most = units.get(line["line"], 0)
        if line["line"] in seen or not most:
            told = ", ".join(str(number) for number in units)
            wrong.append(Violation(f"lines[{place}].line", f"name each line once; something is left of line {told}"))
        elif not 0 < line["quantity"] <= most:
            wrong.append(
                Violation(f"lines[{place}].quantity", f"must be 1 to {most}, which is left of line {line['line']}")
            )
        seen.add(line["line"])
    if wrong:
        raise Refusal("INVALID_ARGUMENT", f"{wrong[0].field}: {wrong[0].message}", tuple(wrong))
    return [{"line": line["line"], "quantity": line["quantity"]} for line in asked]


def _alone(others: Sequence[Parcel], how: Parcel) -> None:
    """Two parcels of one order do not have one number."""
    for parcel in others:
        if how["track_no"] and (parcel["company"], parcel["track_no"]) == (how["company"], how["track_no"]):
            raise invalid("delivery_track_no", f"parcel {parcel['parcel']} of this order has this number already")
