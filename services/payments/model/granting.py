"""What a merchant gives back of an order without a dispute: from its escrow; once settled from what of it is frozen for sharing or pending, the shop's available and its
deposit. The platform lends nothing for it: where the shop has less, less goes back.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis.decisions import DONE, EARLY, Change, Decision
from services.payments.model import ledger, purse, settling, sharing
from services.payments.model.escrow import place_of, refund_entry, refund_of, returned
from services.payments.model.ledger import Posting
from services.payments.model.payable import is_collected
from services.payments.model.plan import Books, Plan, Row, Source

CAUSE = "merchant"


def granted(books: Books, data: Mapping[str, Any]) -> Plan | Decision:
    """``orders.order.refund_granted``: at most what was paid for the order and is not back already; once for each ``refund_id``.

    Where nothing is left to give the answer is a refund of 0, so that the order does not wait for ever.
    """
    payable = books.payable
    index = place_of(payable, data["order_id"]) if payable is not None else None
    if payable is None or index is None or not is_collected(payable["shares"][index]):
        return EARLY
    share = payable["shares"][index]
    if data["refund_id"] in share.get("grants", ()):
        return DONE
    wanted = min(data["amount"], share["amount"] - share["refunded"])
    from_escrow = min(wanted, share["escrow"])
    rest = wanted - from_escrow
    settled = rest > 0 and share["state"] == "settled"
    if settled and books.shop is None:
        return EARLY
    sources: list[Source] = [Source("escrow", from_escrow)] if from_escrow else []
    sides = [Posting(ledger.escrow(data["order_id"]), -from_escrow)] if from_escrow else []
    rows: tuple[Row, ...] = ()
    after = None
    if settled and books.shop is not None:
        still, rows = _still_of_the_order(books, rest)
        accounts = {"frozen": ledger.frozen(data["order_id"]), "pending": ledger.pending(share["shop_id"])}
        before = purse.purse_of(books.shop).credited(books.credits)
        own = min(rest - sum(source.amount for source in still), before.available + before.deposit)
        after, drawn = before.draw(own, "")
        sources += (*still, *drawn)
        sides += [Posting(accounts[source.account], -source.amount) for source in still]
        sides += purse.postings(share["shop_id"], "", drawn)
    amount = sum(source.amount for source in sources)
    refund = refund_of(payable, index, data["refund_id"], amount, CAUSE, sources=tuple(sources))
    grants = {f"shares.{index}.grants": [*share.get("grants", ()), data["refund_id"]]}
    change = Change(set={**returned(payable, index, amount, from_escrow), **grants})
    entries = (refund_entry(refund, (*sides, Posting(ledger.CLEARING, amount))),) if amount else ()
    plan = Plan(payable=change, entries=entries, refunds=(refund,), rows=rows)
    if after is None or books.shop is None:
        return plan
    return purse.written(books.shop, after, books.credits, plan, payable["currency"])


def _still_of_the_order(books: Books, wanted: int) -> tuple[tuple[Source, ...], tuple[Row, ...]]:
    """What of ``wanted`` is still the order's own: frozen for sharing (分账), then pending (T+n); and the rows it is taken from."""
    from_frozen = min(wanted, sharing.left(books.sharing))
    from_pending = min(wanted - from_frozen, settling.left(books.pending))
    sources, rows = [], []
    if books.sharing is not None and from_frozen:
        sources.append(Source("frozen", from_frozen))
        rows.append(sharing.taken(books.sharing, from_frozen))
    if books.pending is not None and from_pending:
        sources.append(Source("pending", from_pending))
        rows.append(settling.taken(books.pending, from_pending))
    return tuple(sources), tuple(rows)
