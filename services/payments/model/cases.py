"""Disputes (维权) and the money: a case holds, a ruling takes, the end releases. Each case opens its hold once and closes it once.

The order of sources is: the order's escrow, the hold of the case, what of the order is frozen for sharing (分账) or pending (T+n), the shop's available, its deposit, the platform's indemnity
(which the shop then owes). A ruling that the platform pays takes the indemnity alone, and nobody owes it.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision
from services.payments.model import ledger, purse, settling, sharing
from services.payments.model.escrow import place_of, refund_entry, refund_of, returned
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import is_collected
from services.payments.model.plan import Books, Document, Plan, Row, Source


def needs_shop(payable: Document | None, order_id: str) -> bool:
    """Whether deciding on a case of the order takes the shop's balances: its share was settled."""
    if payable is None:
        return False
    index = place_of(payable, order_id)
    return index is not None and payable["shares"][index]["state"] == "settled"


def opened(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``disputes.case.opened``: escrow that is still here is held by being here; of a settled order the claim is held."""
    payable, case_id = books.payable, data["case_id"]
    index = place_of(payable, data["order_id"]) if payable is not None else None
    if payable is None or index is None or not is_collected(payable["shares"][index]):
        return EARLY
    if case_id in payable["cases"]:
        return DONE
    share = payable["shares"][index]
    case = {"order_id": data["order_id"], "state": "open", "claim": data["claim"], "from_deposit": 0, "short": 0}
    if share["state"] != "settled":
        return Plan(payable=Change(set={f"cases.{case_id}": case}))
    if books.shop is None:
        return EARLY
    wanted = min(data["claim"], share["amount"] - share["refunded"])
    from_frozen = min(wanted, sharing.left(books.sharing))
    from_pending = min(wanted - from_frozen, settling.left(books.pending))
    before = purse.purse_of(books.shop).credited(books.credits)
    after, from_available, from_deposit = before.hold(case_id, wanted - from_frozen - from_pending)
    after = after.with_held(case_id, after.held.get(case_id, 0) + from_frozen + from_pending)
    held = from_frozen + from_pending + from_available + from_deposit
    case |= {"from_deposit": from_deposit, "short": wanted - held}
    shop_id = share["shop_id"]
    moved = (
        (ledger.frozen(data["order_id"]), -from_frozen),
        (ledger.pending(shop_id), -from_pending),
        (ledger.available(shop_id), -from_available),
        (ledger.deposit(shop_id), -from_deposit),
        (ledger.hold(shop_id, case_id), held),
    )
    plan = Plan(
        payable=Change(set={f"cases.{case_id}": case}),
        entries=_moving(payable, index, case_id, "hold", moved),
        rows=_taken(books, from_frozen, from_pending),
    )
    return purse.written(books.shop, after, books.credits, plan, payable["currency"])


def ruled(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``disputes.case.ruled``: the buyer gets ``refund``, never more than was paid for the order and is not back already.

    Where nothing is left to give back the answer is a refund of 0, so that the case does not wait for ever.
    """
    payable, case_id = books.payable, data["case_id"]
    if data["refund"] <= 0:
        return STALE
    case = payable["cases"].get(case_id) if payable is not None else None
    index = place_of(payable, data["order_id"]) if payable is not None else None
    if payable is None or case is None or index is None:
        return EARLY
    if case["state"] != "open":
        return DONE
    share = payable["shares"][index]
    amount = min(data["refund"], share["amount"] - share["refunded"])
    from_escrow = 0 if data["payer"] == "platform" else min(amount, share["escrow"])
    rest = amount - from_escrow
    if rest and data["payer"] != "platform" and books.shop is None:
        return EARLY
    return _pay(books, data, index, amount, from_escrow)


def _pay(books: Books, data: Mapping[str, Any], index: int, amount: int, from_escrow: int) -> Plan:
    payable, shop, case_id = _there(books.payable), books.shop, data["case_id"]
    share, rest = payable["shares"][index], amount - from_escrow
    sources: tuple[Source, ...] = (Source("escrow", from_escrow),) if from_escrow else ()
    sides = [Posting(ledger.escrow(data["order_id"]), -from_escrow)] if from_escrow else []
    after, from_frozen, from_pending = None, 0, 0
    if rest and data["payer"] == "platform":
        sources += (Source("indemnity", rest),)
        sides.append(Posting(ledger.INDEMNITY, -rest))
    elif rest:
        before = purse.purse_of(_there(shop)).credited(books.credits)
        beyond = max(0, rest - before.held.get(case_id, 0))
        from_frozen = min(beyond, sharing.left(books.sharing))
        from_pending = min(beyond - from_frozen, settling.left(books.pending))
        after, drawn = before.draw(rest - from_frozen - from_pending, case_id)
        sources += tuple(source for source in drawn if source.account == "hold")
        sources += (Source("frozen", from_frozen),) if from_frozen else ()
        sources += (Source("pending", from_pending),) if from_pending else ()
        sources += tuple(source for source in drawn if source.account != "hold")
        sides += [Posting(ledger.frozen(data["order_id"]), -from_frozen)] if from_frozen else []
        sides += [Posting(ledger.pending(share["shop_id"]), -from_pending)] if from_pending else []
        sides += purse.postings(share["shop_id"], case_id, drawn)
    number = f"rf-{data['order_id']}-{case_id}"
    refund = refund_of(payable, index, number, amount, "dispute", sources=sources, case_id=case_id)
    change = {
        **returned(payable, index, amount, from_escrow),
        f"cases.{case_id}.state": "ruled",
        f"cases.{case_id}.refund_id": number,
    }
    entries = (refund_entry(refund, (*sides, Posting(ledger.CLEARING, amount))),) if amount else ()
    rows = _taken(books, from_frozen, from_pending)
    plan = Plan(payable=Change(set=change), entries=entries, refunds=(refund,), rows=rows)
    if after is None:
        return plan
    return purse.written(_there(shop), after, books.credits, plan, payable["currency"])


def closed(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``disputes.case.closed``: what is still held goes back to where it came from."""
    payable, case_id = books.payable, data["case_id"]
    case = payable["cases"].get(case_id) if payable is not None else None
    index = place_of(payable, data["order_id"]) if payable is not None else None
    if payable is None or case is None or index is None:
        return EARLY
    if case["state"] == "closed":
        return DONE
    plan = Plan(payable=Change(set={f"cases.{case_id}.state": "closed"}))
    share = payable["shares"][index]
    if share["state"] != "settled":
        return plan
    if books.shop is None:
        return EARLY
    before = purse.purse_of(books.shop).credited(books.credits)
    after, to_available, to_deposit = before.release(case_id, case["from_deposit"])
    shop_id = share["shop_id"]
    moved = (
        (ledger.hold(shop_id, case_id), -to_available - to_deposit),
        (ledger.deposit(shop_id), to_deposit),
        (ledger.available(shop_id), to_available),
    )
    plan = Plan(payable=plan.payable, entries=_moving(payable, index, case_id, "release", moved))
    return purse.written(books.shop, after, books.credits, plan, payable["currency"])


def _taken(books: Books, from_frozen: int, from_pending: int) -> tuple[Row, ...]:
    return (
        *((sharing.taken(books.sharing, from_frozen),) if books.sharing is not None and from_frozen else ()),
        *((settling.taken(books.pending, from_pending),) if books.pending is not None and from_pending else ()),
    )


def _moving(
    payable: Document, index: int, case_id: str, kind: str, moved: tuple[tuple[str, int], ...]
) -> tuple[Entry, ...]:
    sides = tuple(Posting(account, amount) for account, amount in moved if amount)
    if not sides:
        return ()
    share = payable["shares"][index]
    refs = (str(payable["_id"]), share["order_id"], share["shop_id"], case_id)
    return (Entry(f"{kind}:{case_id}", kind, payable["currency"], sides, refs),)


def _there(document: Document | None) -> Document:
    """A document that the caller has looked for; LookupError would be our own mistake."""
    if document is None:
        raise LookupError("decided without the document")
    return document
