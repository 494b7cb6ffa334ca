"""What becomes of a collected share when its order tells: it settles to the shop, or goes back to the buyer."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from services.chassis import money
from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision
from services.payments.model import ledger, settling, sharing
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import UNPAID, given_up, is_collected
from services.payments.model.plan import Books, Credit, Document, Plan, Refund, Source

MISMATCH: Final = "amount_mismatch"
"""Why an order rejects a share that was paid at a price of before: it can still be paid."""


def place_of(payable: Document, order_id: str) -> int | None:
    """Which share is the order's."""
    for index, share in enumerate(payable["shares"]):
        if share["order_id"] == order_id:
            return index
    return None


def open_case(payable: Document, order_id: str) -> str:
    """The open case of the order; empty without one."""
    for case_id, case in payable["cases"].items():
        if case["order_id"] == order_id and case["state"] != "closed":
            return str(case_id)
    return ""


def order_closed(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``orders.order.closed``: what was paid for goes back; what was not paid can no longer be."""
    if not data["was_paid"]:
        return _close_unpaid(books, data["order_id"])
    return _give_back(books, data["order_id"], "cancelled")


def payment_rejected(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``orders.order.payment_rejected``: the order was closed when its money came, or costs something else now: its share goes back.

    At another price it can still be paid: the payable is open again for that share, at the price that the order tells.
    """
    payable = books.payable
    index = place_of(payable, data["order_id"]) if payable is not None else None
    if payable is None or index is None or data.get("reason") != MISMATCH:
        return _give_back(books, data["order_id"], "rejected")
    share = payable["shares"][index]
    if data["payment_id"] in share.get("rejected", ()):
        return DONE
    return _reopened(payable, index, data) if is_collected(share) else EARLY


def _reopened(payable: Document, index: int, data: Mapping[str, Any]) -> Plan:
    """The share's money goes back, and it waits for its new price. What else the payment paid for stays paid by it.

    ``data``: ``last_query_before`` (timedelta) where it is known: so long before ``pay_by`` the channel is asked again.
    """
    share, paid_by = payable["shares"][index], payable["paid_by"]
    number, left = len(share.get("rejected", ())) + 1, share["escrow"]
    refund = refund_of(
        payable, index, f"rf-{share['order_id']}-p{number}", left, "rejected", sources=(Source("escrow", left),)
    )
    entry = refund_entry(refund, (Posting(ledger.escrow(share["order_id"]), -left), Posting(ledger.CLEARING, left)))
    told = {
        "amount": data["due"],
        "revision": data["revision"],
        "rejected": [*share.get("rejected", ()), data["payment_id"]],
    }
    after = {**share, **told, "escrow": 0, "refunded": 0, "state": UNPAID}
    shares = [
        after if place == index else {"paid_by": paid_by, **other} if is_collected(other) else other
        for place, other in enumerate(payable["shares"])
    ]
    fields: dict[str, Any] = {"state": "open", "shares": shares}
    fields["amount"] = payable["amount"] - share["amount"] + data["due"]
    if not any(is_collected(other) and other.get("paid_by") == paid_by for other in shares):
        place = next(n for n, one in enumerate(payable["payments"]) if one["payment_id"] == paid_by)
        fields[f"payments.{place}.state"] = "returned"
    ask_at = payable["pay_by"] - data.get("last_query_before", timedelta())
    return Plan(payable=Change(set=fields, due=ask_at), entries=(entry,), refunds=(refund,))


def _close_unpaid(books: Books, order_id: str) -> Plan | Decision:
    payable = books.payable
    if payable is None or payable["state"] != "open":
        return (
            STALE  # never opened; or collected meanwhile: orders rejects the share by its own event, which refunds it
        )
    index = place_of(payable, order_id)
    if index is None:
        return STALE
    if payable["shares"][index]["state"] != UNPAID:
        return DONE if payable["shares"][index]["state"] == "closed" else STALE
    change: dict[str, Any] = {f"shares.{index}.state": "closed"}
    others = [share for share in payable["shares"] if share["order_id"] != order_id]
    if any(share["state"] == UNPAID for share in others):
        return Plan(payable=Change(set=change))
    over = {**given_up({**payable, "shares": others}), **change}
    return Plan(payable=Change(set={name: over[name] for name in ("state", *change)}, due=payable["trades_end"]))


def _collected(books: Books, order_id: str) -> tuple[Document, int] | None:
    """The payable that was paid for the order, and which share is the order's; None where its money is not known of yet."""
    payable = books.payable
    index = place_of(payable, order_id) if payable is not None else None
    if payable is None or index is None or not is_collected(payable["shares"][index]):
        return None
    return payable, index


def _give_back(books: Books, order_id: str, cause: str) -> Plan | Decision:
    found = _collected(books, order_id)
    if found is None:
        return EARLY
    payable, index = found
    share = payable["shares"][index]
    left = share["escrow"]
    if left == 0:
        return DONE
    back = min(left, share["amount"] - share["refunded"])
    change = Change(set=returned(payable, index, back, left))
    out = Posting(ledger.escrow(order_id), -left)
    # What the platform gave the buyer out of its own (a ruling it pays) is not given twice: that part of the escrow repays it.
    repaid = (Posting(ledger.INDEMNITY, left - back),) if left > back else ()
    if back == 0:
        refs = (str(payable["_id"]), order_id)
        entry = Entry(f"repay:{order_id}", "repay", payable["currency"], (out, *repaid), refs, {"cause": cause})
        return Plan(payable=change, entries=(entry,))
    refund = refund_of(payable, index, f"rf-{order_id}", back, cause, sources=(Source("escrow", back),))
    entry = refund_entry(refund, (out, Posting(ledger.CLEARING, back), *repaid))
    return Plan(payable=change, entries=(entry,), refunds=(refund,))


def returned(payable: Document, index: int, amount: int, from_escrow: int) -> dict[str, Any]:
    """The share after ``amount`` went back to the buyer, ``from_escrow`` of it out of its escrow."""
    share = payable["shares"][index]
    left = share["escrow"] - from_escrow
    fields = {f"shares.{index}.escrow": left, f"shares.{index}.refunded": share["refunded"] + amount}
    if share["state"] == "escrow" and left == 0:
        fields[f"shares.{index}.state"] = "refunded"
    return fields


def refund_of(
    payable: Document,
    index: int,
    number: str,
    amount: int,
    cause: str,
    *,
    sources: tuple[Source, ...],
    case_id: str = "",
) -> Refund:
    """A refund of one share, through the payment that the payable was collected by."""
    share = payable["shares"][index]
    paid_by = share.get("paid_by", payable["paid_by"])
    paid = next(one for one in payable["payments"] if one["payment_id"] == paid_by)
    return Refund(
        id=number,
        checkout_id=str(payable["_id"]),
        out_trade_no=paid["out_trade_no"],
        transaction_id=paid["transaction_id"],
        amount=amount,
        total=paid["amount"],
        currency=payable["currency"],
        cause=cause,
        buyer_id=payable["buyer_id"],
        order_id=share["order_id"],
        shop_id=share["shop_id"],
        case_id=case_id,
        sources=sources,
    )


def refund_entry(refund: Refund, postings: tuple[Posting, ...]) -> Entry:
    """The one entry of a refund."""
    refs = (refund.checkout_id, refund.order_id, refund.transaction_id, refund.id, refund.case_id)
    return Entry(f"refund:{refund.id}", "refund", refund.currency, postings, refs, {"cause": refund.cause})


def order_completed(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``orders.order.completed``: what is left in escrow goes to the shop, less the commission frozen at sale.

    With an open case the shop's part goes into its hold; where the shop settles later (``data``: ``settlement_days``) it is pending
    until then; of an order that is marked for sharing (分账) a part is frozen. The commission is of the goods that
    are left: none of freight, and none of what was refunded before, which is goods first and freight when no goods are left.
    """
    order_id = data["order_id"]
    found = _collected(books, order_id)
    if found is None:
        return EARLY
    payable, index = found
    share = payable["shares"][index]
    if share["state"] != "escrow":
        return DONE if share["state"] == "settled" else STALE  # stale: all of it went back to the buyer
    left, shop_id = share["escrow"], share["shop_id"]
    goods = min(data.get("goods_amount", share["amount"]), share["amount"])
    goods_left = max(0, goods - (share["amount"] - left))
    commission = money.share(goods_left, data["commission_bp"])
    case_id = open_case(payable, order_id)
    net = left - commission
    frozen = 0 if case_id else sharing.kept(share, net)
    due = None if case_id else settling.matures_at(data)
    pocket = ledger.hold(shop_id, case_id) if case_id else ledger.available(shop_id)
    pocket = pocket if due is None else ledger.pending(shop_id)
    parts = (
        (ledger.escrow(order_id), -left),
        (pocket, net - frozen),
        (ledger.frozen(order_id), frozen),
        (ledger.FEE, commission),
    )
    credit = Credit(f"settle:{order_id}", shop_id, "hold" if case_id else "available", net - frozen, case_id)
    waits = due is not None and credit.amount > 0
    return Plan(
        payable=Change(
            set={
                f"shares.{index}.escrow": 0,
                f"shares.{index}.settled": net,
                f"shares.{index}.state": "settled",
            }
        ),
        entries=(_settling(payable, credit, parts, {**data, "sharing": share.get("sharing_rule")}),) if left else (),
        credits=(credit,) if credit.amount and not waits else (),
        rows=(
            *((settling.row(payable, credit, order_id, due),) if due is not None and waits else ()),
            *((sharing.row(payable, share, frozen, data["completed_at"]),) if frozen else ()),
        ),
    )


def _settling(payable: Document, credit: Credit, parts: tuple[tuple[str, int], ...], data: Mapping[str, Any]) -> Entry:
    return Entry(
        credit.id,
        "settle",
        payable["currency"],
        tuple(Posting(account, amount) for account, amount in parts if amount),
        (str(payable["_id"]), data["order_id"], credit.shop_id, credit.case_id),
        {
            "commission_bp": str(data["commission_bp"]),
            "commission_policy": data["commission_policy"],
            **({"settlement": data["settlement_rule"]} if data.get("settlement_rule") else {}),
            **({"sharing": data["sharing"]} if data.get("sharing") else {}),
        },
    )
